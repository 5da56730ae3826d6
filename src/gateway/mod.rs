//! The story of a request: what is asked becomes what is selected, where it is, and an answer.

mod error;
mod manifests;
mod observe;
mod upload;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LOCATION, CONTENT_TYPE, HeaderName, HeaderValue, VARY,
    WARNING,
};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use url::Url;

pub use error::Error;

use crate::body::Body;
use crate::community::Registry;
use crate::instance::Target;
use crate::manifest::{Id, Registered, Store};
use crate::metrics::Metrics;
use crate::multipart::Boundary;
use crate::present::{self, Presented};
use crate::request::{Acceptable, Payload, Resource, Root};
use crate::retrieve::{Job, Plan, Retrieval, Retriever};
use observe::Transaction;

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// What answers requests on the public listener. Built once; everything that changes has an owner
/// inside.
#[derive(Debug)]
pub struct Gateway {
    /// How clients reach us, without a slash at the end.
    public_url: String,
    /// The path of the public URL, without a slash at the end.
    prefix: String,
    registry: Registry,
    manifests: Arc<Store>,
    retriever: Retriever,
    metrics: Metrics,
    uploads: upload::Room,
    /// Manifests that are read at the same time.
    reading: Semaphore,
}

impl Gateway {
    /// A gateway in front of these sources and manifests.
    #[must_use]
    pub fn new(
        public_url: &Url,
        registry: Registry,
        manifests: Store,
        retriever: Retriever,
        metrics: Metrics,
    ) -> Self {
        let gateway = Self {
            public_url: public_url.as_str().trim_end_matches('/').to_owned(),
            prefix: public_url.path().trim_end_matches('/').to_owned(),
            registry,
            manifests: Arc::new(manifests),
            retriever,
            metrics,
            uploads: upload::Room::new(),
            reading: Semaphore::new(2),
        };
        gateway.count_manifests();
        gateway
    }

    /// Answers one request, whatever it is.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let resource = Resource::parse(self.below_prefix(head.uri.path()));
        let transaction = Transaction::of(&head.method, resource.as_ref());
        let outcome = match resource {
            Ok(resource) => self.respond(&head, resource, body).await,
            Err(error) => Err(error.into()),
        };
        let mut response = outcome.unwrap_or_else(|error| error.response());
        harden(response.headers_mut());
        observe::observe(&self.metrics, transaction, &head.method, began, response)
    }

    async fn respond<B>(
        &self,
        head: &Parts,
        resource: Resource,
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        match (&head.method, resource) {
            (&Method::POST, Resource::Manifests) => self.register(head, body).await,
            (&Method::GET | &Method::HEAD, Resource::Manifests) => self.list(head),
            (&Method::GET | &Method::HEAD, Resource::Manifest(id)) => self.show(head, id).await,
            (&Method::DELETE, Resource::Manifest(id)) => self.forget(id).await,
            (&Method::GET | &Method::HEAD, Resource::Retrieve(root, target)) => {
                self.retrieve(head, &root, &target).await
            }
            (_, Resource::Manifests) => Err(Error::Method("GET, HEAD, POST")),
            (_, Resource::Manifest(_)) => Err(Error::Method("GET, HEAD, DELETE")),
            (_, Resource::Retrieve(..)) => Err(Error::Method("GET, HEAD")),
        }
    }

    /// *Retrieve Instances* (PS3.18 10.4) out of what a manifest selects.
    async fn retrieve(
        &self,
        head: &Parts,
        root: &Root,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let Root::Manifest(id) = root;
        let acceptable = acceptable(head, target)?;
        let manifest = self.load(*id).await?.ok_or(Error::NotFound)?;
        let plan = self.plan(&manifest, target)?;
        let retrieval = self
            .retriever
            .start(plan, acceptable.syntaxes.clone())
            .await?;
        let root = format!("{}/manifests/{id}/dicomweb", self.public_url);
        let (missing, selected) = (retrieval.missing, retrieval.selected);
        let presented = present(retrieval, &acceptable, &root).await?;
        response(
            presented,
            missing,
            selected,
            &format!("{root}/{}", target.path()),
        )
    }

    /// Which instances a target selects, and which source has them.
    fn plan(&self, manifest: &Registered, target: &Target) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for selected in manifest.select(target).ok_or(Error::NotFound)? {
            let (listing, only) = (selected.listing, selected.only);
            match self.registry.resolve(selected.locations) {
                Some((source, _via)) => {
                    plan.jobs.push(Job {
                        source: Arc::clone(source),
                        listing,
                        only,
                    });
                }
                None => plan.not_locatable += only.map_or(listing.instances.len(), |_one| 1),
            }
        }
        Ok(plan)
    }

    async fn load(&self, id: Id) -> Result<Option<Arc<Registered>>, Error> {
        if let Some(manifest) = self.manifests.loaded(id) {
            return Ok(Some(manifest));
        }
        if self.manifests.record(id).is_none() {
            return Ok(None);
        }
        Ok(self.read(move |manifests| manifests.load(id)).await??)
    }

    /// Reads manifests where blocking is allowed, few at the same time.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let waiting = self.reading.acquire().await;
        let _permit = waiting.map_err(|_closed| Error::ShuttingDown)?;
        let manifests = Arc::clone(&self.manifests);
        let reading = spawn_blocking(move || read(&manifests));
        reading.await.map_err(|_panic| Error::Internal)
    }

    /// The path below that of the public URL. A proxy in front may have cut it off already.
    fn below_prefix<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.prefix.as_str()) {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) | None => path,
        }
    }
}

fn acceptable(head: &Parts, target: &Target) -> Result<Acceptable, Error> {
    let is_instance = match target {
        Target::Instance(..) => true,
        Target::Study(_) | Target::Series(..) => false,
    };
    let fields = accept_fields(head);
    Ok(Acceptable::parse(head.uri.query(), &fields, is_instance)?)
}

fn accept_fields(head: &Parts) -> Vec<&str> {
    let fields = head.headers.get_all(ACCEPT).iter();
    fields.filter_map(|field| field.to_str().ok()).collect()
}

async fn present(
    retrieval: Retrieval,
    acceptable: &Acceptable,
    root: &str,
) -> Result<Presented, Error> {
    match acceptable.payload {
        Payload::Single => Ok(present::single(retrieval.instances).await?),
        Payload::Multipart => {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|_no_random| Error::Internal)?;
            let boundary = Boundary::from_random(random);
            Ok(present::multipart(
                retrieval.instances,
                boundary,
                root.to_owned(),
            ))
        }
    }
}

fn response(
    presented: Presented,
    missing: usize,
    selected: usize,
    location: &str,
) -> Result<Response<Body>, Error> {
    let mut response = Response::new(presented.body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value(&presented.content_type)?);
    headers.insert(CONTENT_LOCATION, value(location)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if missing > 0 {
        // PS3.18 10.4.3: some of what was asked for.
        let text = format!("299 xcwado \"{missing} of {selected} instances cannot be given\"");
        headers.insert(WARNING, value(&text)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_invalid| Error::Internal)
}

fn harden(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn allow(response: &mut Response<Body>, methods: &'static str) {
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
}
