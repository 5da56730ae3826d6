//! The stream of instances that everything revolves around.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::body::handover::Taker;
use crate::body::{self, Body};
use crate::dicom::part10::Identity;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::digest::{Blake3, Digest, LazyBlake3, Rolling};
use crate::resource::Target;

/// The instances that a manifest lists for one series.
#[derive(Debug)]
pub struct Listing {
    /// The study.
    pub study: StudyInstanceUid,
    /// The series.
    pub series: SeriesInstanceUid,
    /// Its instances, numbered from 0.
    pub instances: HashMap<SopInstanceUid, usize>,
    /// Of all of the above: two listings are compared without a walk over either.
    digest: Digest,
}

impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Listing {}

impl Identity {
    /// The instance, as it may be asked for.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Instance(
            self.study.clone(),
            self.series.clone(),
            self.sop_instance.clone(),
        )
    }
}

impl Listing {
    /// These instances of a series, in this order.
    #[must_use]
    pub fn new<'a>(
        study: &StudyInstanceUid,
        series: &SeriesInstanceUid,
        uids: impl ExactSizeIterator<Item = &'a SopInstanceUid>,
    ) -> Self {
        let mut digest = Rolling::new();
        let mut instances = HashMap::with_capacity(uids.len());
        for uid in [study.as_str(), series.as_str()] {
            digest.update(uid.as_bytes());
            digest.update(b" ");
        }
        for (at, uid) in uids.enumerate() {
            digest.update(uid.as_str().as_bytes());
            digest.update(b" ");
            instances.insert(uid.clone(), at);
        }
        Self {
            study: study.clone(),
            series: series.clone(),
            instances,
            digest: digest.digest(),
        }
    }

    /// The series, as it may be asked for.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Series(self.study.clone(), self.series.clone())
    }

    /// One of its instances, as it may be asked for.
    #[must_use]
    pub fn instance(&self, uid: &SopInstanceUid) -> Target {
        Target::Instance(self.study.clone(), self.series.clone(), uid.clone())
    }

    /// The instance in the middle, which stands for the series; `None` if there is none.
    #[must_use]
    pub fn middle(&self) -> Option<&SopInstanceUid> {
        self.numbered(self.instances.len() / 2)
    }

    /// The instance with this number.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Option<&SopInstanceUid> {
        let mut instances = self.instances.iter();
        let found = instances.find(|(_, at)| **at == number);
        found.map(|(uid, _)| uid)
    }

    /// The number of an instance, if its bytes say that it is of this series and it is listed.
    #[must_use]
    pub fn number(&self, identity: &Identity) -> Option<usize> {
        let is_here = identity.study == self.study && identity.series == self.series;
        is_here
            .then(|| self.instances.get(&identity.sop_instance).copied())
            .flatten()
    }
}

/// A SOP instance: a handle with bytes that are arriving.
#[derive(Debug)]
pub struct Instance {
    /// Which instance it is, read from its own bytes.
    pub identity: Identity,
    /// The Part 10 file.
    pub body: Body,
    /// How it came here.
    pub way: Way,
    /// The BLAKE3 of the Part 10 file, unless it is still arriving.
    pub blake3: Option<LazyBlake3>,
    /// Identifies the bytes without reading them: for a file, its path, length and modification
    /// time.
    pub stamp: Option<[u8; 32]>,
    /// The number of the flight that others may follow too, if it is still arriving.
    pub flight: Option<u64>,
}

impl Instance {
    /// The key for everything that is derived from the instance.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.blake3().or(self.stamp)
    }

    /// The key for the layout of its frames, which is known before its last byte. While the
    /// instance arrives, this is the number of its flight, which no BLAKE3 looks like.
    #[must_use]
    pub fn layout_key(&self) -> Option<[u8; 32]> {
        let of_flight = |number: u64| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            key
        };
        self.digest().or(self.flight.map(of_flight))
    }

    /// The BLAKE3 of the Part 10 file, where it is known or quick to compute.
    #[must_use]
    pub fn blake3(&self) -> Option<Blake3> {
        self.blake3.as_ref().and_then(LazyBlake3::get)
    }

    /// The BLAKE3 as an entity tag; `is_needed` if the request has conditions.
    #[must_use]
    pub fn tag(&self, is_needed: bool) -> Option<Blake3> {
        let blake3 = self.blake3.as_ref()?;
        if is_needed {
            blake3.get()
        } else {
            blake3.tag()
        }
    }
}

/// How an instance came to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It was in memory.
    Memory,
    /// It was on disk.
    Disk,
    /// Another request was fetching it already.
    Collapsed,
    /// It was fetched for this answer, and is kept if it comes whole.
    Fetched,
    /// It was fetched for this answer, and is not kept.
    PassedOn,
}

impl Way {
    /// Where it was found, as metrics name it.
    #[must_use]
    pub fn tier(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Collapsed => "flight",
            Self::Fetched | Self::PassedOn => "none",
        }
    }
}

/// An item of a stream of instances: an instance or its stand-in, the end, or the reason of a
/// failure.
pub type Given = Result<Option<Item>, body::Error>;

/// What a stream has for an instance.
#[derive(Debug)]
pub enum Item {
    /// The instance.
    Instance(Box<Instance>),
    /// The instance cannot be given in a form that the client accepts.
    StandIn(Box<StandIn>),
}

/// Takes the place of an instance that cannot be read or decoded, so that its absence shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// The instance.
    pub target: Target,
    /// Why it cannot be given. Without UIDs and patient data.
    pub reason: String,
}

/// The instances at the front of a stream that cannot be read or decoded: the head of the response
/// can still state them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Their number.
    pub count: usize,
    /// The first of them.
    pub first: Vec<SopInstanceUid>,
}

