//! What supplies images: servers and folders, all as streams of instances.
//!
//! A source does not know who asks, nor what a manifest selects. It says which instances arrive, in
//! which order it likes, and [`Arrivals`] reads from the bytes of each which one it is.

mod addresses;
mod arrival;
mod breaker;
pub mod client;
mod connector;
pub mod folder;
pub mod greeting;
mod offered;
mod patience;
pub mod resolver;
mod seats;
mod terms;
pub mod wado_rs;
pub mod wado_uri;
pub mod xc_wado;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

pub use arrival::{Arrival, Arrivals};
pub use offered::{Answer, ResourceRequest};
pub use seats::{Claim, Seat};
pub use terms::{DEFAULT_HOURS, DEFAULT_QUEUE, Freshness, Terms};

use crate::body;
use crate::hop::Hop;
use crate::ihe::RetrieveLocationUid;
use crate::instance::{Instance, Target};
use crate::metrics::Metrics;
use url::Url;

use client::Client;
use folder::Folder;
use seats::Seats;
use wado_rs::WadoRs;
use wado_uri::WadoUri;
use xc_wado::XcWado;

/// A UID that nobody has, for questions that harm nobody (PS3.5 B.2: under 2.25 whoever draws a
/// number owns it; nobody draws 0).
const NOWHERE: &str = "2.25.0";

/// A supplier of instances.
#[derive(Debug)]
pub struct Source {
    /// What it is called in metrics and logs: from settings, never from outside.
    pub alias: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// For how long what it gave serves.
    pub freshness: Freshness,
    key: Arc<str>,
    seats: Seats,
}

/// The kinds of sources.
#[derive(Debug)]
pub enum Kind {
    /// A DICOMweb server (RAD-107).
    WadoRs(Box<WadoRs>),
    /// A WADO-URI server, which gives one instance at a time (RAD-55).
    WadoUri(Box<WadoUri>),
    /// A location of another community, behind its gateway (RAD-160).
    XcWado(Box<XcWado>),
    /// A folder of Part 10 files.
    Folder(Folder),
}

/// What a source is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Which instances.
    pub target: &'a Target,
    /// In which transfer syntax.
    pub representation: Representation,
    /// The request that this one is made for, if it is made for one.
    pub hop: Option<&'a Hop>,
    /// Entity tags of what is here already (`If-None-Match`).
    pub had: Option<&'a HeaderValue>,
    /// Whether it is asked for again because it broke off, which is no further failure of its address.
    pub is_repair: bool,
}

/// In which transfer syntax a source is asked to give instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Representation {
    /// The one they are stored in.
    AsStored,
    /// Explicit VR Little Endian, decoded by the source.
    ExplicitVrLittleEndian,
}

/// Why a source gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not have it.
    #[error("the source does not have it")]
    NotFound,
    /// It has the same still.
    #[error("the source has the same still")]
    NotModified,
    /// It had it and deleted it.
    #[error("the source has deleted it")]
    Gone,
    /// It cannot make sense of what a client has chosen the words of.
    #[error("the source cannot make sense of it")]
    BadRequest,
    /// It gives single instances, and neither series nor studies.
    #[error("the source gives single instances only")]
    InstancesOnly,
    /// It cannot give it in this representation.
    #[error("the source cannot give it in this representation")]
    NotAcceptable,
    /// It refuses; told only of other communities' gateways.
    #[error("the other community refuses it")]
    Forbidden,
    /// It wants to be asked later.
    #[error("the source is overloaded")]
    Overloaded {
        /// `Retry-After`, if it said so in seconds.
        retry_after: Option<Duration>,
    },
    /// It has failed too often and is left alone.
    #[error("the source is left alone for a while")]
    Resting {
        /// For how long from now.
        retry_after: Duration,
    },
    /// It answered with a status that helps nobody; also when it wants other credentials.
    #[error("the source answered with status {0}")]
    Status(u16),
    /// It did not answer with instances.
    #[error("the source's answer is malformed: {0}")]
    Malformed(&'static str),
    /// As many as it serves at once are under way, and as many as may wait for that.
    #[error("too many wait for the source")]
    Crowded {
        /// When to come again.
        retry_after: Duration,
    },
    /// No connection could be made.
    #[error("the source cannot be reached")]
    Unreachable,
    /// It closed the connection instead of answering.
    #[error("the source closed the connection without an answer")]
    HungUp,
    /// It did not answer in time.
    #[error("the source did not answer in time")]
    TimedOut,
    /// The answer broke off before its first instance.
    #[error(transparent)]
    BrokeOff(#[from] body::Error),
}

impl Error {
    /// The kind of failure, as metrics name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::NotModified => "not_modified",
            Self::Gone => "gone",
            Self::BadRequest => "bad_request",
            Self::InstancesOnly => "instances_only",
            Self::NotAcceptable => "not_acceptable",
            Self::Forbidden => "forbidden",
            Self::Overloaded { .. } => "overloaded",
            Self::Resting { .. } => "resting",
            Self::Status(_) => "status",
            Self::Malformed(_) => "malformed",
            Self::Crowded { .. } => "crowded",
            Self::Unreachable => "unreachable",
            Self::HungUp => "hung_up",
            Self::TimedOut => "timed_out",
            Self::BrokeOff(_) => "broke_off",
        }
    }

    /// How an answer breaks off that fails like this, where it is too late to say so at its head.
    #[must_use]
    pub fn late(&self, otherwise: body::Error) -> body::Error {
        match self {
            Self::BrokeOff(error) => error.clone(),
            Self::NotFound
            | Self::NotModified
            | Self::Gone
            | Self::BadRequest
            | Self::InstancesOnly
            | Self::NotAcceptable
            | Self::Forbidden
            | Self::Overloaded { .. }
            | Self::Resting { .. }
            | Self::Status(_)
            | Self::Malformed(_)
            | Self::Crowded { .. }
            | Self::Unreachable
            | Self::HungUp
            | Self::TimedOut => otherwise,
        }
    }
}

