//! Metadata that sources offer themselves, by their settings (`offers`) or as they show.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::HeaderValue;

use crate::budget::Share;
use crate::derive::{Context, SelectedInstances};
use crate::dicom::{SeriesInstanceUid, SopInstanceUid};
use crate::gateway::Gateway;
use crate::gateway::dicomweb::source_patient::patient_of;
use crate::hop::Hop;
use crate::object::LEAST_KEPT;
use crate::present::adopted::{Adopted, Adopter};
use crate::present::forwarded::Unsuitable;
use crate::present::metadata::Described;
use crate::resource::{Offer, SubResource, Target};
use crate::retrieve::{Job, Offering, PatientCheck, RelayRequest};
use crate::source::{self, ResourceRequest, Source};

/// Most bytes of metadata of one series that are taken from a source.
const MOST: usize = 64 << 20;
/// Series whose metadata are asked for at the same time.
const AT_ONCE: usize = 4;

/// Why a source is asked for a sub-resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The settings vouch for it.
    Listed,
    /// It is a partner's gateway that says so: what it derives is what this one would derive.
    Told,
    /// It has not refused so far.
    NotRefused,
}

/// Arranges the descriptions that came; `None` if any is missing.
type Arrange<'a> = &'a (dyn Fn(Vec<Adopted>) -> Option<Vec<Bytes>> + Sync);

/// A source that is asked for the metadata of a target.
struct Question<'a> {
    ground: Ground,
    source: &'a Source,
    target: &'a Target,
    patient: Option<&'a Arc<PatientCheck>>,
    hop: &'a Hop,
}

/// Why a source's metadata are not used.
enum Unused {
    /// The source does not give them, or not whole.
    Refused,
    /// Something else, which says nothing about the source.
    Other,
}

impl Gateway {
    /// Why a source is asked for a sub-resource of a job, if it is. Instances in a tier are nearer
    /// than the source.
    pub(crate) fn ground(&self, job: &Job, offer: Offer, hop: &Arc<Hop>) -> Option<Ground> {
        if !self.retriever.must_ask(job) {
            return None;
        }
        match self.registry.offers(&job.source, offer) {
            Some(true) => Some(Ground::Listed),
            Some(false) => None,
            None => self.ground_by_itself(&job.source, offer, hop),
        }
    }

    /// The same, as far as the source shows or tells what it offers.
    pub(crate) fn ground_by_itself(
        &self,
        source: &Arc<Source>,
        offer: Offer,
        hop: &Arc<Hop>,
    ) -> Option<Ground> {
        self.retriever.ask_offers(source, hop);
        match self.retriever.offering(source, offer) {
            Offering::Told => Some(Ground::Told),
            Offering::Shown | Offering::Unknown => Some(Ground::NotRefused),
            Offering::Refused => None,
        }
    }

    /// The metadata of the series that their sources describe whole. These series are taken out of
    /// the selection.
    pub(crate) async fn source_metadata(
        &self,
        selected: &mut SelectedInstances,
        root: &str,
    ) -> Vec<Described> {
        let jobs = mem::take(&mut selected.plan.jobs);
        // A source that offers none is asked once: for its first series.
        let mut sources = HashSet::new();
        let is_first = |(_, job): &(usize, &Job)| sources.insert(job.source.key());
        let (first, rest): (Vec<_>, Vec<_>) = jobs.iter().enumerate().partition(is_first);
        let mut described: Vec<Option<Vec<Described>>> = jobs.iter().map(|_| None).collect();
        let shown: &SelectedInstances = selected;
        for round in [first, rest] {
            for some in round.chunks(AT_ONCE) {
                let mut asking = Vec::new();
                for (_, job) in some {
                    asking.push(self.described_by_source(job, shown, root));
                }
                for ((at, _), given) in some.iter().zip(join_all(asking).await) {
                    described[*at] = given;
                }
            }
        }
        let mut all = Vec::new();
        for (job, given) in jobs.into_iter().zip(described) {
            match given {
                Some(given) => all.extend(given),
                None => selected.plan.jobs.push(job),
            }
        }
        all
    }

    /// The metadata of everything that a source has of a target, which no manifest lists; `None` if
    /// it does not give them.
    pub(crate) async fn all_metadata(
        &self,
        context: &Context,
        relay: &RelayRequest,
        root: &str,
    ) -> Option<Vec<Described>> {
        let ground = match self.registry.offers(&relay.source, Offer::Metadata) {
            Some(is_listed) => is_listed.then_some(Ground::Listed),
            None => self.ground_by_itself(&relay.source, Offer::Metadata, &relay.hop),
        };
        let question = Question {
            ground: ground?,
            source: &relay.source,
            target: &relay.target,
            patient: relay.patient.as_ref(),
            hop: &relay.hop,
        };
        let target_of = |series: &str, uid: &str| within(&relay.target, series, uid);
        let adopter = Adopter::new(root, &target_of);
        self.given_metadata(&question, context, adopter, &in_order_of_source)
            .await
    }

    async fn described_by_source(
        &self,
        job: &Job,
        selected: &SelectedInstances,
        root: &str,
    ) -> Option<Vec<Described>> {
        let hop = &selected.plan.hop;
        let target = match &job.only {
            Some(uid) => job.listing.instance(uid),
            None => job.listing.target(),
        };
        let question = Question {
            ground: self.ground(job, Offer::Metadata, hop)?,
            source: &job.source,
            target: &target,
            patient: job.patient.as_ref(),
            hop,
        };
        let target_of = |_series: &str, uid: &str| {
            let (uid, _) = job.listing.instances.get_key_value(uid)?;
            let is_selected = job.only.as_ref().is_none_or(|only| only == uid);
            is_selected.then(|| job.listing.instance(uid))
        };
        let adopter = Adopter::new(root, &target_of);
        let arrange = |adopted| in_order_of_manifest(adopted, job);
        self.given_metadata(&question, &selected.context, adopter, &arrange)
            .await
    }

