//! The traces of a request for operators: metrics and one log line, neither of which identifies a
//! patient.

use std::net::IpAddr;
use std::time::Instant;

use http::header::CONTENT_RANGE;
use http::{Method, Response, StatusCode};

use crate::access::{Caller, Peer};
use crate::body::{Body, End};
use crate::gateway::edge::exchange::Exchange;
use crate::ihe::HomeCommunityId;
use crate::metrics::Metrics;
use crate::request::{self, Resource};
use crate::resource::{FrameForm, SubResource, Target};

/// The kinds of requests, as metrics and logs name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction {
    RegisterManifest,
    ListManifests,
    ShowManifest,
    ForgetManifest,
    HandOff,
    Link,
    RetrieveStudy,
    RetrieveSeries,
    RetrieveInstance,
    Search,
    WadoUri,
    RetrieveMetadata,
    RetrieveFrames,
    RetrieveBulkdata,
    RetrieveRendered,
    XcWadoResponding,
    XcWadoInitiating,
    Other,
}

impl Transaction {
    /// The kind of a request; `is_ours` distinguishes the two roles of RAD-160.
    pub(crate) fn of(
        method: &Method,
        resource: Result<&Resource, &request::Error>,
        is_ours: impl Fn(&HomeCommunityId) -> bool,
    ) -> Self {
        let is_read = *method == Method::GET || *method == Method::HEAD;
        match resource {
            Ok(Resource::Manifests) if *method == Method::POST => Self::RegisterManifest,
            Ok(Resource::Manifests) if is_read => Self::ListManifests,
            Ok(Resource::Manifest(_)) if *method == Method::DELETE => Self::ForgetManifest,
            Ok(Resource::Manifest(_)) if is_read => Self::ShowManifest,
            Ok(Resource::Links(_) | Resource::Link(..) | Resource::Unlock(_)) => Self::Link,
            Ok(Resource::Viewers(_) | Resource::Viewer(..)) if is_read => Self::HandOff,
            Ok(Resource::Retrieve(_, target)) if is_read => match target {
                Target::Study(_) => Self::RetrieveStudy,
                Target::Series(..) => Self::RetrieveSeries,
                Target::Instance(..) => Self::RetrieveInstance,
            },
            Ok(Resource::Search(..)) if is_read => Self::Search,
            Ok(Resource::Wado(_)) if is_read => Self::WadoUri,
            Ok(Resource::Derive(_, _, resource)) if is_read => match **resource {
                SubResource::Metadata => Self::RetrieveMetadata,
                SubResource::Frames(_, FrameForm::Pixels) => Self::RetrieveFrames,
                SubResource::Bulkdata(_) | SubResource::Pixeldata => Self::RetrieveBulkdata,
                SubResource::Rendered | SubResource::Thumbnail | SubResource::Frames(..) => {
                    Self::RetrieveRendered
                }
            },
            Ok(Resource::XcWado(request)) if is_read && is_ours(&request.home_community_id) => {
                Self::XcWadoResponding
            }
            Ok(Resource::XcWado(_)) if is_read => Self::XcWadoInitiating,
            Ok(
                Resource::Manifests
                | Resource::Manifest(_)
                | Resource::Viewers(_)
                | Resource::Viewer(..)
                | Resource::ProtectedResource
                | Resource::FirstPage
                | Resource::Login
                | Resource::LoggedIn
                | Resource::Logout
                | Resource::Root(_)
                | Resource::Search(..)
                | Resource::Wado(_)
                | Resource::Retrieve(..)
                | Resource::Derive(..)
                | Resource::XcWado(_),
            )
            | Err(_) => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RegisterManifest => "register_manifest",
            Self::ListManifests => "list_manifests",
            Self::ShowManifest => "show_manifest",
            Self::ForgetManifest => "forget_manifest",
            Self::HandOff => "hand_off",
            Self::Link => "link",
            Self::RetrieveStudy => "retrieve_study",
            Self::RetrieveSeries => "retrieve_series",
            Self::RetrieveInstance => "retrieve_instance",
            Self::Search => "search",
            Self::WadoUri => "wado_uri",
            Self::RetrieveMetadata => "retrieve_metadata",
            Self::RetrieveFrames => "retrieve_frames",
            Self::RetrieveBulkdata => "retrieve_bulkdata",
            Self::RetrieveRendered => "retrieve_rendered",
            Self::XcWadoResponding => "xc_wado_responding",
            Self::XcWadoInitiating => "xc_wado_initiating",
            Self::Other => "other",
        }
    }
}

