//! What has come of one series, and what is still awaited.

use super::Job;
use super::giving::Tally;
use crate::dicom::SopInstanceUid;
use crate::dicom::part10::Identity;
use crate::metrics::Metrics;

/// One job while it is done.
pub(super) struct Progress<'a> {
    pub(super) job: &'a Job,
    /// For each instance of the listing, whether it is off the list: it has come, or it is known
    /// to be missing.
    off: Vec<bool>,
    /// How many are still on the list.
    pub(super) left: usize,
    /// How many were given on.
    pub(super) given: usize,
    pub(super) tally: Tally,
}

impl<'a> Progress<'a> {
    pub(super) fn new(job: &'a Job, metrics: &Metrics) -> Self {
        Self {
            job,
            off: vec![false; job.listing.instances.len()],
            left: job.count(),
            given: 0,
            tally: Tally::of(&job.source, metrics),
        }
    }

    /// Whether an instance is selected and still on the list.
    pub(super) fn awaits(&self, identity: &Identity) -> bool {
        let only = self.job.only.as_ref();
        let is_meant = only.is_none_or(|only| *only == identity.sop_instance);
        let number = self.job.listing.number(identity);
        is_meant && number.is_some_and(|number| self.off.get(number) == Some(&false))
    }

    /// Takes an instance off the list; `false` if it was off already.
    pub(super) fn take(&mut self, number: usize) -> bool {
        match self.off.get_mut(number) {
            Some(off) if !*off => {
                *off = true;
                self.left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes everything off the list; gives how many instances that were.
    pub(super) fn take_all(&mut self) -> usize {
        self.off.fill(true);
        std::mem::take(&mut self.left)
    }

    /// As [`Progress::take`], by UID.
    pub(super) fn take_uid(&mut self, uid: &SopInstanceUid) -> bool {
        let number = self.job.listing.instances.get(uid).copied();
        number.is_some_and(|number| self.take(number))
    }

    /// What is still on the list, in its order.
    pub(super) fn awaited(&self) -> Vec<SopInstanceUid> {
        let instances = self.job.listing.instances.iter();
        let is_on = |number: &usize| self.off.get(*number) == Some(&false);
        let mut awaited: Vec<_> = instances.filter(|(_, number)| is_on(number)).collect();
        awaited.sort_by_key(|(_, number)| **number);
        awaited.into_iter().map(|(uid, _)| uid.clone()).collect()
    }
}
