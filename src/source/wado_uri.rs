//! A WADO-URI server as a source (PS3.18 chapter 9, RAD-55): one instance for each request.
//!
//! The standard has no request for an instance as it is stored: without `transferSyntax` the server
//! decodes it. Most servers that matter accept `*`, as in WADO-RS, so it is tried first; a server
//! that refuses it is asked without it from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::HeaderValue;
use http::{StatusCode, Uri};
use url::Url;

use super::addresses::{Addresses, Question, SourceAnswer};
use super::breaker::{Object, Subject};
use super::client::{Client, User};
use super::wado_rs::PartReader;
use super::{Error, InstanceRequest, NOWHERE, Representation};
use crate::metrics::Metrics;
use crate::resource::Target;

const DICOM: HeaderValue = HeaderValue::from_static("application/dicom");

/// A WADO-URI server.
#[derive(Debug)]
pub struct WadoUri {
    /// Clones share the breakers.
    base: Arc<Addresses<Url>>,
    client: Client,
    /// Whether it refuses `transferSyntax=*`.
    knows_no_star: Arc<AtomicBool>,
}

impl WadoUri {
    /// The server with its WADO-URI service at exactly `base`.
    #[must_use]
    pub fn new(base: Url, client: Client) -> Self {
        Self {
            base: Arc::new(Addresses::new(base)),
            client,
            knows_no_star: Arc::default(),
        }
    }

    pub(super) fn of_user(&self, user: &Arc<User>) -> Self {
        Self {
            base: Arc::clone(&self.base),
            client: self.client.of_user(Arc::clone(user)),
            knows_no_star: Arc::clone(&self.knows_no_star),
        }
    }

    /// Its HTTP client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its URL.
    pub fn bases(&self) -> impl Iterator<Item = &Url> {
        self.base.iter()
    }

    pub(super) fn watch(&self, alias: &Arc<str>, metrics: &Metrics) {
        self.client.watch(metrics);
        self.base.watch(alias, metrics);
    }

    pub(super) async fn fetch(&self, ask: &InstanceRequest<'_>) -> Result<PartReader, Error> {
        let is_stored = ask.representation == Representation::AsStored;
        let syntax = match ask.representation {
            Representation::AsStored if self.knows_no_star.load(Ordering::Relaxed) => "",
            Representation::AsStored => "&transferSyntax=*",
            Representation::ExplicitVrLittleEndian => "&transferSyntax=1.2.840.10008.1.2.1",
        };
        let mut answered = self.ask(ask, syntax).await?;
        if is_stored && !syntax.is_empty() && is_refused(answered.response.status) {
            let again = self.ask(ask, "").await?;
            if again.response.status.is_success() {
                self.knows_no_star.store(true, Ordering::Relaxed);
            }
            answered = again;
        }
        PartReader::of(answered, ask.representation)
    }

    async fn ask(&self, ask: &InstanceRequest<'_>, syntax: &str) -> Result<SourceAnswer, Error> {
        let question = Question {
            subject: Subject {
                object: Object::at(&[&ask.target.path()]),
                is_repair: ask.is_repair,
            },
            uri: &|base| address(base, ask.target, syntax),
            accept: &DICOM,
            had: ask.had,
            hop: ask.hop,
            probe: &probe,
        };
        self.base.get(&self.client, &question).await
    }

    /// Whether it answers, regardless of its breaker; for operators.
    ///
    /// # Errors
    /// The error of the request.
    pub async fn probe(&self, base: &Url) -> Result<(), Error> {
        let response = self.client.get(&probe(base)?, &DICOM, None, None).await?;
        match response.status {
            status if status.is_server_error() => Err(Error::Status(status.as_u16())),
            status if status.is_success() => {
                Err(Error::Malformed("it gives an object that does not exist"))
            }
            _ => Ok(()),
        }
    }
}

/// The statuses of servers for an unknown value.
fn is_refused(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::NOT_IMPLEMENTED
    )
}

/// The URL of an instance that does not exist.
fn probe(base: &Url) -> Result<Uri, Error> {
    written(base, [NOWHERE; 3], "")
}

fn address(base: &Url, target: &Target, syntax: &str) -> Result<Uri, Error> {
    match target {
        Target::Instance(study, series, instance) => {
            let uids = [study.as_str(), series.as_str(), instance.as_str()];
            written(base, uids, syntax)
        }
        Target::Study(_) | Target::Series(..) => Err(Error::InstancesOnly),
    }
}

/// UIDs need no escaping, nor does the slash of `contentType` in a query (RFC 3986 3.4); some
/// servers do not decode it there.
fn written(base: &Url, [study, series, instance]: [&str; 3], syntax: &str) -> Result<Uri, Error> {
    format!(
        "{base}?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}\
         &contentType=application/dicom{syntax}"
    )
    .parse()
    .map_err(|_invalid| Error::Unreachable)
}
