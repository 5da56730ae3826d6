//! What an answer is made of: instances that are opened when they are needed, as often as they are.

use std::sync::Arc;

use crate::body;
use crate::budget::Account;
use crate::dicom::{SopInstanceUid, TransferSyntaxes};
use crate::gateway::{Asking, Error, Gateway};
use crate::hop::Hop;
use crate::instance::{Instance, Listing};
use crate::pixels::Pool;
use crate::resource::Target;
use crate::retrieve::{Job, Missing, Plan, Retriever};
use crate::source::Source;

/// What opening and decoding instances takes; one for each answer.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) retriever: Retriever,
    pub(crate) decoders: Pool,
    pub(crate) account: Account,
    hop: Arc<Hop>,
}

/// The instances that are asked for.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) plan: Plan,
    pub(crate) context: Arc<Context>,
}

/// One instance.
#[derive(Debug, Clone)]
pub(crate) struct One {
    pub(crate) context: Arc<Context>,
    source: Arc<Source>,
    listing: Arc<Listing>,
    uid: SopInstanceUid,
}

/// Instances in the order of their manifest. Of the series that is its turn, there is a list.
#[derive(Debug)]
pub(crate) struct Ones {
    context: Arc<Context>,
    jobs: std::vec::IntoIter<Job>,
    series: Option<(Job, std::vec::IntoIter<SopInstanceUid>)>,
}

impl Gateway {
    /// What a plan selects, for whoever asks.
    pub(crate) fn material(&self, plan: Plan, asking: &Asking) -> Material {
        Material {
            plan,
            context: self.context(asking),
        }
    }

    pub(crate) fn context(&self, asking: &Asking) -> Arc<Context> {
        Arc::new(Context {
            retriever: self.retriever.clone(),
            decoders: self.decoders.clone(),
            account: asking.account.clone(),
            hop: Arc::clone(&asking.hop),
        })
    }
}

impl Context {
    /// The same, for an answer that has begun.
    pub(crate) fn patient(&self) -> Arc<Self> {
        Arc::new(Self {
            account: self.account.patient(),
            ..self.clone()
        })
    }

    /// One instance of a series.
    pub(crate) fn one(self: &Arc<Self>, job: &Job, uid: SopInstanceUid) -> One {
        One {
            context: Arc::clone(self),
            source: Arc::clone(&job.source),
            listing: Arc::clone(&job.listing),
            uid,
        }
    }
}

impl Material {
    /// The one instance that is asked for.
    pub(crate) fn one(&self) -> Result<One, Error> {
        let plan = &self.plan;
        match &plan.jobs[..] {
            [job] if let Some(uid) = &job.only => Ok(self.context.one(job, uid.clone())),
            [] if plan.not_locatable > 0 => Err(crate::retrieve::Error::NotLocatable.into()),
            _ => Err(Error::OfInstancesOnly),
        }
    }

    /// All instances that are asked for, and what is known to be missing.
    pub(crate) fn all(self) -> Result<(Ones, Missing), Error> {
        if self.plan.jobs.is_empty() {
            return Err(crate::retrieve::Error::NotLocatable.into());
        }
        let missing = self.plan.missing();
        let ones = Ones {
            context: self.context,
            jobs: self.plan.jobs.into_iter(),
            series: None,
        };
        Ok((ones, missing))
    }

    /// An instance from the middle of each series.
    pub(crate) fn middles(&self) -> impl Iterator<Item = One> {
        self.plan.jobs.iter().filter_map(|job| {
            let middle = job.listing.instances.len() / 2;
            let mut instances = job.listing.instances.iter();
            let (uid, _) = instances.find(|(_, number)| **number == middle)?;
            Some(self.context.one(job, uid.clone()))
        })
    }
}

impl Ones {
    /// The same, for an answer that has begun.
    pub(crate) fn patient(self) -> Self {
        Self {
            context: self.context.patient(),
            ..self
        }
    }
}

impl Iterator for Ones {
    type Item = One;

    fn next(&mut self) -> Option<One> {
        loop {
            if let Some((job, uids)) = &mut self.series
                && let Some(uid) = uids.next()
            {
                return Some(self.context.one(job, uid));
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

impl One {
    /// As it may be asked for.
    pub(crate) fn target(&self) -> Target {
        self.listing.instance(&self.uid)
    }

    /// The same, for an answer that has begun.
    pub(crate) fn patient(&self) -> Self {
        Self {
            context: self.context.patient(),
            ..self.clone()
        }
    }

    /// Whether it is a file on this machine.
    pub(crate) fn is_here(&self) -> bool {
        self.source.instances().is_some()
    }

    pub(crate) async fn open(&self) -> Result<Instance, Error> {
        if let Some(instance) = self.source.at_hand(&self.target()).await {
            return Ok(instance);
        }
        self.fetch(TransferSyntaxes::AsStored).await
    }

    /// The instance as its source gives it in one of these transfer syntaxes.
    pub(crate) async fn fetch(&self, accepted: TransferSyntaxes) -> Result<Instance, Error> {
        let mut plan = Plan::new(Arc::clone(&self.context.hop));
        plan.jobs.push(Job {
            source: Arc::clone(&self.source),
            listing: Arc::clone(&self.listing),
            only: Some(self.uid.clone()),
        });
        let mut retrieval = self.context.retriever.start(plan, accepted).await?;
        let first = retrieval.instances.next().await?;
        Ok(first.ok_or(body::Error::Missing(1))?)
    }
}
