//! The operator listener: metrics, health, and cache purges; never on the public listener.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::access::Peer;
use crate::body::Body;
use crate::dicom::StudyInstanceUid;
use crate::gateway::{Forgotten, Gateway};
use crate::manifest::Id;
use crate::metrics::Metrics;

/// The resources for operators.
#[derive(Debug)]
pub(super) struct Operator {
    gateway: Arc<Gateway>,
    metrics: Metrics,
    stopping: CancellationToken,
}

impl Operator {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        metrics: Metrics,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            metrics,
            stopping,
        }
    }

    pub(super) async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
        let (head, _body) = request.into_parts();
        if let Err(error) = self.gateway.admit(peer, &head) {
            return text(error.status(), format!("{error}\n"));
        }
        // Whatever balances load or restarts the gateway has no token.
        if !head.uri.path().starts_with("/health/")
            && let Err(error) = self.gateway.may_operate(peer, &head.headers).await
        {
            return text(error.status(), format!("{error}\n"));
        }
        self.resource(&head).await
    }

    async fn resource(&self, request: &Parts) -> Response<Body> {
        if request.uri.path() == "/cache" {
            return self.cache(request).await;
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return only("GET, HEAD");
        }
        match request.uri.path() {
            "/metrics" => self.metrics(),
            "/health/live" => text(StatusCode::OK, "alive\n"),
            "/health/ready" if self.stopping.is_cancelled() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            }
            "/health/ready" => text(StatusCode::OK, "ready\n"),
            "/version" => text(StatusCode::OK, concat!(env!("CARGO_PKG_VERSION"), "\n")),
            _ => text(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }

    /// `DELETE /cache`: purges the entire cache, or the `?study=` or `?manifest=` in it.
    async fn cache(&self, request: &Parts) -> Response<Body> {
        if request.method != Method::DELETE {
            return only("DELETE");
        }
        let Some(forgotten) = forgotten(request.uri.query()) else {
            let meant = "DELETE /cache, /cache?study={UID} or /cache?manifest={id}\n";
            return text(StatusCode::BAD_REQUEST, meant);
        };
        match self.gateway.forget_kept(forgotten).await {
            Ok(count) => {
                tracing::info!(count, "an operator purged cached instances");
                let counted = format!("{{\"forgotten\": {count}}}\n");
                let mut response = text(StatusCode::OK, counted);
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
            Err(error) => text(error.status(), format!("{error}\n")),
        }
    }

    fn metrics(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.metrics.render()));
        let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response
    }
}

fn forgotten(query: Option<&str>) -> Option<Forgotten> {
    match query.map(|query| query.split_once('=')) {
        None => Some(Forgotten::Everything),
        Some(Some(("study", uid))) => StudyInstanceUid::parse(uid).ok().map(Forgotten::Study),
        Some(Some(("manifest", id))) => Id::parse(id).map(Forgotten::Manifest),
        Some(_) => None,
    }
}

fn only(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    let methods = HeaderValue::from_static(methods);
    response.headers_mut().insert(ALLOW, methods);
    response
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
