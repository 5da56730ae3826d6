//! A DICOMweb server as a source: *Get Instances* of PS3.18 10.4 (RAD-107).
//!
//! Requests always accept `transfer-syntax=*`: popular servers answer a default request for a study
//! with an error if they cannot transcode one object of it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, TRANSFER_ENCODING,
};
use http::{HeaderMap, StatusCode, Uri};
use url::Url;

use super::addresses::{Addresses, Question, SourceAnswer};
use super::breaker::{Object, Report, Subject};
use super::client::{Client, Response, ResponseBody, User, retry_after};
use super::{Error, InstanceRequest, Representation};
use crate::body;
use crate::dicom::MediaType;
use crate::hop::Hop;
use crate::metrics::Metrics;
use crate::multipart::{Boundary, Event, Limits, Splitter};

const AS_STORED: HeaderValue =
    HeaderValue::from_static(r#"multipart/related; type="application/dicom"; transfer-syntax=*"#);
const EXPLICIT_VR_LITTLE_ENDIAN: HeaderValue = HeaderValue::from_static(
    r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1"#,
);

/// A WADO-RS server, at one address or several.
#[derive(Debug)]
pub struct WadoRs {
    /// Clones share the breakers.
    bases: Arc<Addresses<Url>>,
    client: Client,
}

impl WadoRs {
    /// The server whose DICOMweb root is `base`.
    #[must_use]
    pub fn new(base: Url, client: Client) -> Self {
        Self {
            bases: Arc::new(Addresses::new(base)),
            client,
        }
    }

    /// Adds further DICOMweb roots of the same server.
    #[must_use]
    pub fn also_at(mut self, bases: impl IntoIterator<Item = Url>) -> Self {
        let shared = Arc::get_mut(&mut self.bases).expect("it has not been cloned yet");
        shared.extend(bases);
        self
    }

    pub(super) fn of_user(&self, user: &Arc<User>) -> Self {
        Self {
            bases: Arc::clone(&self.bases),
            client: self.client.of_user(Arc::clone(user)),
        }
    }

    /// Its HTTP client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its DICOMweb roots, in the order of the settings, at least one.
    pub fn bases(&self) -> impl Iterator<Item = &Url> {
        self.bases.iter()
    }

    pub(super) fn watch(&self, alias: &Arc<str>, metrics: &Metrics) {
        self.client.watch(metrics);
        self.bases.watch(alias, metrics);
    }

    pub(super) async fn fetch(&self, ask: &InstanceRequest<'_>) -> Result<PartReader, Error> {
        let accept = ask.representation.accept();
        let path = ask.target.path();
        let question = Question {
            subject: Subject {
                object: Object::at(&[&path]),
                is_repair: ask.is_repair,
            },
            uri: &|base| address(base, &path, ""),
            accept: &accept,
            had: ask.had,
            hop: ask.hop,
            probe: &probe,
        };
        let asked = self.bases.get(&self.client, &question);
        PartReader::of(asked.await?, ask.representation)
    }

    /// Sends a request for a path and query below one of its roots.
    pub(super) async fn get(
        &self,
        [path, query]: [&str; 2],
        accept: &HeaderValue,
        hop: Option<&Hop>,
    ) -> Result<SourceAnswer, Error> {
        let question = Question {
            subject: Subject {
                object: Object::at(&[path, query]),
                is_repair: false,
            },
            uri: &|base| address(base, path, query),
            accept,
            had: None,
            hop,
            probe: &probe,
        };
        self.bases.get(&self.client, &question).await
    }

    /// Whether the server answers at one of its roots, regardless of its breaker; for operators.
    ///
    /// # Errors
    /// The error of the request.
    pub async fn probe(&self, base: &Url) -> Result<(), Error> {
        let uri = probe(base)?;
        let accept = HeaderValue::from_static("application/dicom+json");
        let response = self.client.get(&uri, &accept, None, None).await?;
        // A server that decides for each user lets nobody in without one.
        let is_refused = response.status == StatusCode::UNAUTHORIZED && !self.client.is_per_user();
        if is_refused || response.status.is_server_error() {
            return Err(Error::Status(response.status.as_u16()));
        }
        Ok(())
    }
}

/// A search is the one harmless request that most servers answer; any status proves an HTTP server.
fn probe(base: &Url) -> Result<Uri, Error> {
    address(base, "studies", "limit=1")
}

/// The URL of a target below the root, written from typed parts.
fn address(base: &Url, path: &str, query: &str) -> Result<Uri, Error> {
    let base = base.as_str().trim_end_matches('/');
    let separator = if query.is_empty() { "" } else { "?" };
    format!("{base}/{path}{separator}{query}")
        .parse()
        .map_err(|_invalid| Error::Unreachable)
}

impl Representation {
    /// The `Accept` field of a request.
    pub(super) fn accept(self) -> HeaderValue {
        match self {
            Self::AsStored => AS_STORED,
            Self::ExplicitVrLittleEndian => EXPLICIT_VR_LITTLE_ENDIAN,
        }
    }
}

pub(super) fn check_status(
    response: &Response,
    representation: Representation,
) -> Result<(), Error> {
    match (response.status, representation) {
        (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => Ok(()),
        (StatusCode::NOT_MODIFIED, _) => Err(Error::NotModified),
        (StatusCode::NOT_FOUND, _) => Err(Error::NotFound),
        (StatusCode::GONE, _) => Err(Error::Gone),
        (StatusCode::NOT_ACCEPTABLE, _) => Err(Error::NotAcceptable),
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => {
            Err(Error::Overloaded {
                retry_after: retry_after(&response.headers),
            })
        }
        // Orthanc answers 400 or 500 if it cannot transcode, others 415 or 501.
        (
            StatusCode::BAD_REQUEST
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::NOT_IMPLEMENTED,
            Representation::ExplicitVrLittleEndian,
        ) => Err(Error::NotAcceptable),
        (status, _) => Err(Error::Status(status.as_u16())),
    }
}

/// The instances of an HTTP answer.
#[derive(Debug)]
pub(super) struct PartReader {
    body: ResponseBody,
    framing: Framing,
    report: Report,
    /// Whether the server declares the answer incomplete (PS3.18 10.4.3).
    pub(super) is_partial: bool,
    pub(super) policy: CachePolicy,
}

/// The cache policy of an answer.
#[derive(Debug, Default)]
pub(super) struct CachePolicy {
    pub(super) etag: Option<Box<str>>,
    pub(super) no_store: bool,
}

impl CachePolicy {
    fn of(headers: &HeaderMap) -> Self {
        let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok());
        let mut controls = headers.get_all(CACHE_CONTROL).iter();
        Self {
            etag: etag
                .filter(|etag| etag.len() <= LONGEST_ETAG)
                .map(Into::into),
            no_store: controls.any(|control| {
                let control = control.to_str().unwrap_or_default();
                let mut directives = control.split(',').map(str::trim);
                directives.any(|directive| directive.eq_ignore_ascii_case("no-store"))
            }),
        }
    }
}

const LONGEST_ETAG: usize = 256;

#[derive(Debug)]
enum Framing {
    Multipart {
        splitter: Box<Splitter>,
        /// The length that the current part declares.
        declared: Option<u64>,
    },
    /// The body is a single instance.
    Single { length: Option<u64>, begun: bool },
}

impl PartReader {
    /// The instances in an answer of any HTTP server.
    pub(super) fn of(answered: SourceAnswer, asked: Representation) -> Result<Self, Error> {
        let SourceAnswer {
            response, report, ..
        } = answered;
        check_status(&response, asked)?;
        let content_type = response
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .ok_or(Error::Malformed("it has no content type"))?;
        let media_type = MediaType::parse(content_type)
            .ok_or(Error::Malformed("its content type is malformed"))?;
        let framing = match media_type.essence() {
            "multipart/related" => {
                let boundary = media_type
                    .parameter("boundary")
                    .ok_or(Error::Malformed("its content type names no boundary"))?;
                let boundary = Boundary::parse(boundary)
                    .map_err(|_invalid| Error::Malformed("its boundary is invalid"))?;
                Framing::Multipart {
                    splitter: Box::new(Splitter::new(&boundary, Limits::default())),
                    declared: None,
                }
            }
            "application/dicom" if is_framed(&response.headers) => Framing::Single {
                length: content_length(&response.headers),
                begun: false,
            },
            "application/dicom" => return Err(Error::Malformed("its body is not framed")),
            _ => return Err(Error::Malformed("it is not DICOM")),
        };
        Ok(Self {
            is_partial: response.status == StatusCode::PARTIAL_CONTENT,
            policy: CachePolicy::of(&response.headers),
            body: response.body,
            framing,
            report,
        })
    }

    pub(super) async fn next(&mut self) -> Result<bool, body::Error> {
        let next = self.pass_over().await;
        match &next {
            Ok(true) => {}
            Ok(false) => self.report.whole(),
            Err(error) => self.report.broke_off(error),
        }
        next
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        let chunk = self.read().await;
        match &chunk {
            Ok(Some(_)) => {}
            Ok(None) => self.report.whole(),
            Err(error) => self.report.broke_off(error),
        }
        chunk
    }

    async fn pass_over(&mut self) -> Result<bool, body::Error> {
        match &mut self.framing {
            Framing::Single { begun, .. } => Ok(!std::mem::replace(begun, true)),
            Framing::Multipart { splitter, declared } => loop {
                match event(splitter, &mut self.body).await? {
                    None => return Ok(false),
                    Some(Event::Part(head)) => {
                        *declared = head.content_length();
                        return Ok(true);
                    }
                    Some(Event::Data(_) | Event::PartEnd) => {}
                }
            },
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, body::Error> {
        match &mut self.framing {
            Framing::Single { .. } => self.body.chunk().await,
            Framing::Multipart { splitter, .. } => match event(splitter, &mut self.body).await? {
                Some(Event::Data(bytes)) => Ok(Some(bytes)),
                Some(Event::PartEnd) | None => Ok(None),
                Some(Event::Part(_)) => Err(body::Error::Malformed("a part begins inside a part")),
            },
        }
    }

    /// Whether no bytes of the body are buffered.
    pub(super) fn is_dry(&self) -> bool {
        match &self.framing {
            Framing::Single { .. } => true,
            Framing::Multipart { splitter, .. } => splitter.is_dry(),
        }
    }

    /// HTTP enforces the length of a body. The length of a part is confirmed only at its end.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.framing {
            Framing::Single { length, .. } => *length,
            Framing::Multipart { .. } => None,
        }
    }

    /// The length that the current part, or the entire body, declares.
    pub(super) fn declared(&self) -> Option<u64> {
        match &self.framing {
            Framing::Single { length, .. } => *length,
            Framing::Multipart { declared, .. } => *declared,
        }
    }
}

async fn event(
    splitter: &mut Splitter,
    body: &mut ResponseBody,
) -> Result<Option<Event>, body::Error> {
    loop {
        match splitter.next() {
            Ok(Some(event)) => return Ok(Some(event)),
            Ok(None) if splitter.is_closed() => return Ok(None),
            Ok(None) => {}
            Err(error) => return Err(error.into()),
        }
        match body.chunk().await? {
            Some(chunk) => splitter.push(chunk),
            // Without the closing boundary the answer is truncated, even if HTTP ended cleanly.
            None => {
                return match splitter.finish() {
                    Ok(()) => Ok(None),
                    Err(error) => Err(error.into()),
                };
            }
        }
    }
}

// RFC 9112 6.3: a body delimited by the end of its connection looks complete when it is truncated.
pub(super) fn is_framed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}