/// The attributes of a request that operators see.
pub(crate) struct Observed<'a> {
    pub(crate) transaction: Transaction,
    pub(crate) method: Method,
    pub(crate) began: Instant,
    /// The exchange, if the sender was identified.
    pub(crate) exchange: Option<&'a Exchange<'a>>,
}

impl Observed<'_> {
    /// Counts a response now, and its body when the body ends.
    pub(crate) fn observe(self, metrics: &Metrics, response: Response<Body>) -> Response<Body> {
        let name = self.transaction.name();
        let status = response.status();
        self.count(metrics, status);
        let request_id = self
            .exchange
            .map_or("-", |exchange| exchange.hop.request_id.for_log());
        let request_id = request_id.to_owned();
        // The body of a response to `HEAD` is not sent, so its end never comes.
        if self.method == Method::HEAD {
            let status = status.as_u16();
            tracing::info!(transaction = name, status, request_id, "head answered");
            return response;
        }
        let began = self.began;
        // A range is a complete response, although its status is 206 too.
        let is_range = response.headers().contains_key(CONTENT_RANGE);
        let is_partial = status == StatusCode::PARTIAL_CONTENT && !is_range;
        let delivered = metrics.delivered_bytes.with_label_values(&[name]);
        let metrics = metrics.clone();
        response.map(|body| {
            body.watched(
                move |bytes| delivered.inc_by(bytes as u64),
                move |bytes, end| {
                    let seconds = began.elapsed().as_secs_f64();
                    let outcome = outcome(&end, is_partial);
                    metrics.request_seconds.with_label_values(&[name]).observe(seconds);
                    metrics.answers.with_label_values(&[name, outcome]).inc();
                    let status = status.as_u16();
                    match end {
                        End::Failed(error) => {
                            tracing::warn!(transaction = name, status, bytes, seconds, request_id, %error, "answer broke off");
                        }
                        End::Complete | End::ReaderLeft => {
                            tracing::info!(transaction = name, status, bytes, seconds, request_id, outcome, "answered");
                        }
                    }
                },
            )
        })
    }

    fn count(&self, metrics: &Metrics, status: StatusCode) {
        let name = self.transaction.name();
        let class = format!("{}xx", status.as_u16() / 100);
        let seconds = self.began.elapsed().as_secs_f64();
        metrics.requests.with_label_values(&[name, &class]).inc();
        metrics
            .first_byte_seconds
            .with_label_values(&[name])
            .observe(seconds);
        if let Some(Caller::Partner(partner)) = self.exchange.map(|exchange| &exchange.caller) {
            metrics
                .partner_requests
                .with_label_values(&[partner.alias.as_str(), &class])
                .inc();
        }
    }
}

/// Reports an attempt without the right to do so, and its address. Only this log holds addresses of
/// clients; metrics never do.
///
/// `client` differs from the peer's address if a trusted proxy forwards the client's.
pub(crate) fn security_event(metrics: &Metrics, event: &'static str, peer: &Peer, client: IpAddr) {
    metrics.security_events.with_label_values(&[event]).inc();
    let shown = peer.certificate.as_deref();
    let fingerprint = shown.map_or("-".to_owned(), |shown| shown.fingerprint.to_string());
    let address = peer.address;
    tracing::warn!(target: "xcwado::security", event, %address, %client, certificate = fingerprint, "refused");
}

fn outcome(end: &End, is_partial: bool) -> &'static str {
    match end {
        End::Complete if is_partial => "partial",
        End::Complete => "complete",
        End::Failed(_) => "broken_off",
        End::ReaderLeft => "client_left",
    }
}