impl Source {
    /// A source that is used like this.
    #[must_use]
    pub fn new(alias: &str, kind: Kind, terms: Terms) -> Self {
        Self {
            alias: alias.into(),
            key: key(&kind.key(), "").into(),
            kind,
            freshness: terms.freshness,
            seats: Seats::new(terms),
        }
    }

    /// The same source, as the location with this Retrieve Location UID.
    #[must_use]
    pub fn located(mut self, uid: Option<&RetrieveLocationUid>) -> Self {
        let uid = uid.map_or("", |uid| uid.as_str());
        self.key = key(&self.kind.key(), uid).into();
        self
    }

    /// What tells it from every other source, across starts: a hash of what it is, of its address and of
    /// the Retrieve Location UID that it serves. It is the same whatever it is called and wherever it
    /// stands in the settings, and another one as soon as its first address is another one. Further addresses
    /// of the same server do not count.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    /// Waits for a seat. [`Source::open`] does not ask for one; whoever opens many streams does.
    ///
    /// # Errors
    /// [`Error::Crowded`] at once if too many wait, and if none becomes free in time.
    pub async fn seat(&self, claim: Claim) -> Result<Seat, Error> {
        self.seats.wait(claim).await
    }

    /// How many seats are free now.
    #[must_use]
    pub fn free_seats(&self) -> usize {
        self.seats.free_now()
    }

    /// A seat that is free now.
    #[must_use]
    pub fn free_seat(&self) -> Option<Seat> {
        self.seats.free()
    }

    /// A seat for what nobody waits for, if there is room for that.
    #[must_use]
    pub fn seat_ahead(&self) -> Option<Seat> {
        self.seats.ahead()
    }