    /// The answer of a source.
    async fn given_metadata(
        &self,
        question: &Question<'_>,
        context: &Context,
        adopter: Adopter<'_>,
        arrange: Arrange<'_>,
    ) -> Option<Vec<Described>> {
        let mut share = context.account.share(LEAST_KEPT).await.ok()?;
        let adopting = self.adopted_metadata(question, adopter, &mut share);
        let adopted = adopting.await;
        let given = adopted.and_then(|adopted| arrange(adopted).ok_or(Unused::Refused));
        let given = given.and_then(|given| self.of_patient(question, given));
        let is_given = given.is_ok();
        let is_telling = is_given || matches!(given, Err(Unused::Refused));
        if question.ground != Ground::Listed && is_telling {
            let (source, offer) = (question.source, Offer::Metadata);
            self.retriever.learn_offer(source, offer, is_given);
        }
        let given = given.ok()?.into_iter().map(|json| {
            let rest = share.split(json.len() as u64);
            Described {
                share: mem::replace(&mut share, rest),
                json,
                is_read: true,
            }
        });
        Some(given.collect())
    }

    /// In doubt about the patient, the instances themselves tell.
    fn of_patient(
        &self,
        question: &Question<'_>,
        described: Vec<Bytes>,
    ) -> Result<Vec<Bytes>, Unused> {
        let is_beyond_doubt = |json: &Bytes| {
            let found = patient_of(json);
            found.is_some_and(|found| self.retriever.is_beyond_doubt(question.patient, &found))
        };
        if described.iter().all(is_beyond_doubt) {
            Ok(described)
        } else {
            Err(Unused::Other)
        }
    }

    /// The metadata of one target, read while its source sends them.
    async fn adopted_metadata(
        &self,
        question: &Question<'_>,
        mut adopter: Adopter<'_>,
        share: &mut Share,
    ) -> Result<Vec<Adopted>, Unused> {
        let request = ResourceRequest {
            target: question.target,
            sub_resource: &SubResource::Metadata,
            query: "",
            accept: &HeaderValue::from_static("application/dicom+json"),
            hop: question.hop,
        };
        let is_listed = question.ground == Ground::Listed;
        if !is_listed && !self.retriever.may_try(question.source, Offer::Metadata) {
            return Err(Unused::Other);
        }
        let asking = self.retriever.forward(question.source, &request);
        let mut forwarded = asking.await.map_err(|error| Unused::of(&error))?;
        if forwarded.is_partial {
            return Err(Unused::Other);
        }
        let broken = |_broken| Unused::Refused;
        let mut read = 0;
        while let Some(chunk) = forwarded.body.chunk().await.map_err(broken)? {
            read += chunk.len();
            if read > MOST || adopter.size() > MOST {
                return Err(Unused::Refused);
            }
            // The instance that ends in the chunk is a tree of values for a moment.
            let growing = share.grow((adopter.size() + chunk.len()) as u64 * 2);
            growing.await.map_err(|_no_memory| Unused::Other)?;
            adopter.push(&chunk).map_err(|Unsuitable| Unused::Refused)?;
        }
        let held = adopter.size() as u64;
        let adopted = adopter.finish().map_err(|Unsuitable| Unused::Refused)?;
        let growing = share.grow(held);
        growing.await.map_err(|_no_memory| Unused::Other)?;
        share.shrink(held);
        Ok(adopted)
    }
}

impl Unused {
    fn of(error: &source::Error) -> Self {
        if error.is_refusal() {
            Self::Refused
        } else {
            Self::Other
        }
    }
}

/// The descriptions of a job's instances, in the order of the manifest; `None` if any is missing.
fn in_order_of_manifest(adopted: Vec<Adopted>, job: &Job) -> Option<Vec<Bytes>> {
    let adopted = adopted.into_iter().map(|one| (one.uid, one.json));
    let mut adopted: HashMap<SopInstanceUid, Bytes> = adopted.collect();
    let mut selected: Vec<_> = match &job.only {
        Some(uid) => vec![(uid, 0)],
        None => job
            .listing
            .instances
            .iter()
            .map(|(uid, at)| (uid, *at))
            .collect(),
    };
    selected.sort_by_key(|(_, at)| *at);
    let described = selected.into_iter().map(|(uid, _)| adopted.remove(uid));
    let described: Option<Vec<_>> = described.collect();
    if described.is_none() {
        let location = &*job.source.alias;
        tracing::info!(
            location,
            "a source's metadata lack instances of the manifest"
        );
    }
    described
}

/// The descriptions of all instances that came; `None` if there are none.
fn in_order_of_source(adopted: Vec<Adopted>) -> Option<Vec<Bytes>> {
    let described: Vec<_> = adopted.into_iter().map(|one| one.json).collect();
    (!described.is_empty()).then_some(described)
}

/// The instance with these UIDs, if it belongs to the target.
fn within(target: &Target, series: &str, uid: &str) -> Option<Target> {
    let series = SeriesInstanceUid::parse(series).ok()?;
    let uid = SopInstanceUid::parse(uid).ok()?;
    let is_meant = match target {
        Target::Study(_) => true,
        Target::Series(_, meant) | Target::Instance(_, meant, _) => *meant == series,
    };
    is_meant.then(|| Target::Instance(target.study().clone(), series, uid))
}
