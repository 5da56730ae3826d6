//! Instances that need no request to a source: they are cached, or already in flight.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::crossing::Question;
use super::learned::SourceTrait;
use super::{Job, Missing, PatientCheck, Plan, Retriever};
use crate::body::Body;
use crate::cache::disk::Stored;
use crate::cache::{Content, Entry, Flight, Hit, Key};
use crate::dicom::{PatientIds, SopInstanceUid, TransferSyntax, TransferSyntaxes};
use crate::digest::LazyBlake3;
use crate::instance::{Instance, Listing, Way};
use crate::resource::Target;
use crate::retrieve::tally::Tally;
use crate::source::{self, Representation, Source};

/// The cache key of an instance of a listing.
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

/// The outcome of a cache lookup.
pub(super) enum CacheLookup {
    /// The instance is cached or in flight.
    Here(Box<Instance>),
    /// The instance is cached in a transfer syntax that the client does not accept.
    NotAccepted,
    /// The instance is cached, but must be revalidated at its source with these entity tags.
    Stale(HeaderValue),
    /// The instance must be fetched from its source.
    Nowhere,
}

/// The source's latest statement about an instance that is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// The source has not been asked.
    Nothing,
    /// The source has confirmed that the instance is unchanged.
    Confirmed,
}

impl Retriever {
    /// The answer to a request for one instance in memory, without any waiting.
    pub(super) fn at_once(&self, plan: &Plan, accepted: &TransferSyntaxes) -> Option<Instance> {
        let ([job], 0) = (&plan.jobs[..], plan.not_locatable) else {
            return None;
        };
        let only = job.only.as_ref()?;
        let key = key(&job.source, &job.listing, only, Representation::AsStored);
        let entry = self.cache.memory().find(&key)?;
        if !entry.validity.is_fresh(job.source.freshness.lifetime) {
            return None;
        }
        if !accepted.permit(&entry.identity.transfer_syntax) {
            return None;
        }
        // A mismatch takes the long way, which counts and reports it.
        if !self.is_beyond_doubt(job.patient.as_ref(), &entry.identity.patient) {
            return None;
        }
        self.cache.given(&key, &entry);
        let instance = in_memory(&entry, Way::Memory);
        self.count_lookup(&instance);
        let tally = Tally::of(&job.source, &self.metrics);
        Some(tally.delivering(instance))
    }

    /// The cached metadata derived from an instance; no source is asked.
    #[must_use]
    pub fn known_metadata(
        &self,
        source: &Source,
        listing: &Listing,
        uid: &SopInstanceUid,
        patient: &Arc<PatientCheck>,
    ) -> Option<Bytes> {
        let key = key(source, listing, uid, Representation::AsStored);
        let in_memory = self.cache.memory().peek(&key);
        let is_certain = |ids: &PatientIds| self.is_beyond_doubt(Some(patient), ids);
        let digest = match in_memory {
            Some(entry) if is_certain(&entry.identity.patient) => entry.blake3.get()?,
            Some(_) => return None,
            None => {
                let stored = self.cache.disk()?.find(&key)?;
                is_certain(&stored.patient).then_some(stored.blake3)?
            }
        };
        self.cache.derived().metadata(&digest)
    }

    /// The transfer syntax of an instance that is here: in a tier, or in a folder. No source is
    /// asked.
    #[must_use]
    pub fn known_syntax(
        &self,
        source: &Source,
        listing: &Listing,
        uid: &SopInstanceUid,
        patient: &Arc<PatientCheck>,
    ) -> Option<TransferSyntax> {
        let key = key(source, listing, uid, Representation::AsStored);
        let in_memory = self.cache.memory().peek(&key);
        let in_memory = in_memory.map(|entry| entry.identity.clone());
        let on_disk = || Some(self.cache.disk()?.peek(&key)?.identity());
        let identity = in_memory.or_else(on_disk);
        let Some(identity) = identity else {
            return source.known_syntax(&listing.instance(uid));
        };
        let is_certain = self.is_beyond_doubt(Some(patient), &identity.patient);
        is_certain.then_some(identity.transfer_syntax)
    }

    /// Looks an instance up. If the instance is in flight and its flight breaks off, `question`
    /// fetches the rest.
    pub(super) async fn kept(
        &self,
        key: &Key,
        accepted: &TransferSyntaxes,
        question: &Question,
        knowledge: Knowledge,
    ) -> CacheLookup {
        if knowledge == Knowledge::Confirmed {
            self.cache.confirm(key);
        }
        let Some(found) = self.cache.find(key) else {
            return CacheLookup::Nowhere;
        };
        let source = &question.source;
        let is_fresh = found.is_fresh(source.freshness.lifetime);
        if !is_fresh && knowledge == Knowledge::Nothing {
            return self
                .tags(source, &found)
                .map_or(CacheLookup::Nowhere, CacheLookup::Stale);
        }
        self.found(key, &found, accepted, question).await
    }

    /// An instance that is cached and fresh, or in flight; `follow` opens a reader of its flight.
    pub(super) async fn copy(
        &self,
        key: &Key,
        question: &Question,
        follow: &impl Fn(&Arc<Flight>) -> Option<Body>,
    ) -> Option<Instance> {
        let found = self.cache.find(key)?;
        if !found.is_fresh(question.source.freshness.lifetime) {
            return None;
        }
        match found {
            Hit::Memory(entry) => Some(in_memory(&entry, Way::Memory)),
            Hit::Flight(flight) => Some(collapsed(&flight, follow(&flight)?)),
            Hit::Disk(stored) => self.on_disk(&stored, question).await,
        }
    }

