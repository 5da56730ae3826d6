//! The operator listener: metrics and health, never on the public one.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::metrics::Metrics;

/// What operators see.
#[derive(Debug)]
pub(super) struct Operator {
    metrics: Metrics,
    stopping: CancellationToken,
}

impl Operator {
    pub(super) fn new(metrics: Metrics, stopping: CancellationToken) -> Self {
        Self { metrics, stopping }
    }

    pub(super) fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
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

    fn metrics(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.metrics.render()));
        let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
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
