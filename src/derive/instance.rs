//! The instances that a response is made of. Each is opened when it is needed, and as often.

use std::collections::HashSet;
use std::sync::Arc;

use super::Error;
use crate::body;
use crate::budget::{Account, Share};
use crate::dicom::{SopInstanceUid, TransferSyntaxes};
use crate::hop::Hop;
use crate::instance::{Instance, Listing};
use crate::pixels::Pool;
use crate::resource::Target;
use crate::retrieve::{self, Job, Missing, PatientCheck, Plan, Retriever};
use crate::source::{self, Source};

/// The means to open and decode instances for one response.
#[derive(Debug, Clone)]
pub struct Context {
    /// Fetches instances.
    pub retriever: Retriever,
    /// Decodes and renders frames.
    pub decoders: Pool,
    /// The memory of the response.
    pub account: Account,
    /// The request as upstream servers see it.
    pub hop: Arc<Hop>,
}

/// All instances of a request's target.
#[derive(Debug)]
pub struct SelectedInstances {
    /// The instances and their sources.
    pub plan: Plan,
    /// The means to open them.
    pub context: Arc<Context>,
}

/// One instance, not opened yet.
#[derive(Debug, Clone)]
pub struct SelectedInstance {
    context: Arc<Context>,
    source: Arc<Source>,
    listing: Arc<Listing>,
    uid: SopInstanceUid,
    patient: Option<Arc<PatientCheck>>,
}

/// Instances in the order of their manifest. Only the series whose turn it is takes memory.
#[derive(Debug)]
pub struct InOrder {
    context: Arc<Context>,
    jobs: std::vec::IntoIter<Job>,
    series: Option<(Job, std::vec::IntoIter<SopInstanceUid>)>,
}

impl Context {
    /// The same after the head of the response has left: it waits longer for memory, because it can
    /// no longer be refused.
    #[must_use]
    pub fn patient(&self) -> Arc<Self> {
        Arc::new(Self {
            account: self.account.patient(),
            ..self.clone()
        })
    }

    /// One instance of a job's series.
    #[must_use]
    pub fn instance(self: &Arc<Self>, job: &Job, uid: SopInstanceUid) -> SelectedInstance {
        SelectedInstance {
            context: Arc::clone(self),
            source: Arc::clone(&job.source),
            listing: Arc::clone(&job.listing),
            uid,
            patient: job.patient.clone(),
        }
    }

    /// Memory for `bytes`.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub async fn share(&self, bytes: u64) -> Result<Share, Error> {
        Ok(self.account.share(bytes).await?)
    }
}

impl SelectedInstances {
    /// The one instance that the target is.
    ///
    /// # Errors
    /// [`Error::OfInstancesOnly`] if the target is a series or a study.
    pub fn single(&self) -> Result<SelectedInstance, Error> {
        let plan = &self.plan;
        match &plan.jobs[..] {
            [job] if let Some(uid) = &job.only => Ok(self.context.instance(job, uid.clone())),
            [] if plan.not_locatable > 0 => Err(retrieve::Error::NotLocatable.into()),
            _ => Err(Error::OfInstancesOnly),
        }
    }

    /// All instances, and the number that is already known to be missing.
    ///
    /// # Errors
    /// [`Error::Retrieve`] if no instance has a source.
    pub fn in_order(self) -> Result<(InOrder, Missing), Error> {
        if self.plan.jobs.is_empty() {
            return Err(retrieve::Error::NotLocatable.into());
        }
        let missing = self.plan.missing();
        let instances = InOrder {
            context: self.context,
            jobs: self.plan.jobs.into_iter(),
            series: None,
        };
        Ok((instances, missing))
    }

    /// Instances that may stand for each series: one from its middle, and others in case that it
    /// cannot be read.
    pub fn representatives(&self) -> impl Iterator<Item = Vec<SelectedInstance>> {
        self.plan.jobs.iter().map(|job| {
            let uids = in_order(&job.listing);
            let all = uids.len();
            let mut places = vec![all / 2, all / 4, all * 3 / 4, 0, all.saturating_sub(1)];
            let mut seen = HashSet::new();
            places.retain(|place| *place < all && seen.insert(*place));
            let instances = places.into_iter().map(|place| uids[place].clone());
            let instances = instances.map(|uid| self.context.instance(job, uid));
            instances.collect()
        })
    }
}

impl InOrder {
    /// The same after the head of the response has left; see [`Context::patient`].
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            context: self.context.patient(),
            ..self
        }
    }
}

impl Iterator for InOrder {
    type Item = SelectedInstance;

    fn next(&mut self) -> Option<SelectedInstance> {
        loop {
            if let Some((job, uids)) = &mut self.series
                && let Some(uid) = uids.next()
            {
                return Some(self.context.instance(job, uid));
            }
            let job = self.jobs.next()?;
            let uids = match &job.only {
                Some(uid) => vec![uid.clone()],
                None => in_order(&job.listing),
            };
            self.series = Some((job, uids.into_iter()));
        }
    }
}

fn in_order(listing: &Listing) -> Vec<SopInstanceUid> {
    let mut numbered: Vec<_> = listing.instances.iter().collect();
    numbered.sort_by_key(|(_, number)| **number);
    numbered.into_iter().map(|(uid, _)| uid.clone()).collect()
}

impl SelectedInstance {
    /// The means to open it.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The instance as the target of a request.
    #[must_use]
    pub fn target(&self) -> Target {
        self.listing.instance(&self.uid)
    }

    /// The same after the head of the response has left; see [`Context::patient`].
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            context: self.context.patient(),
            ..self.clone()
        }
    }

    /// Notes that it cannot be converted.
    pub(super) fn note_unconvertible(&self) {
        let retriever = &self.context.retriever;
        retriever.note_unconvertible(&self.source, &self.listing, &self.uid);
    }

    /// Whether it is a file on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.source.instances().is_some()
    }

    /// Opens the instance as it is stored.
    ///
    /// # Errors
    /// Why neither a tier nor its source gives it.
    pub async fn open(&self) -> Result<Instance, Error> {
        if let Some(instance) = self.source.at_hand(&self.target()).await {
            let (source, patient) = (&self.source, self.patient.as_ref());
            let retriever = &self.context.retriever;
            if !retriever.admits(source, patient, &instance.identity) {
                return Err(retrieve::Error::Source(source::Error::OtherPatient).into());
            }
            return Ok(instance);
        }
        self.fetch(TransferSyntaxes::AsStored).await
    }

    /// The instance as its source gives it in one of these transfer syntaxes.
    ///
    /// # Errors
    /// Why neither a tier nor its source gives it.
    pub async fn fetch(&self, accepted: TransferSyntaxes) -> Result<Instance, Error> {
        let mut plan = Plan::new(Arc::clone(&self.context.hop));
        plan.jobs.push(Job {
            source: Arc::clone(&self.source),
            listing: Arc::clone(&self.listing),
            only: Some(self.uid.clone()),
            patient: self.patient.clone(),
        });
        let mut retrieval = self.context.retriever.start(plan, accepted).await?;
        let first = retrieval.instances.next().await?;
        Ok(first.ok_or(body::Error::Missing(1))?)
    }
}
