//! Sources: servers and folders, all read as streams of instances.
//!
//! A source knows neither the client nor the selection. It sends instances in any order, and
//! [`Arrivals`] parses the identity of each from its bytes.

mod addresses;
mod arrival;
mod breaker;
pub mod client;
pub mod folder;
pub mod greeting;
mod offered;
pub mod resolver;
mod seats;
mod terms;
pub mod wado_rs;
pub mod wado_uri;
pub mod xc_wado;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use tokio::sync::futures::Notified;
use url::Url;

pub use arrival::{Arrival, Arrivals};
pub use offered::{Answer, ResourceRequest};
pub use seats::{Claim, Seat};
pub use terms::{DEFAULT_HOURS, DEFAULT_QUEUE, Freshness, Terms};

use crate::body;
use crate::dicom::TransferSyntax;
use crate::hop::Hop;
use crate::ihe::RetrieveLocationUid;
use crate::instance::Instance;
use crate::metrics::Metrics;
use crate::resource::Target;

use arrival::InstanceReader;
use client::{Client, User};
use folder::Folder;
use seats::Seats;
use wado_rs::WadoRs;
use wado_uri::WadoUri;
use xc_wado::XcWado;

/// A UID of no object, for harmless probes (PS3.5 B.2: a random number under 2.25 belongs to its
/// generator; no generator draws 0).
const NOWHERE: &str = "2.25.0";

/// A configured server or folder that holds instances.
#[derive(Debug)]
pub struct Source {
    /// Its name in metrics and logs: from settings, never from a request.
    pub alias: Arc<str>,
    /// Its kind.
    pub kind: Kind,
    /// The freshness lifetime of its instances.
    pub freshness: Freshness,
    key: Arc<str>,
    seats: Seats,
    is_per_user: bool,
    /// The user whose source it is, if it decides for each of them.
    user: Option<Arc<User>>,
}

/// The kinds of sources.
#[derive(Debug)]
pub enum Kind {
    /// A DICOMweb server (RAD-107).
    WadoRs(Box<WadoRs>),
    /// A WADO-URI server, which sends one instance at a time (RAD-55).
    WadoUri(Box<WadoUri>),
    /// A location of another community, behind its gateway (RAD-160).
    XcWado(Box<XcWado>),
    /// A folder of Part 10 files.
    Folder(Arc<Folder>),
}

/// A request for instances.
#[derive(Debug, Clone, Copy)]
pub struct InstanceRequest<'a> {
    /// The study, series or instance.
    pub target: &'a Target,
    /// The representation.
    pub representation: Representation,
    /// The downstream request, if any.
    pub hop: Option<&'a Hop>,
    /// Entity tags of the cached copy (`If-None-Match`).
    pub had: Option<&'a HeaderValue>,
    /// Whether this is a repair; a repair does not count as another failure of the address.
    pub is_repair: bool,
}

/// The transfer syntax requested from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Representation {
    /// The stored transfer syntax.
    AsStored,
    /// Explicit VR Little Endian, decoded by the source.
    ExplicitVrLittleEndian,
}

