//! Every error before the first byte of a response, and its HTTP status: the only place that maps
//! errors to statuses.

mod status;

use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::budget;
use crate::community::Remedy;
use crate::library;
use crate::manifest::{Conflict, Disagreement};
use crate::request::{self, accept};
use crate::{access, derive, hop, object, pixels, retrieve, source};
use status::{of_body, of_instance, of_link, of_login, of_memory, of_pixels, of_source, of_store};

/// Why the gateway refuses a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path or the query does not name a resource.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The resource does not support the method; it supports these.
    #[error("this resource does not support the method")]
    Method(&'static str),
    /// The client is not permitted.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// The request does not name a valid host.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// The request names a host that is not the gateway's.
    #[error("the gateway does not serve this host; public_url and listen.names list its hosts")]
    Misdirected,
    /// The request comes from a page of a foreign origin.
    #[error("pages of this origin may not send requests that change anything")]
    CrossOrigin,
    /// The head of the request is larger than the settings permit.
    #[error("the head of the request is too large")]
    HeadTooLarge,
    /// A partner requests a resource for viewers.
    #[error("gateways of other communities may only retrieve")]
    PartnersOnlyRetrieve,
    /// A Retrieve URL is not on the allow-list.
    #[error("this retrieveURL is not on the allow-list")]
    RetrieveUrlNotAllowed,
    /// The request has passed through the gateway before.
    #[error(transparent)]
    Loop(#[from] hop::Loop),
    /// No representation is acceptable to the client.
    #[error(transparent)]
    NotAcceptable(#[from] accept::NotAcceptable),
    /// The manifest does not exist, or it does not select the target.
    #[error("the resource does not exist")]
    NotFound,
    /// The manifest declares instances and lists none, so the gateway sends no request to a source.
    #[error("the manifest declares instances but does not list them; no source was asked")]
    NotListed,
    /// No configured source holds any of the selected instances.
    #[error("no configured source holds it{}", remedies(.0))]
    NotLocatable(BTreeSet<Remedy>),
    /// The media type of the body is not one of a manifest.
    #[error(
        "the media type of a manifest is application/dicom, application/dicom+json or \
         application/fhir+json"
    )]
    UnsupportedMediaType,
    /// The body of the request broke off.
    #[error("the body of the request broke off")]
    Upload,
    /// The body of the request arrives too slowly.
    #[error("the body of the request arrives too slowly")]
    UploadSlow,
    /// There is not enough memory for the body of the request at the moment.
    #[error("there is not enough memory for the body of the request at the moment")]
    Busy,
    /// The client has too many requests in progress.
    #[error("this client has too many requests in progress")]
    TooManyAnswers,
    /// A login fails.
    #[error(transparent)]
    Login(#[from] access::person::Failure),
    /// The link waits for its code.
    #[error(
        "this link has a one-time code: send it to unlock below the link, as {{\"code\": \"…\"}}"
    )]
    Locked,
    /// There is no new link.
    #[error(transparent)]
    Link(#[from] access::LinkError),
    /// The manifest is not registered, or cannot be read back.
    #[error(transparent)]
    Library(#[from] library::Error),
    /// The retrieval fails.
    #[error(transparent)]
    Retrieve(#[from] retrieve::Error),
    /// The resource exists below single instances only, and the target is a series or a study.
    #[error("this resource exists for single instances only")]
    OfInstancesOnly,
    /// The budget has no memory for the response.
    #[error(transparent)]
    Memory(#[from] budget::Error),
    /// An instance does not permit the request.
    #[error(transparent)]
    Instance(#[from] object::Error),
    /// A frame cannot be decoded or rendered.
    #[error(transparent)]
    Pixels(#[from] pixels::Error),
    /// The response broke off before its first byte.
    #[error(transparent)]
    BrokeOff(#[from] body::Error),
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// A fault of the gateway itself.
    #[error("internal error of the gateway")]
    Internal,
}

/// Why a request does not name a valid host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// RFC 9112 3.2: a request in HTTP/1.1 or later always names its host.
    #[error("the request does not name its host")]
    Missing,
    /// RFC 9112 3.2.
    #[error("the request names its host twice")]
    Repeated,
    /// The text is not a host with an optional port.
    #[error("the host of the request is not valid")]
    Malformed,
    /// RFC 9110 4.2.4.
    #[error("the target of the request has user information")]
    UserInformation,
}

/// The same errors have the same status, from a transaction as from the derivation of an instance.
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
    /// The error of a source, as another community receives it. It does not reveal whether the
    /// community, the location or the study is unknown.
    pub(crate) fn between_communities(error: source::Error) -> Self {
        if error == source::Error::NotFound {
            return Self::NotFound;
        }
        // The gateway next to the source reports this; the client can request single instances.
        if error == source::Error::Status(501) {
            return Self::Retrieve(source::Error::InstancesOnly.into());
        }
        Self::Retrieve(error.into())
    }

    /// The HTTP status of the error.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Request(request::Error::Unknown)
            | Self::NotFound
            | Self::NotListed
            | Self::NotLocatable(_)
            | Self::OfInstancesOnly => StatusCode::NOT_FOUND,
            Self::Instance(error) => of_instance(error),
            Self::Pixels(error) => of_pixels(error),
            Self::Memory(error) => of_memory(*error),
            Self::Access(
                access::Error::Token | access::Error::Unidentified | access::Error::InvalidToken(_),
            ) => StatusCode::UNAUTHORIZED,
            Self::Access(access::Error::NotListed | access::Error::NoRight)
            | Self::Locked
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
                | request::Error::Body(_)
                | request::Error::XcWado(_),
            )
            | Self::Host(_)
            | Self::Upload => StatusCode::BAD_REQUEST,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UploadSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Access(access::Error::Unavailable)
            | Self::Busy
            | Self::TooManyAnswers
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Library(error) => of_store(error),
            Self::Link(error) => of_link(error),
            Self::Login(error) => of_login(*error),
            Self::Retrieve(retrieve::Error::NotLocatable) => StatusCode::NOT_FOUND,
            Self::Retrieve(retrieve::Error::Source(error)) => of_source(error),
            Self::BrokeOff(error) => of_body(error),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The response: a problem document (RFC 9457) that describes the error of the request and
    /// reveals nothing about the systems behind the gateway.
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

    /// The name of the security event, if the client attempted something without permission.
    pub(crate) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Access(access::Error::NotListed) => Some("partner_not_listed"),
            Self::Access(access::Error::Token | access::Error::InvalidToken(_)) => {
                Some("wrong_token")
            }
            Self::Access(access::Error::NoRight) => Some("no_right"),
            Self::PartnersOnlyRetrieve => Some("partner_not_permitted"),
            Self::RetrieveUrlNotAllowed => Some("retrieve_url_not_allowed"),
            Self::Loop(hop::Loop) => Some("loop"),
            Self::Misdirected => Some("foreign_host"),
            Self::CrossOrigin => Some("foreign_origin"),
            Self::Access(access::Error::Unidentified | access::Error::Unavailable)
            | Self::Host(_)
            | Self::HeadTooLarge
            | Self::Locked
            | Self::Link(_)
            | Self::Login(_)
            | Self::Request(_)
            | Self::Method(_)
            | Self::OfInstancesOnly
            | Self::Instance(_)
            | Self::Pixels(_)
            | Self::Memory(_)
            | Self::NotAcceptable(_)
            | Self::NotFound
            | Self::NotListed
            | Self::NotLocatable(_)
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

    /// The bound of the gateway that refused the request, if the gateway counts it here.
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
            if let source::Error::Resting { retry_after }
            | source::Error::NoToken { retry_after, .. }
            | source::Error::Crowded { retry_after } = error
            {
                return Some(*retry_after);
            }
        }
        matches!(
            self,
            Self::Access(access::Error::Unavailable)
                | Self::Busy
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

/// What would help, in short and without any value of the manifest. The sender gets the rest.
fn remedies(remedies: &BTreeSet<Remedy>) -> String {
    const MOST: usize = 2;
    let told: Vec<_> = remedies.iter().take(MOST).map(Remedy::to_string).collect();
    match told.as_slice() {
        [] => String::new(),
        told => format!("; it needs {}", told.join(", or ")),
    }
}

/// The disagreement of a manifest with others, without any content of the others.
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

/// Rounds up: a retry before the time has passed would fail again.
fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.max(1)
}