    /// The entity tags for revalidating a cached instance, if the source supports that.
    pub(super) fn had(&self, source: &Source, key: &Key) -> Option<HeaderValue> {
        self.tags(source, &self.cache.find(key)?)
    }

    fn tags(&self, source: &Source, found: &Hit) -> Option<HeaderValue> {
        if self.traits.has(source, SourceTrait::NoRevalidation) {
            return None;
        }
        HeaderValue::try_from(found.tags()?).ok()
    }

    async fn found(
        &self,
        key: &Key,
        found: &Hit,
        accepted: &TransferSyntaxes,
        question: &Question,
    ) -> CacheLookup {
        if !accepted.permit(found.transfer_syntax()) {
            return CacheLookup::NotAccepted;
        }
        let instance = match found {
            Hit::Memory(entry) => {
                self.cache.given(key, entry);
                Some(in_memory(entry, Way::Memory))
            }
            Hit::Flight(flight) => self.joined(flight, question),
            Hit::Disk(stored) => self.on_disk(stored, question).await,
        };
        instance.map_or(CacheLookup::Nowhere, |instance| {
            CacheLookup::Here(Box::new(instance))
        })
    }

    fn joined(&self, flight: &Arc<Flight>, question: &Question) -> Option<Instance> {
        flight.read_for(question.request());
        Some(collapsed(flight, self.mended(flight, question)?))
    }

    async fn on_disk(&self, stored: &Arc<Stored>, question: &Question) -> Option<Instance> {
        match self.cache.read(stored).await? {
            Content::Whole(entry) => Some(in_memory(&entry, Way::Disk)),
            Content::File(opened) => Some(Instance {
                identity: stored.identity(),
                body: self.read_on_disk(stored, opened, question),
                way: Way::Disk,
                blake3: Some(LazyBlake3::known(stored.blake3)),
                stamp: None,
                flight: None,
            }),
        }
    }

    /// Whether a source must be asked for an instance of the job that no crossing is fetching.
    #[must_use]
    pub fn must_ask(&self, job: &Job) -> bool {
        let form = Representation::AsStored;
        let holds = |uid| self.holds(&job.source, &key(&job.source, &job.listing, uid, form));
        match &job.only {
            Some(uid) => {
                let bringing = || self.crossings.bringing(&job.source, &job.listing);
                !holds(uid) && bringing().is_none()
            }
            None => !job.listing.instances.keys().all(holds),
        }
    }

    /// The instances known to be missing before any source is asked: those without a source, and
    /// those that their source was found to lack.
    #[must_use]
    pub fn missing(&self, plan: &Plan) -> Missing {
        let absent: usize = plan.jobs.iter().map(|job| self.absent(job)).sum();
        match plan.not_locatable + absent {
            0 => Missing::Nothing,
            missing => Missing::Some {
                missing,
                selected: plan.not_locatable + plan.count(),
            },
        }
    }

    fn absent(&self, job: &Job) -> usize {
        let (source, series) = (&job.source, &job.listing.series);
        let refused = self.refused(source, job.patient.as_ref(), series);
        let absent = self.absences.of(source, series).unwrap_or_default();
        let form = Representation::AsStored;
        let is_absent = |uid: &SopInstanceUid| {
            let told = (uid.clone(), form);
            if refused
                .as_ref()
                .is_some_and(|refused| refused.instances.contains(&told))
            {
                return true;
            }
            let is_told = absent.series || absent.instances.contains(&(uid.clone(), form));
            is_told && !self.holds(&job.source, &key(&job.source, &job.listing, uid, form))
        };
        match &job.only {
            Some(uid) => usize::from(is_absent(uid)),
            None => job
                .listing
                .instances
                .keys()
                .filter(|uid| is_absent(uid))
                .count(),
        }
    }

    /// Evicts an instance that its source no longer has.
    pub(super) fn heed(&self, question: &Question, error: Option<&source::Error>) {
        if !matches!(error, Some(source::Error::NotFound | source::Error::Gone)) {
            return;
        }
        if let Some(key) = question.key() {
            self.cache.forget_one(&key);
            return;
        }
        let Some(listing) = &question.listing else {
            return;
        };
        let form = question.representation;
        for uid in listing.instances.keys() {
            let key = key(&question.source, listing, uid, form);
            self.cache.forget_one(&key);
        }
    }

    /// Whether an instance is in flight, or cached and fresh.
    pub(super) fn holds(&self, source: &Source, key: &Key) -> bool {
        self.cache.holds(key, source.freshness.lifetime)
    }

    /// Counts the tier or flight that a delivered instance comes from.
    pub(super) fn count_lookup(&self, instance: &Instance) {
        let lookups = &self.metrics.cache_lookups;
        lookups.with_label_values(&[instance.way.tier()]).inc();
    }
}

impl Question {
    /// The cache key of the requested instance, if the question is for one instance.
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

/// An instance that another request is already fetching.
fn collapsed(flight: &Flight, body: Body) -> Instance {
    Instance {
        identity: flight.identity.clone(),
        body,
        way: Way::Collapsed,
        blake3: None,
        stamp: None,
        flight: Some(flight.number),
    }
}

fn in_memory(entry: &Arc<Entry>, way: Way) -> Instance {
    Instance {
        identity: entry.identity.clone(),
        body: Body::full(entry.bytes.clone()),
        way,
        blake3: Some(entry.blake3.clone()),
        stamp: None,
        flight: None,
    }
}
