//! What need not be asked for: it is kept, or it is arriving for somebody else.

use std::sync::Arc;

use super::crossing::Question;
use super::giving::Tally;
use super::{Job, Plan, Retriever};
use crate::body::Body;
use crate::cache::disk::{BODY_AT, Stored};
use crate::cache::{Entry, Found, Key, Read};
use crate::dicom::part10::Identity;
use crate::dicom::{SopInstanceUid, TransferSyntaxes};
use crate::instance::{Instance, Listing, Target, Way};
use crate::source::{Representation, Source};

/// What an instance of a listing is kept as.
pub(super) fn key(
    source: &Source,
    listing: &Listing,
    instance: &SopInstanceUid,
    representation: Representation,
) -> Key {
    Key {
        place: source.key(),
        study: listing.study.clone(),
        series: listing.series.clone(),
        instance: instance.clone(),
        representation,
    }
}

impl Retriever {
    /// The answer to a request for one instance that is in memory: nobody need wait for anything.
    pub(super) fn at_once(&self, plan: &Plan, accepted: &TransferSyntaxes) -> Option<Instance> {
        let ([job], 0) = (&plan.jobs[..], plan.not_locatable) else {
            return None;
        };
        let only = job.only.as_ref()?;
        let key = key(&job.source, &job.listing, only, Representation::AsStored);
        let entry = self.cache.memory().find(&key)?;
        if !accepted.permit(&entry.identity.transfer_syntax) {
            return None;
        }
        let tally = Tally::of(&job.source, &self.metrics);
        self.count_lookup("memory");
        Some(tally.delivering(in_memory(&entry, Way::Memory)))
    }

    /// An instance that is kept or arriving, in a form that is accepted.
    pub(super) async fn kept(&self, key: &Key, accepted: &TransferSyntaxes) -> Option<Instance> {
        let accepts = |identity: &Identity| accepted.permit(&identity.transfer_syntax);
        match self.cache.find(key)? {
            Found::Memory(entry) if accepts(&entry.identity) => {
                self.count_lookup("memory");
                Some(in_memory(&entry, Way::Memory))
            }
            Found::Flight(flight) if accepts(&flight.identity) => {
                let body = flight.follow()?;
                self.count_lookup("flight");
                Some(Instance {
                    identity: flight.identity.clone(),
                    body,
                    way: Way::Collapsed,
                })
            }
            Found::Disk(stored) if accepts(&stored.identity) => {
                let instance = self.on_disk(&stored).await?;
                self.count_lookup("disk");
                Some(instance)
            }
            Found::Memory(_) | Found::Flight(_) | Found::Disk(_) => None,
        }
    }

    async fn on_disk(&self, stored: &Arc<Stored>) -> Option<Instance> {
        match self.cache.read(stored).await? {
            Read::Whole(entry) => Some(in_memory(&entry, Way::Disk)),
            Read::File(file) => Some(Instance {
                identity: stored.identity.clone(),
                body: Body::file(file, BODY_AT, stored.length),
                way: Way::Disk,
            }),
        }
    }

    /// Whether a source must be asked for something of a job, and nobody is asking it now.
    pub(super) fn must_ask(&self, job: &Job) -> bool {
        let form = Representation::AsStored;
        let holds = |uid| self.cache.holds(&key(&job.source, &job.listing, uid, form));
        match &job.only {
            Some(uid) => !holds(uid),
            None => !job.listing.instances.keys().all(holds),
        }
    }

    pub(super) fn count_lookup(&self, tier: &str) {
        let lookups = &self.metrics.cache_lookups;
        lookups.with_label_values(&[tier]).inc();
    }
}

impl Question {
    /// What the instance that is asked for is kept as, if it is one.
    pub(super) fn key(&self) -> Option<Key> {
        match &self.target {
            Target::Instance(study, series, instance) => Some(Key {
                place: self.source.key(),
                study: study.clone(),
                series: series.clone(),
                instance: instance.clone(),
                representation: self.representation,
            }),
            Target::Study(_) | Target::Series(..) => None,
        }
    }
}

fn in_memory(entry: &Arc<Entry>, way: Way) -> Instance {
    Instance {
        identity: entry.identity.clone(),
        body: Body::full(entry.bytes.clone()),
        way,
    }
}
