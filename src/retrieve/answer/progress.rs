//! The progress of one series: the instances that have arrived, and those still awaited.

use std::collections::HashSet;

use crate::dicom::SopInstanceUid;
use crate::dicom::part10::Identity;
use crate::metrics::Metrics;
use crate::retrieve::Job;
use crate::retrieve::tally::Tally;

/// The progress of one job.
pub(crate) struct Progress<'a> {
    pub(crate) job: &'a Job,
    /// For each selected instance, whether it is off the list: delivered, or known to be missing. A
    /// job for one instance costs nothing for the others of its listing.
    off: Vec<bool>,
    /// Instances still on the list.
    pub(crate) left: usize,
    /// Instances delivered.
    pub(crate) given: usize,
    /// Instances of another patient: all that were refused, and those of them that the head of the
    /// response could not report.
    pub(crate) refused: usize,
    pub(crate) withheld: usize,
    pub(crate) tally: Tally,
    /// Instances that the source sent and that were dropped before this answer read them.
    lost: HashSet<SopInstanceUid>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(job: &'a Job, metrics: &Metrics) -> Self {
        Self {
            job,
            off: vec![false; job.count()],
            left: job.count(),
            given: 0,
            refused: 0,
            withheld: 0,
            tally: Tally::of(&job.source, metrics),
            lost: HashSet::new(),
        }
    }

    /// Notes that the source has an instance although it cannot be delivered now.
    pub(crate) fn lose(&mut self, uid: &SopInstanceUid) {
        self.lost.insert(uid.clone());
    }

    /// Whether the source is known to have an instance, even if it denies that in a single request.
    pub(crate) fn was_lost(&self, uid: &SopInstanceUid) -> bool {
        self.lost.contains(uid)
    }

    /// Whether an instance is selected and still on the list.
    pub(crate) fn awaits(&self, identity: &Identity) -> bool {
        let is_listed = self.job.listing.number(identity).is_some();
        is_listed && self.is_on(&identity.sop_instance)
    }

    /// Takes an instance off the list; `false` if it was off already.
    pub(crate) fn take_uid(&mut self, uid: &SopInstanceUid) -> bool {
        let place = self.place(uid);
        match place.and_then(|place| self.off.get_mut(place)) {
            Some(off) if !*off => {
                *off = true;
                self.left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    fn is_on(&self, uid: &SopInstanceUid) -> bool {
        let off = self.place(uid).and_then(|place| self.off.get(place));
        off == Some(&false)
    }

    /// The position of an instance in `off`, if it is selected.
    fn place(&self, uid: &SopInstanceUid) -> Option<usize> {
        match &self.job.only {
            Some(only) => (only == uid).then_some(0),
            None => self.job.listing.instances.get(uid).copied(),
        }
    }

    /// Takes all instances off the list and returns their number.
    pub(crate) fn take_all(&mut self) -> usize {
        self.off.fill(true);
        std::mem::take(&mut self.left)
    }

    /// The instances still on the list, in order.
    pub(crate) fn awaited(&self) -> Vec<SopInstanceUid> {
        if let Some(only) = &self.job.only {
            return self.is_on(only).then(|| only.clone()).into_iter().collect();
        }
        let instances = self.job.listing.instances.iter();
        let is_on = |number: &usize| self.off.get(*number) == Some(&false);
        let mut awaited: Vec<_> = instances.filter(|(_, number)| is_on(number)).collect();
        awaited.sort_by_key(|(_, number)| **number);
        awaited.into_iter().map(|(uid, _)| uid.clone()).collect()
    }
}

#[cfg(test)]
pub(crate) mod test {
    //! Listings of any length.

    use std::sync::Arc;

    use super::*;
    use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
    use crate::instance::Listing;
    use crate::source::folder::Folder;
    use crate::source::{Kind, Source, Terms};

    pub(in crate::retrieve) fn listing(instances: usize) -> Listing {
        let uids: Vec<_> = (1..=instances).map(uid).collect();
        let study = StudyInstanceUid::parse("1.2").expect("a UID");
        let series = SeriesInstanceUid::parse("1.2.3").expect("a UID");
        Listing::new(&study, &series, uids.iter())
    }

    fn uid(at: usize) -> SopInstanceUid {
        SopInstanceUid::parse(&format!("1.2.3.{at}")).expect("a UID")
    }

    fn job(instances: usize, only: Option<SopInstanceUid>) -> Job {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(folder.path()).expect("an empty folder");
        Job {
            source: Arc::new(Source::new(
                "here",
                Kind::Folder(Arc::new(folder)),
                Terms::default(),
            )),
            listing: Arc::new(listing(instances)),
            only,
            patient: None,
        }
    }

    #[test]
    fn a_job_for_one_instance_costs_nothing_for_the_others_of_its_series() {
        let job = job(100_000, Some(uid(77_777)));
        let mut progress = Progress::new(&job, &Metrics::new());
        assert_eq!((progress.left, progress.off.len()), (1, 1));
        assert_eq!(progress.awaited(), [uid(77_777)]);
        assert!(!progress.take_uid(&uid(1)), "it is not selected");
        assert!(progress.take_uid(&uid(77_777)));
        assert!(!progress.take_uid(&uid(77_777)), "it is off the list");
        assert_eq!((progress.left, progress.awaited().len()), (0, 0));
    }

    #[test]
    fn a_job_for_a_series_goes_by_its_order() {
        let job = job(5, None);
        let mut progress = Progress::new(&job, &Metrics::new());
        assert!(progress.take_uid(&uid(2)) && progress.take_uid(&uid(5)));
        assert!(!progress.take_uid(&uid(6)), "it is not listed");
        assert_eq!(progress.awaited(), [uid(1), uid(3), uid(4)]);
        progress.lose(&uid(3));
        assert!(progress.was_lost(&uid(3)) && !progress.was_lost(&uid(4)));
        assert_eq!((progress.take_all(), progress.left), (3, 0));
    }

    #[test]
    fn listings_are_compared_by_their_digests() {
        assert_eq!(listing(1000), listing(1000));
        assert_ne!(listing(1000), listing(999));
        let (study, series) = (listing(0).study, listing(0).series);
        let swapped = [uid(2), uid(1)];
        assert_ne!(listing(2), Listing::new(&study, &series, swapped.iter()));
    }
}
