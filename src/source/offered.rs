//! Sub-resources other than instances, forwarded from a source unchanged.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use url::Url;

use super::addresses::SourceAnswer;
use super::breaker::Report;
use super::client::{Response, ResponseBody};
use super::wado_rs::{check_status, content_length, is_framed};
use super::{Error, Kind, Representation, Source};
use crate::body;
use crate::dicom::MediaType;
use crate::hop::Hop;
use crate::resource::{SubResource, Target};

/// A resource below a study, series or instance.
#[derive(Debug, Clone, Copy)]
pub struct ResourceRequest<'a> {
    /// The study, series or instance.
    pub target: &'a Target,
    /// The resource.
    pub sub_resource: &'a SubResource,
    /// Its escaped query.
    pub query: &'a str,
    /// The client's `Accept` field.
    pub accept: &'a HeaderValue,
    /// The downstream request.
    pub hop: &'a Hop,
}

/// The answer of a source.
#[derive(Debug)]
pub struct Answer {
    /// The URL of the answer, the base of its relative links.
    pub document: Url,
    /// Its media type.
    pub media_type: MediaType,
    /// Its exact length, if known.
    pub length: Option<u64>,
    /// Whether the source declares it incomplete.
    pub is_partial: bool,
    body: ResponseBody,
    report: Report,
}

impl Source {
    /// Requests a sub-resource.
    ///
    /// # Errors
    /// Why the source sends none.
    pub async fn ask_for(&self, request: &ResourceRequest<'_>) -> Result<Answer, Error> {
        let path = format!("{}/{}", request.target.path(), request.sub_resource.path());
        let (below, hop) = ([&*path, request.query], Some(request.hop));
        self.has_its_user()?;
        let answered = match &self.kind {
            Kind::WadoRs(server) => server.get(below, request.accept, hop).await?,
            Kind::XcWado(location) => location.get(below, request.accept, hop).await?,
            // These kinds serve instances only, which the settings enforce.
            Kind::WadoUri(_) | Kind::Folder(_) => return Err(Error::NotFound),
        };
        let checked = self.check(&answered.response);
        checked.map_err(|error| self.blame(error))?;
        Answer::of(answered)
    }

    fn check(&self, response: &Response) -> Result<(), Error> {
        let is_gateway = matches!(self.kind, Kind::XcWado(_));
        match response.status {
            // The client chose the parameters, so it gets the `400`.
            StatusCode::BAD_REQUEST => Err(Error::BadRequest),
            StatusCode::FORBIDDEN if is_gateway => Err(Error::Forbidden),
            _ => check_status(response, Representation::AsStored),
        }
    }
}

impl Error {
    /// Whether the source refuses a resource, or gives something else; other failures say nothing
    /// about the resource.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotFound
            | Self::NotModified
            | Self::Gone
            | Self::BadRequest
            | Self::InstancesOnly
            | Self::NotAcceptable
            | Self::Forbidden
            | Self::Overloaded { .. }
            | Self::Status(_)
            | Self::Malformed(_)
            | Self::HungUp
            | Self::TimedOut
            | Self::BrokeOff(_) => true,
            Self::OtherPatient
            | Self::NotForUser(_)
            | Self::Resting { .. }
            | Self::NoToken { .. }
            | Self::Crowded { .. }
            | Self::Unreachable => false,
        }
    }
}

impl Answer {
    fn of(answered: SourceAnswer) -> Result<Self, Error> {
        let SourceAnswer {
            response,
            uri,
            report,
        } = answered;
        let headers = &response.headers;
        let field = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let media_type = field.and_then(MediaType::parse);
        let media_type = media_type.ok_or(Error::Malformed("its content type is malformed"))?;
        let coding = headers.get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Error::Malformed(
                "it has a content coding that was not requested",
            ));
        }
        if !is_framed(headers) {
            return Err(Error::Malformed("its body is not framed"));
        }
        Ok(Self {
            document: Url::parse(&uri.to_string()).map_err(|_invalid| Error::Unreachable)?,
            media_type,
            length: content_length(headers),
            is_partial: response.status == StatusCode::PARTIAL_CONTENT,
            body: response.body,
            report,
        })
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// Why the answer broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, body::Error> {
        let chunk = self.body.chunk().await;
        match &chunk {
            Ok(Some(_)) => {}
            Ok(None) => self.report.whole(),
            Err(error) => self.report.broke_off(error),
        }
        chunk
    }
}
