//! Everything that can go wrong before the first byte of an answer, and the status it becomes:
//! the one place where that is decided.

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::budget;
use crate::dicom::{dataset, part10};
use crate::library;
use crate::manifest::{Conflict, Disagreement, fhir, kos};
use crate::request::{self, accept};
use crate::{access, derive, hop, manifest, object, pixels, retrieve, source};

/// Why a request is not granted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path or the query names nothing.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The resource does not know this method; those it knows.
    #[error("this method is not known here")]
    Method(&'static str),
    /// Who asks is not let in.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// The host of the request cannot be told.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// It is for a host that we are not.
    #[error("this host is not served here; public_url and listen.names say which ones are")]
    Misdirected,
    /// A page of a foreign origin sends it.
    #[error("pages of this origin may not change anything here")]
    CrossOrigin,
    /// The head of the request is larger than settings allow.
    #[error("the head of the request is too large")]
    HeadTooLarge,
    /// A partner asks for something that is for viewers.
    #[error("other communities' gateways may retrieve and nothing else")]
    PartnersOnlyRetrieve,
    /// A Retrieve URL is not on the allow-list.
    #[error("this retrieveURL is not allowed here")]
    RetrieveUrlNotAllowed,
    /// It has come here before.
    #[error(transparent)]
    Loop(#[from] hop::Loop),
    /// The source does not offer this itself, and it is not derived here.
    #[error("the source offers instances only, and this is not derived from them yet")]
    NotOffered,
    /// Nothing acceptable can be given.
    #[error(transparent)]
    NotAcceptable(#[from] accept::NotAcceptable),
    /// There is no such manifest, or it does not select what is asked for.
    #[error("there is nothing here")]
    NotFound,
    /// The manifest declares instances and lists none, so there is nothing to ask a source for.
    #[error("the manifest declares instances here and does not list them; no source was asked")]
    NotListed,
    /// The body's media type is none of a manifest.
    #[error("a manifest comes as application/dicom or application/fhir+json")]
    UnsupportedMediaType,
    /// The body of the request broke off.
    #[error("the body of the request broke off")]
    Upload,
    /// The body of the request comes too slowly.
    #[error("the body of the request comes too slowly")]
    UploadSlow,
    /// There is no room for the body of the request just now.
    #[error("there is no room for it just now")]
    Busy,
    /// The client has too many answers under way.
    #[error("this client has too many answers under way")]
    TooManyAnswers,
    /// The manifest is not registered, or cannot be read back.
    #[error(transparent)]
    Library(#[from] library::Error),
    /// Nothing can be retrieved.
    #[error(transparent)]
    Retrieve(#[from] retrieve::Error),
    /// It is something of one instance, asked for of a series or a study.
    #[error("this is to be had of single instances only")]
    OfInstancesOnly,
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] budget::Error),
    /// An instance cannot be used for what is asked for.
    #[error(transparent)]
    Instance(#[from] object::Error),
    /// A frame cannot be decoded or rendered.
    #[error(transparent)]
    Pixels(#[from] pixels::Error),
    /// The answer broke off before its first byte.
    #[error(transparent)]
    BrokeOff(#[from] body::Error),
    /// The gateway is about to stop.
    #[error("the gateway is about to stop")]
    ShuttingDown,
    /// Something that should not happen.
    #[error("something went wrong in the gateway")]
    Internal,
}

/// Why the host of a request is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// RFC 9112 3.2: HTTP/1.1 and later always name it.
    #[error("the request names no host")]
    Missing,
    /// RFC 9112 3.2.
    #[error("the request names its host twice")]
    Repeated,
    /// It is no host with an optional port.
    #[error("the host of the request is not valid")]
    Malformed,
    /// RFC 9110 4.2.4.
    #[error("the target of the request has user information")]
    UserInformation,
}

/// The same faults have the same status, whether a transaction finds them or the derivation of an
/// instance.
impl From<derive::Error> for Error {
    fn from(error: derive::Error) -> Self {
        match error {
            derive::Error::OfInstancesOnly => Self::OfInstancesOnly,
            derive::Error::Retrieve(error) => Self::Retrieve(error),
            derive::Error::NotAcceptable(error) => Self::NotAcceptable(error),
            derive::Error::Memory(error) => Self::Memory(error),
            derive::Error::Instance(error) => Self::Instance(error),
            derive::Error::Pixels(error) => Self::Pixels(error),
            derive::Error::BrokeOff(error) => Self::BrokeOff(error),
            derive::Error::Internal => Self::Internal,
        }
    }
}

impl Error {
    /// What a source says, as another community hears it: whether it is the community, the location
    /// or the study that is unknown is nobody's business.
    pub(crate) fn between_communities(error: source::Error) -> Self {
        if error == source::Error::NotFound {
            return Self::NotFound;
        }
        // Whoever is next to it says so, and whoever asked can ask for single ones.
        if error == source::Error::Status(501) {
            return Self::Retrieve(source::Error::InstancesOnly.into());
        }
        Self::Retrieve(error.into())
    }

    /// The status that it becomes.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Request(request::Error::Unknown)
            | Self::NotFound
            | Self::NotListed
            | Self::NotOffered
            | Self::OfInstancesOnly => StatusCode::NOT_FOUND,
            Self::Instance(error) => of_instance(error),
            Self::Pixels(error) => of_pixels(error),
            Self::Memory(error) => of_memory(*error),
            Self::Access(access::Error::Token) => StatusCode::UNAUTHORIZED,
            Self::Access(access::Error::NotListed)
            | Self::PartnersOnlyRetrieve
            | Self::RetrieveUrlNotAllowed
            | Self::CrossOrigin => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Loop(hop::Loop) => StatusCode::LOOP_DETECTED,
            Self::Request(
                request::Error::NotAUid(_)
                | request::Error::Frames
                | request::Error::Query(_)
                | request::Error::UnknownParameter
                | request::Error::XcWado(_),
            )
            | Self::Host(_)
            | Self::Upload => StatusCode::BAD_REQUEST,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UploadSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::TooManyAnswers | Self::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Library(error) => of_store(error),
            Self::Retrieve(retrieve::Error::NotLocatable) => StatusCode::NOT_FOUND,
            Self::Retrieve(retrieve::Error::Source(error)) => of_source(error),
            Self::BrokeOff(error) => of_body(error),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer: a problem document (RFC 9457) that says what was wrong with the request and
    /// nothing about what is behind the gateway.
    pub(crate) fn response(&self) -> Response<Body> {
        let status = self.status();
        if matches!(
            status,
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::INSUFFICIENT_STORAGE
        ) {
            let cause = self.source().map(ToString::to_string).unwrap_or_default();
            tracing::error!(error = %self, cause, "a request failed");
        }
        let mut problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        if let Self::Library(library::Error::Conflict(Conflict(disagreements))) = self {
            problem["conflicts"] = disagreements.iter().map(conflict).collect();
        }
        let mut response = Response::new(Body::full(problem.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(seconds)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::Method(methods) = self {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }

    /// What operators are told of it, if somebody tried what they have no right to.
    pub(crate) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Access(access::Error::NotListed) => Some("partner_not_listed"),
            Self::Access(access::Error::Token) => Some("wrong_token"),
            Self::PartnersOnlyRetrieve => Some("partner_not_permitted"),
            Self::RetrieveUrlNotAllowed => Some("retrieve_url_not_allowed"),
            Self::Loop(hop::Loop) => Some("loop"),
            Self::Misdirected => Some("foreign_host"),
            Self::CrossOrigin => Some("foreign_origin"),
            Self::Host(_)
            | Self::HeadTooLarge
            | Self::Request(_)
            | Self::Method(_)
            | Self::NotOffered
            | Self::OfInstancesOnly
            | Self::Instance(_)
            | Self::Pixels(_)
            | Self::Memory(_)
            | Self::NotAcceptable(_)
            | Self::NotFound
            | Self::NotListed
            | Self::UnsupportedMediaType
            | Self::Upload
            | Self::UploadSlow
            | Self::Busy
            | Self::Library(_)
            | Self::Retrieve(_)
            | Self::BrokeOff(_)
            | Self::TooManyAnswers
            | Self::ShuttingDown
            | Self::Internal => None,
        }
    }

    /// The bound of the gateway that it ran into, if metrics count it here.
    pub(crate) fn bound(&self) -> Option<&'static str> {
        if matches!(self, Self::TooManyAnswers) {
            return Some("client");
        }
        if matches!(self, Self::Pixels(pixels::Error::Busy)) {
            return Some("decoders");
        }
        matches!(self, Self::Busy).then_some("uploads")
    }

    fn retry_after(&self) -> Option<Duration> {
        const SOON: Duration = Duration::from_secs(5);
        if let Self::Retrieve(retrieve::Error::Source(error)) = self {
            if let source::Error::Overloaded { retry_after } = error {
                return Some(retry_after.unwrap_or(SOON));
            }
            if let source::Error::Resting { retry_after } | source::Error::Crowded { retry_after } =
                error
            {
                return Some(*retry_after);
            }
        }
        matches!(
            self,
            Self::Busy
                | Self::TooManyAnswers
                | Self::ShuttingDown
                | Self::Pixels(pixels::Error::Busy)
                | Self::Memory(budget::Error::Busy)
                | Self::Instance(object::Error::Memory(budget::Error::Busy))
                | Self::BrokeOff(body::Error::Memory(budget::Error::Busy))
        )
        .then_some(SOON)
    }
}

/// On what a manifest disagrees with others, of which nothing is told.
fn conflict(disagreement: &Disagreement) -> Value {
    let on_patient = disagreement.patient.then_some("patient");
    let on_location = (disagreement.instances > 0).then_some("location");
    let on: Vec<_> = on_patient.into_iter().chain(on_location).collect();
    json!({
        "study_instance_uid": disagreement.study.as_str(),
        "disagrees_on": on,
        "instances": disagreement.instances,
    })
}

/// Whoever comes before the time has passed comes for nothing.
fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.max(1)
}

fn of_store(error: &library::Error) -> StatusCode {
    match error {
        library::Error::Manifest(error) => of_manifest(error),
        library::Error::UnknownSeries(_) => StatusCode::UNPROCESSABLE_ENTITY,
        library::Error::Conflict(_) => StatusCode::CONFLICT,
        library::Error::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        library::Error::Lost => StatusCode::GONE,
        library::Error::Full => StatusCode::INSUFFICIENT_STORAGE,
        library::Error::Io(error) if error.kind() == ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        library::Error::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn of_manifest(error: &manifest::Error) -> StatusCode {
    match error {
        manifest::Error::Unrecognised => StatusCode::BAD_REQUEST,
        manifest::Error::Kos(error) => of_kos(error),
        manifest::Error::Fhir(error) => match error {
            fhir::Error::UnsupportedXml => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            fhir::Error::NotJson { .. } => StatusCode::BAD_REQUEST,
            fhir::Error::NotABundle
            | fhir::Error::NoImagingStudy
            | fhir::Error::InvalidUid { .. }
            | fhir::Error::NotAList { .. }
            | fhir::Error::TooLarge { .. }
            | fhir::Error::Empty => StatusCode::UNPROCESSABLE_ENTITY,
        },
    }
}

/// What is no DICOM is a bad request; what is, and cannot be used, is not processable.
fn of_kos(error: &kos::Error) -> StatusCode {
    match error {
        kos::Error::Part10(
            part10::Error::NotPart10
            | part10::Error::NoTransferSyntax
            | part10::Error::Deflate
            | part10::Error::Unidentified
            | part10::Error::DataSet(dataset::Error::Truncated | dataset::Error::Malformed(_)),
        ) => StatusCode::BAD_REQUEST,
        kos::Error::Part10(part10::Error::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        kos::Error::Part10(part10::Error::DataSet(dataset::Error::TooDeep))
        | kos::Error::NotAKos
        | kos::Error::RejectionNote
        | kos::Error::NoEvidence
        | kos::Error::InvalidUid(_)
        | kos::Error::TooLarge { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn of_source(error: &source::Error) -> StatusCode {
    match error {
        source::Error::NotFound => StatusCode::NOT_FOUND,
        source::Error::Gone => StatusCode::GONE,
        source::Error::BadRequest => StatusCode::BAD_REQUEST,
        source::Error::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        source::Error::Forbidden => StatusCode::FORBIDDEN,
        // These say something of the request itself, wherever on its way they were said.
        source::Error::Status(413) => StatusCode::PAYLOAD_TOO_LARGE,
        source::Error::InstancesOnly => StatusCode::NOT_IMPLEMENTED,
        source::Error::Status(508) => StatusCode::LOOP_DETECTED,
        source::Error::Overloaded { .. }
        | source::Error::Resting { .. }
        | source::Error::Crowded { .. } => StatusCode::SERVICE_UNAVAILABLE,
        source::Error::NotModified
        | source::Error::Status(_)
        | source::Error::Malformed(_)
        | source::Error::Unreachable
        | source::Error::HungUp => StatusCode::BAD_GATEWAY,
        source::Error::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        source::Error::BrokeOff(error) => of_body(error),
    }
}

fn of_pixels(error: &pixels::Error) -> StatusCode {
    match error {
        pixels::Error::NoDecoder => StatusCode::NOT_ACCEPTABLE,
        pixels::Error::Damaged(_)
        | pixels::Error::Unsupported(_)
        | pixels::Error::TooLarge
        | pixels::Error::Exhausted => StatusCode::UNPROCESSABLE_ENTITY,
        pixels::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What is too large for one request is too large each time: it is the object that cannot be processed.
fn of_memory(error: budget::Error) -> StatusCode {
    match error {
        budget::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
        budget::Error::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn of_instance(error: &object::Error) -> StatusCode {
    match error {
        object::Error::Body(error) => of_body(error),
        object::Error::Memory(error) => of_memory(*error),
        object::Error::NoPixelData | object::Error::NoFrame(_) | object::Error::NoValue => {
            StatusCode::NOT_FOUND
        }
        object::Error::Part10(_)
        | object::Error::DataSet(_)
        | object::Error::TooLarge
        | object::Error::Pixels(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn of_body(error: &body::Error) -> StatusCode {
    match error {
        body::Error::Silent | body::Error::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        body::Error::Memory(error) => of_memory(*error),
        body::Error::Disconnected
        | body::Error::Truncated
        | body::Error::Malformed(_)
        | body::Error::NotWhole(_)
        | body::Error::Conflicting
        | body::Error::Missing(_)
        | body::Error::Unreadable
        | body::Error::Abandoned => StatusCode::BAD_GATEWAY,
    }
}