    /// Whether somebody waits for a seat.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.seats.is_waited_for()
    }

    /// Asks for instances. Gives the stream as soon as the source begins to answer.
    ///
    /// # Errors
    /// Why there is nothing to stream.
    pub async fn open(&self, ask: &Ask<'_>) -> Result<Arrivals, Error> {
        let parts = match &self.kind {
            Kind::WadoRs(server) => InstanceReader::Http(server.fetch(ask).await?),
            Kind::WadoUri(server) => InstanceReader::Http(server.fetch(ask).await?),
            Kind::XcWado(location) => InstanceReader::Http(location.fetch(ask).await?),
            Kind::Folder(folder) => {
                InstanceReader::Folder(folder.fetch(ask.target, ask.representation).await?)
            }
        };
        Ok(Arrivals::new(parts))
    }

    /// Looks at its credentials, and shows its breakers, from now on.
    pub fn watch(&self, metrics: &Metrics) {
        match &self.kind {
            Kind::WadoRs(server) => server.watch(&self.alias, metrics),
            Kind::WadoUri(server) => server.watch(&self.alias, metrics),
            Kind::XcWado(location) => location.gateway().watch(metrics),
            Kind::Folder(_) => {}
        }
    }

    /// Where it is asked, in the order of the settings.
    #[must_use]
    pub fn bases(&self) -> Vec<&Url> {
        match &self.kind {
            Kind::WadoRs(server) => server.bases().collect(),
            Kind::WadoUri(server) => server.bases().collect(),
            Kind::XcWado(location) => location.gateway().bases().collect(),
            Kind::Folder(_) => Vec::new(),
        }
    }

    /// What talks to it, if it is a server.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        match &self.kind {
            Kind::WadoRs(server) => Some(server.client()),
            Kind::WadoUri(server) => Some(server.client()),
            Kind::XcWado(location) => Some(location.client()),
            Kind::Folder(_) => None,
        }
    }

    /// An instance that is a file on this machine, opened where it is.
    pub async fn at_hand(&self, target: &Target) -> Option<Instance> {
        match &self.kind {
            Kind::WadoRs(_) | Kind::WadoUri(_) | Kind::XcWado(_) => None,
            Kind::Folder(folder) => folder.instance(target).await,
        }
    }

    /// How many instances it offers, if it is a folder: a server does not say.
    #[must_use]
    pub fn instances(&self) -> Option<usize> {
        match &self.kind {
            Kind::WadoRs(_) | Kind::WadoUri(_) | Kind::XcWado(_) => None,
            Kind::Folder(folder) => Some(folder.instances()),
        }
    }
}

/// The part of a key that is made of an address, and the part that is made of a location at that address.
fn key(address: &str, location: &str) -> String {
    format!("{address}-{}", short_hash(location))
}

/// 128 bits of a SHA-256.
fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Kind {
    /// What a key begins with: a hash of what it is and where, of a server its first address.
    fn key(&self) -> String {
        match self {
            Self::WadoRs(_) => short_hash(&format!("wado-rs {self}")),
            Self::WadoUri(_) => short_hash(&format!("wado-uri {self}")),
            Self::XcWado(location) => location.gateway().key().to_owned(),
            Self::Folder(folder) => {
                let root = folder.root();
                // Whichever way it is written.
                let root = root.canonicalize().unwrap_or_else(|_gone| root.to_owned());
                short_hash(&format!("folder {}", root.display()))
            }
        }
    }
}

impl fmt::Display for Kind {
    /// Where it is; for operators only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WadoRs(server) => write_first(server.bases(), f),
            Self::WadoUri(server) => write_first(server.bases(), f),
            Self::XcWado(location) => write_first(location.gateway().bases(), f),
            Self::Folder(folder) => fmt::Display::fmt(&folder.root().display(), f),
        }
    }
}

fn write_first<'a>(
    mut bases: impl Iterator<Item = &'a Url>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    bases
        .next()
        .map_or(Ok(()), |base| fmt::Display::fmt(base, f))
}

/// The parts of an answer before anybody has looked into them.
#[derive(Debug)]
enum InstanceReader {
    Http(wado_rs::PartReader),
    Folder(folder::FileSequence),
}

impl InstanceReader {
    /// Goes to the next part, over what is left of this one. `false`: there is none.
    async fn next(&mut self) -> Result<bool, body::Error> {
        match self {
            Self::Http(parts) => parts.next().await,
            Self::Folder(parts) => parts.next().await,
        }
    }

    /// The next bytes of this part; `None` at its end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        match self {
            Self::Http(parts) => parts.chunk().await,
            Self::Folder(parts) => parts.chunk().await,
        }
    }

    /// The exact length of this part, where the source is bound to it.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Http(parts) => parts.length(),
            Self::Folder(parts) => parts.length(),
        }
    }

    /// The length of this part as the source declares it, whether it is bound to it or not.
    fn declared(&self) -> Option<u64> {
        match self {
            Self::Http(parts) => parts.declared(),
            Self::Folder(parts) => parts.length(),
        }
    }

    /// The entity tag of the whole answer.
    fn etag(&self) -> Option<&str> {
        match self {
            Self::Http(parts) => parts.policy.etag.as_deref(),
            Self::Folder(_) => None,
        }
    }

    /// Whether nothing of it should be kept. Files that are here are as near as copies of them.
    fn is_no_store(&self) -> bool {
        match self {
            Self::Http(parts) => parts.policy.no_store,
            Self::Folder(_) => true,
        }
    }

    /// Whether the source says that it gives only some of what it was asked for.
    fn is_partial(&self) -> bool {
        match self {
            Self::Http(parts) => parts.is_partial,
            Self::Folder(_) => false,
        }
    }
}
