//! What operators see of a request: metrics and one line in the log, without anything that tells
//! whose images they were.

use std::time::Instant;

use http::{Method, Response};

use crate::body::{Body, End};
use crate::instance::Target;
use crate::metrics::Metrics;
use crate::request::{self, Resource};

/// The kinds of requests, as metrics and logs name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    RegisterManifest,
    ListManifests,
    ShowManifest,
    ForgetManifest,
    RetrieveStudy,
    RetrieveSeries,
    RetrieveInstance,
    Other,
}

impl Transaction {
    pub(super) fn of(method: &Method, resource: Result<&Resource, &request::Error>) -> Self {
        let is_read = *method == Method::GET || *method == Method::HEAD;
        match resource {
            Ok(Resource::Manifests) if *method == Method::POST => Self::RegisterManifest,
            Ok(Resource::Manifests) if is_read => Self::ListManifests,
            Ok(Resource::Manifest(_)) if *method == Method::DELETE => Self::ForgetManifest,
            Ok(Resource::Manifest(_)) if is_read => Self::ShowManifest,
            Ok(Resource::Retrieve(_, target)) if is_read => match target {
                Target::Study(_) => Self::RetrieveStudy,
                Target::Series(..) => Self::RetrieveSeries,
                Target::Instance(..) => Self::RetrieveInstance,
            },
            Ok(Resource::Manifests | Resource::Manifest(_) | Resource::Retrieve(..)) | Err(_) => {
                Self::Other
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RegisterManifest => "register_manifest",
            Self::ListManifests => "list_manifests",
            Self::ShowManifest => "show_manifest",
            Self::ForgetManifest => "forget_manifest",
            Self::RetrieveStudy => "retrieve_study",
            Self::RetrieveSeries => "retrieve_series",
            Self::RetrieveInstance => "retrieve_instance",
            Self::Other => "other",
        }
    }
}

/// Counts an answer now, and its body when that ends.
pub(super) fn observe(
    metrics: &Metrics,
    transaction: Transaction,
    method: &Method,
    began: Instant,
    response: Response<Body>,
) -> Response<Body> {
    let name = transaction.name();
    let status = response.status();
    let class = format!("{}xx", status.as_u16() / 100);
    metrics
        .requests
        .with_label_values(&[name, class.as_str()])
        .inc();
    metrics
        .first_byte_seconds
        .with_label_values(&[name])
        .observe(began.elapsed().as_secs_f64());
    // A body that is not sent has no end to wait for.
    if *method == Method::HEAD {
        tracing::info!(
            transaction = name,
            status = status.as_u16(),
            "head answered"
        );
        return response;
    }
    let is_partial = status == http::StatusCode::PARTIAL_CONTENT;
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
                        tracing::warn!(transaction = name, status, bytes, seconds, %error, "answer broke off");
                    }
                    End::Complete | End::ReaderLeft => {
                        tracing::info!(transaction = name, status, bytes, seconds, outcome, "answered");
                    }
                }
            },
        )
    })
}

fn outcome(end: &End, is_partial: bool) -> &'static str {
    match end {
        End::Complete if is_partial => "partial",
        End::Complete => "complete",
        End::Failed(_) => "broken_off",
        End::ReaderLeft => "client_left",
    }
}