impl LeftOut {
    /// The most instances that are named.
    const NAMED: usize = 8;

    /// Adds an instance.
    pub fn add(&mut self, target: Option<&Target>) {
        self.count += 1;
        if let Some(Target::Instance(_, _, uid)) = target
            && self.first.len() < Self::NAMED
        {
            self.first.push(uid.clone());
        }
    }
}

/// Instances in the order in which they arrive. It ends after the last one, or fails.
#[derive(Debug)]
pub struct Instances {
    /// An instance that was taken out and put back.
    first: Option<Box<Instance>>,
    arriving: Arriving,
    /// How many are still to come, where that is known.
    promised: Option<usize>,
    make: Option<Make>,
}

/// A step that each instance passes through.
struct Make(Box<dyn Fn(Instance) -> Making + Send + Sync>);

/// Making something of an instance.
pub type Making = Pin<Box<dyn Future<Output = Result<Item, body::Error>> + Send>>;

impl fmt::Debug for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Make(…)")
    }
}

#[derive(Debug)]
enum Arriving {
    Work {
        given: Taker<Given>,
        work: Work,
    },
    /// A stream of a single instance.
    Here(Option<Box<Instance>>),
}

/// The futures that fetch the instances of a stream. They run while its reader waits for the next
/// one, in no task of their own.
#[derive(Default)]
pub struct Work(Vec<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Work {
    /// Adds a future.
    pub fn add(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Box::pin(work));
    }

    /// Polls all of it. Another future is the first each time, so that each can give.
    fn poll(&mut self, context: &mut Context<'_>) {
        if !self.0.is_empty() {
            self.0.rotate_left(1);
        }
        self.0
            .retain_mut(|work| work.as_mut().poll(context).is_pending());
    }

    /// Works until `done` is.
    pub async fn until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        poll_fn(|context| {
            self.poll(context);
            done.as_mut().poll(context)
        })
        .await
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Work").field(&self.0.len()).finish()
    }
}

/// The next instance that the work gives; `None` when all of it has ended.
fn poll_given(
    given: &Taker<Given>,
    work: &mut Work,
    context: &mut Context<'_>,
) -> Poll<Option<Given>> {
    if let Some(given) = given.take() {
        return Poll::Ready(Some(given));
    }
    given.ask(context.waker());
    work.poll(context);
    match given.take() {
        Some(given) => Poll::Ready(Some(given)),
        None if given.is_abandoned() => Poll::Ready(None),
        None => Poll::Pending,
    }
}

impl Instances {
    /// A stream of one instance that is here.
    #[must_use]
    pub fn of(instance: Instance) -> Self {
        Self {
            first: None,
            arriving: Arriving::Here(Some(Box::new(instance))),
            promised: Some(1),
            make: None,
        }
    }

    /// A stream without instances.
    #[must_use]
    pub fn none() -> Self {
        Self {
            first: None,
            arriving: Arriving::Here(None),
            promised: Some(0),
            make: None,
        }
    }

    /// A stream of the instances that `work` gives, which has to deliver `promised` of them; without
    /// a promise, up to the item that ends it. Nothing else may give instances.
    #[must_use]
    pub fn new(given: Taker<Given>, work: Work, promised: Option<usize>) -> Self {
        Self {
            first: None,
            arriving: Arriving::Work { given, work },
            promised,
            make: None,
        }
    }

    /// The same stream, with something made of each instance.
    #[must_use]
    pub fn each(mut self, make: impl Fn(Instance) -> Making + Send + Sync + 'static) -> Self {
        self.make = Some(Make(Box::new(make)));
        self
    }

    /// The same stream, with an instance put back in front.
    #[must_use]
    pub fn after(mut self, first: Option<Instance>) -> Self {
        // An instance that was put back earlier stays in front.
        self.first = first.map(Box::new).or(self.first);
        self
    }

    /// The next instance; `None` after the last. The source may still be sending the earlier ones;
    /// they need not have been read to their end.
    ///
    /// # Errors
    /// Why the stream is not complete; [`body::Error::Missing`] if it ends before the promised
    /// number, or has a stand-in for an instance.
    pub async fn next(&mut self) -> Result<Option<Instance>, body::Error> {
        match self.next_item().await? {
            Some(Item::Instance(instance)) => Ok(Some(*instance)),
            Some(Item::StandIn(_)) => Err(body::Error::Missing(1)),
            None => Ok(None),
        }
    }

    /// The next instance, or its stand-in; `None` after the last.
    ///
    /// # Errors
    /// As [`Instances::next`].
    pub async fn next_item(&mut self) -> Given {
        if let Some(first) = self.first.take() {
            return Ok(Some(Item::Instance(first)));
        }
        let given = match &mut self.arriving {
            Arriving::Work { given, work } => {
                poll_fn(|context| poll_given(given, work, context)).await
            }
            Arriving::Here(here) => here.take().map(|here| Ok(Some(Item::Instance(here)))),
        };
        match (given, &mut self.promised) {
            (Some(Ok(Some(item))), promised) => {
                *promised = promised.map(|left| left.saturating_sub(1));
                Ok(Some(match (item, &self.make) {
                    (Item::Instance(instance), Some(Make(make))) => make(*instance).await?,
                    (item, _) => item,
                }))
            }
            (Some(Ok(None)), None | Some(0)) | (None, Some(0)) => Ok(None),
            (Some(Ok(None)) | None, Some(left)) => Err(body::Error::Missing(*left)),
            (None, None) => Err(body::Error::Abandoned),
            (Some(Err(error)), _) => Err(error),
        }
    }
}
