//! Metadata that sources offer themselves, by their settings (`offers`) or as they show.

use std::collections::{HashMap, HashSet};
use std::mem;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use http::header::HeaderValue;

use crate::budget::Share;
use crate::derive::SelectedInstances;
use crate::dicom::SopInstanceUid;
use crate::gateway::Gateway;
use crate::gateway::dicomweb::source_patient::patient_of;
use crate::object::LEAST_KEPT;
use crate::present::adopted;
use crate::present::metadata::Described;
use crate::resource::{Offer, SubResource};
use crate::retrieve::{Job, Offering, Plan};
use crate::source::{self, ResourceRequest};

/// Most bytes of metadata of one series that are taken from a source.
const MOST: usize = 64 << 20;
/// Series whose metadata are asked for at the same time.
const AT_ONCE: usize = 4;

/// Why a source is asked for a sub-resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The settings vouch for it.
    Listed,
    /// It has not refused so far.
    NotRefused,
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
    pub(crate) fn ground(&self, job: &Job, offer: Offer) -> Option<Ground> {
        if !self.retriever.must_ask(job) {
            return None;
        }
        match self.registry.offers(&job.source, offer) {
            Some(true) => Some(Ground::Listed),
            Some(false) => None,
            None => {
                let offering = self.retriever.offering(&job.source, offer);
                (offering != Offering::Refused).then_some(Ground::NotRefused)
            }
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

    async fn described_by_source(
        &self,
        job: &Job,
        selected: &SelectedInstances,
        root: &str,
    ) -> Option<Vec<Described>> {
        let ground = self.ground(job, Offer::Metadata)?;
        let mut share = selected.context.account.share(LEAST_KEPT).await.ok()?;
        let given = self
            .series_metadata(job, &selected.plan, root, &mut share)
            .await;
        if ground == Ground::NotRefused {
            let is_given = given.is_ok();
            if is_given || matches!(given, Err(Unused::Refused)) {
                self.retriever
                    .learn_offer(&job.source, Offer::Metadata, is_given);
            }
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

    async fn series_metadata(
        &self,
        job: &Job,
        plan: &Plan,
        root: &str,
        share: &mut Share,
    ) -> Result<Vec<Bytes>, Unused> {
        let json = self.text_of(job, plan, share).await?;
        let described = adopt(&json, job, root).ok_or(Unused::Refused)?;
        drop(json);
        // In doubt, the instances themselves tell.
        if !described.iter().all(|json| self.is_of_patient(job, json)) {
            return Err(Unused::Other);
        }
        let held: usize = described.iter().map(Bytes::len).sum();
        share
            .grow(held as u64)
            .await
            .map_err(|_no_memory| Unused::Other)?;
        share.shrink(held as u64);
        Ok(described)
    }

    fn is_of_patient(&self, job: &Job, json: &[u8]) -> bool {
        patient_of(json).is_some_and(|found| {
            let patient = job.patient.as_ref();
            self.retriever.is_beyond_doubt(patient, &found)
        })
    }

    /// The metadata of one series, as its source sends them.
    async fn text_of(&self, job: &Job, plan: &Plan, share: &mut Share) -> Result<Bytes, Unused> {
        let target = match &job.only {
            Some(uid) => job.listing.instance(uid),
            None => job.listing.target(),
        };
        let request = ResourceRequest {
            target: &target,
            sub_resource: &SubResource::Metadata,
            query: "",
            accept: &HeaderValue::from_static("application/dicom+json"),
            hop: &plan.hop,
        };
        let asking = self.retriever.forward(&job.source, &request);
        let mut forwarded = asking.await.map_err(|error| Unused::of(&error))?;
        if forwarded.is_partial {
            return Err(Unused::Other);
        }
        let mut json = BytesMut::new();
        let broken = |_broken| Unused::Refused;
        while let Some(chunk) = forwarded.body.chunk().await.map_err(broken)? {
            if json.len() + chunk.len() > MOST {
                return Err(Unused::Refused);
            }
            // The text, once more while it moves, and the descriptions that are cut out of it.
            let length = (json.len() + chunk.len()) as u64;
            let growing = share.grow(length * 3);
            growing.await.map_err(|_no_memory| Unused::Other)?;
            json.extend_from_slice(&chunk);
        }
        Ok(json.freeze())
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
fn adopt(json: &[u8], job: &Job, root: &str) -> Option<Vec<Bytes>> {
    let listing = &job.listing;
    let target_of = |_series: &str, uid: &str| {
        let (uid, _) = listing.instances.get_key_value(uid)?;
        let is_selected = job.only.as_ref().is_none_or(|only| only == uid);
        is_selected.then(|| listing.instance(uid))
    };
    let adopted = adopted::adopted(json, root, target_of).ok()?;
    let mut adopted: HashMap<SopInstanceUid, Bytes> = adopted.into_iter().collect();
    let mut selected: Vec<_> = match &job.only {
        Some(uid) => vec![(uid, 0)],
        None => listing
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