/// Why a source sends no instances.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source does not have it.
    #[error("the source does not have it")]
    NotFound,
    /// The cached copy is still current.
    #[error("the source reports no change")]
    NotModified,
    /// The source gives an instance of another patient.
    #[error("the instance at the source names another patient than the manifest, so it is refused")]
    OtherPatient,
    /// The source has deleted it.
    #[error("the source has deleted it")]
    Gone,
    /// The source rejects the client's parameters.
    #[error("the source rejects the request")]
    BadRequest,
    /// The source serves single instances only.
    #[error("the source serves single instances only")]
    InstancesOnly,
    /// The source cannot send this representation.
    #[error("the source cannot send this representation")]
    NotAcceptable,
    /// The source decides for each user, and does not give it to this one.
    #[error("the source decides for each user: {0}")]
    NotForUser(&'static str),
    /// The other community's gateway refuses; only for partners.
    #[error("the other community refuses it")]
    Forbidden,
    /// The source is overloaded.
    #[error("the source is overloaded")]
    Overloaded {
        /// `Retry-After`, if it is in seconds.
        retry_after: Option<Duration>,
    },
    /// The breakers of all its addresses are open.
    #[error("the circuit breaker of the source is open")]
    Resting {
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// The authorization server issues no access token for the source.
    #[error("there is no access token for the source: {failure}")]
    NoToken {
        /// Why.
        failure: client::Failure,
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// An unexpected status, also for wrong credentials.
    #[error("the source answered with status {0}")]
    Status(u16),
    /// The answer does not contain instances.
    #[error("the source's answer is malformed: {0}")]
    Malformed(&'static str),
    /// All seats are taken, and the queue for them is full.
    #[error("the queue for the source is full")]
    Crowded {
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// The connection failed.
    #[error("the source cannot be reached")]
    Unreachable,
    /// The source closed the connection before its answer.
    #[error("the source closed the connection without an answer")]
    HungUp,
    /// The source timed out.
    #[error("the source did not answer in time")]
    TimedOut,
    /// The answer broke off before its first instance.
    #[error(transparent)]
    BrokeOff(#[from] body::Error),
}

impl Error {
    /// The kind of failure, as a metric label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::NotModified => "not_modified",
            Self::Gone => "gone",
            Self::BadRequest => "bad_request",
            Self::InstancesOnly => "instances_only",
            Self::NotAcceptable => "not_acceptable",
            Self::NotForUser(_) => "not_for_user",
            Self::Forbidden => "forbidden",
            Self::OtherPatient => "other_patient",
            Self::Overloaded { .. } => "overloaded",
            Self::Resting { .. } => "resting",
            Self::NoToken { .. } => "no_token",
            Self::Status(_) => "status",
            Self::Malformed(_) => "malformed",
            Self::Crowded { .. } => "crowded",
            Self::Unreachable => "unreachable",
            Self::HungUp => "hung_up",
            Self::TimedOut => "timed_out",
            Self::BrokeOff(_) => "broke_off",
        }
    }

    /// The body error for this failure, once the response head has been sent.
    #[must_use]
    pub fn late(&self, otherwise: body::Error) -> body::Error {
        match self {
            Self::BrokeOff(error) => error.clone(),
            Self::NotFound
            | Self::NotModified
            | Self::Gone
            | Self::OtherPatient
            | Self::BadRequest
            | Self::InstancesOnly
            | Self::NotAcceptable
            | Self::NotForUser(_)
            | Self::Forbidden
            | Self::Overloaded { .. }
            | Self::Resting { .. }
            | Self::NoToken { .. }
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
    /// A source with these terms.
    #[must_use]
    pub fn new(alias: &str, kind: Kind, terms: Terms) -> Self {
        Self {
            alias: alias.into(),
            key: key(&kind.key(), "").into(),
            kind,
            freshness: terms.freshness,
            seats: Seats::new(terms),
            is_per_user: terms.is_per_user,
            user: None,
        }
    }

    /// The same source, restricted to the location with this Retrieve Location UID.
    #[must_use]
    pub fn located(mut self, uid: Option<&RetrieveLocationUid>) -> Self {
        let uid = uid.map_or("", |uid| uid.as_str());
        self.key = key(&self.kind.key(), uid).into();
        self
    }

    /// Whether it decides for each user. Then only the source of a user (see [`Source::of_user`])
    /// answers requests.
    #[must_use]
    pub fn is_per_user(&self) -> bool {
        self.is_per_user
    }

    /// The same source for the requests of a user. It has a key of its own, so nothing that is kept
    /// or under way for one user answers another; connections, seats and breakers are shared.
    #[must_use]
    pub fn of_user(&self, user: &Arc<User>) -> Self {
        Self {
            alias: Arc::clone(&self.alias),
            kind: self.kind.of_user(user),
            freshness: self.freshness,
            key: format!("{}-{}", of_all_users(&self.key), user.name()).into(),
            seats: self.seats.clone(),
            is_per_user: self.is_per_user,
            user: Some(Arc::clone(user)),
        }
    }

    /// A stable key across restarts: a hash of its kind, its first address and its Retrieve
    /// Location UID, and of the user if it decides for each of them. It is independent of its alias,
    /// its place in the settings, and its further addresses.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    /// Waits for a seat. [`Source::open`] takes none; callers that open many streams do.
    ///
    /// # Errors
    /// [`Error::Crowded`] at once if the queue is full, or after the time-out.
    pub async fn seat(&self, claim: Claim) -> Result<Seat, Error> {
        self.seats.wait(claim).await
    }

    /// The number of free seats.
    #[must_use]
    pub fn free_seats(&self) -> usize {
        self.seats.free_now()
    }

    /// A free seat.
    #[must_use]
    pub fn free_seat(&self) -> Option<Seat> {
        self.seats.free()
    }

    /// A seat for look-ahead, if enough are free.
    #[must_use]
    pub fn seat_ahead(&self) -> Option<Seat> {
        self.seats.ahead()
    }

    /// Whether a request waits for a seat.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.seats.is_waited_for()
    }

    /// Waits until a request begins to wait for a seat.
    pub fn called(&self) -> Notified<'_> {
        self.seats.called()
    }

    /// Requests instances, and returns the stream once the source begins to answer.
    ///
    /// # Errors
    /// Why the source sends no instances.
    pub async fn open(&self, ask: &InstanceRequest<'_>) -> Result<Arrivals, Error> {
        self.has_its_user()?;
        let fetched = match &self.kind {
            Kind::WadoRs(server) => server.fetch(ask).await,
            Kind::WadoUri(server) => server.fetch(ask).await,
            Kind::XcWado(location) => location.fetch(ask).await,
            Kind::Folder(folder) => {
                let files = folder.fetch(ask.target, ask.representation).await?;
                return Ok(Arrivals::new(InstanceReader::Folder(files)));
            }
        };
        let parts = fetched.map_err(|error| self.blame(error))?;
        Ok(Arrivals::new(InstanceReader::Http(parts)))
    }

    /// Without its user, a source that decides for each of them is not asked at all.
    fn has_its_user(&self) -> Result<(), Error> {
        match self.is_per_user && self.user.is_none() {
            true => Err(Error::NotForUser("the request names none")),
            false => Ok(()),
        }
    }

    /// If a source decides for each user, a refusal concerns the user.
    fn blame(&self, error: Error) -> Error {
        let is_refusal = matches!(error, Error::Status(401 | 403) | Error::Forbidden);
        match is_refusal && self.is_per_user {
            true => Error::NotForUser("it refuses this one"),
            false => error,
        }
    }

    /// Watches its credentials, and reports its breakers.
    pub fn watch(&self, metrics: &Metrics) {
        match &self.kind {
            Kind::WadoRs(server) => server.watch(&self.alias, metrics),
            Kind::WadoUri(server) => server.watch(&self.alias, metrics),
            Kind::XcWado(location) => location.gateway().watch(metrics),
            Kind::Folder(_) => {}
        }
    }

    /// Its addresses, in the order of the settings.
    #[must_use]
    pub fn bases(&self) -> Vec<&Url> {
        match &self.kind {
            Kind::WadoRs(server) => server.bases().collect(),
            Kind::WadoUri(server) => server.bases().collect(),
            Kind::XcWado(location) => location.gateway().bases().collect(),
            Kind::Folder(_) => Vec::new(),
        }
    }

    /// Its HTTP client, if it is a server.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        match &self.kind {
            Kind::WadoRs(server) => Some(server.client()),
            Kind::WadoUri(server) => Some(server.client()),
            Kind::XcWado(location) => Some(location.client()),
            Kind::Folder(_) => None,
        }
    }

    /// A local file of an instance, opened in place.
    pub async fn at_hand(&self, target: &Target) -> Option<Instance> {
        match &self.kind {
            Kind::WadoRs(_) | Kind::WadoUri(_) | Kind::XcWado(_) => None,
            Kind::Folder(folder) => folder.instance(target).await,
        }
    }

    /// The transfer syntax of an instance, for a folder only: as the file said when it was indexed.
    #[must_use]
    pub fn known_syntax(&self, target: &Target) -> Option<TransferSyntax> {
        match &self.kind {
            Kind::WadoRs(_) | Kind::WadoUri(_) | Kind::XcWado(_) => None,
            Kind::Folder(folder) => folder.known_syntax(target),
        }
    }

    /// The number of its instances, for a folder only.
    #[must_use]
    pub fn instances(&self) -> Option<usize> {
        match &self.kind {
            Kind::WadoRs(_) | Kind::WadoUri(_) | Kind::XcWado(_) => None,
            Kind::Folder(folder) => Some(folder.instances()),
        }
    }
}

/// The key of a source without the part for its user.
#[must_use]
pub fn of_all_users(key: &str) -> &str {
    let mut dashes = key.match_indices('-');
    dashes.nth(1).map_or(key, |(at, _dash)| &key[..at])
}

/// The parts of a key that come from an address and from a location.
fn key(address: &str, location: &str) -> String {
    format!("{address}-{}", short_hash(location))
}

/// 128 bits of a SHA-256.
fn short_hash(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text)[..16])
}

impl Kind {
    fn of_user(&self, user: &Arc<User>) -> Self {
        match self {
            Self::WadoRs(server) => Self::WadoRs(Box::new(server.of_user(user))),
            Self::WadoUri(server) => Self::WadoUri(Box::new(server.of_user(user))),
            Self::XcWado(location) => Self::XcWado(Box::new(location.of_user(user))),
            Self::Folder(folder) => Self::Folder(folder.clone()),
        }
    }

    /// The prefix of a key: a hash of the kind and the first address.
    fn key(&self) -> String {
        match self {
            Self::WadoRs(_) => short_hash(&format!("wado-rs {self}")),
            Self::WadoUri(_) => short_hash(&format!("wado-uri {self}")),
            Self::XcWado(location) => location.gateway().key().to_owned(),
            Self::Folder(folder) => {
                let root = folder.root();
                // Normalised, so that the spelling does not matter.
                let root = root.canonicalize().unwrap_or_else(|_gone| root.to_owned());
                short_hash(&format!("folder {}", root.display()))
            }
        }
    }
}

impl fmt::Display for Kind {
    /// Its address, for operators only.
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
