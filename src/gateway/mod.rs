//! The story of a request: it is admitted, its sender is identified, its path becomes a resource,
//! and the transaction of that resource answers it.

mod dicomweb;
mod edge;
mod entrance;
mod error;
mod manifests;
mod selection;
mod xc_wado;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

pub use edge::cors::Settings as CorsSettings;
pub use edge::forwarded::Proxies;
pub use edge::hosts::{HostName, NotAHostName};
pub use edge::upload::UploadPace;
pub use entrance::{manifest_of, transaction};
pub use error::{Error, InvalidHost};
pub use manifests::forget::Forgotten;
pub use manifests::viewers::Settings as ViewersSettings;
pub use xc_wado::Settings as XcWadoSettings;

use crate::access::{Access, Door, Links, Peer};
use crate::body::Body;
use crate::budget::{self, Budget, Client};
use crate::cache::CacheControl;
use crate::community::Registry;
use crate::hop::Pseudonym;
use crate::library::Library;
use crate::metrics::Metrics;
use crate::pixels::Pool;
use crate::request::{Grammar, Resource};
use crate::retrieve::Retriever;
use edge::exchange::Exchange;
use edge::forwarded::{PublicUrl, Route};
use edge::hosts::Hosts;
use edge::observe::{self, Observed, Transaction};
use edge::per_client::PerClient;
use edge::response::{RESOURCE_POLICY, allow, harden};
use edge::upload;
use entrance::{Addressed, challenge};

/// Answers the requests of the public listener and of the listener for partners. Built once; every
/// part that changes has an owner inside.
#[derive(Debug)]
pub struct Gateway {
    /// The URL for clients.
    public_url: Arc<PublicUrl>,
    /// The URL for partners; the same unless they have a listener of their own.
    partners_url: Arc<PublicUrl>,
    /// Trusted proxies.
    proxies: Proxies,
    /// The host names of the public listener.
    hosts: Hosts,
    /// The host names of the listener for partners.
    partner_hosts: Hosts,
    /// Most bytes of a request's head.
    largest_head: usize,
    grammar: Grammar,
    pseudonym: Pseudonym,
    xc_wado: XcWadoSettings,
    access: Access,
    links: Arc<Links>,
    registry: Arc<Registry>,
    library: Arc<Library>,
    retriever: Retriever,
    /// Responses under way.
    streams: PerClient,
    decoders: Pool,
    budget: Budget,
    cors: CorsSettings,
    viewers: ViewersSettings,
    cache_control: HeaderValue,
    metrics: Metrics,
    uploads: upload::Budget,
    /// Permits for manifests that are read at the same time.
    reading: Semaphore,
}

/// The parts of a gateway.
#[derive(Debug)]
pub struct Assembly {
    /// The URL for clients.
    pub public_url: Url,
    /// The URL for partners, if they have a listener of their own.
    pub gateway_url: Option<Url>,
    /// The edge of HTTP.
    pub edge: Edge,
    /// Its roles between communities.
    pub xc_wado: XcWadoSettings,
    /// The certificates and tokens of partners and members.
    pub access: Access,
    /// The links to manifests.
    pub links: Links,
    /// The sources.
    pub registry: Registry,
    /// The registered manifests.
    pub library: Library,
    /// Fetches instances.
    pub retriever: Retriever,
    /// `Cache-Control` of responses with instances.
    pub cache_control: CacheControl,
    /// Decodes and renders frames.
    pub decoders: Pool,
    /// The memory for responses.
    pub limits: budget::Settings,
    /// Origins whose pages may read responses.
    pub cors: CorsSettings,
    /// Viewers for hand-offs.
    pub viewers: ViewersSettings,
    /// Counts.
    pub metrics: Metrics,
}

/// Settings that apply to a request before its transaction is known.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Trusted proxies.
    pub proxies: Proxies,
    /// Host names of the gateway besides those in its URLs.
    pub names: Vec<HostName>,
    /// Most bytes of a request's head.
    pub largest_head: usize,
    /// The slowest pace of an upload.
    pub uploads: UploadPace,
}

impl Gateway {
    /// A gateway in front of these sources and manifests.
    #[must_use]
    pub fn new(assembly: Assembly) -> Self {
        let url_of = |url| Arc::new(PublicUrl::new(url));
        let public_url = url_of(&assembly.public_url);
        let partners_url = assembly.gateway_url.as_ref().map(url_of);
        let hosts = |url| Hosts::new(url, &assembly.edge.names);
        let gateway_url = assembly.gateway_url.as_ref();
        let gateway = Self {
            hosts: hosts(&assembly.public_url),
            partner_hosts: hosts(gateway_url.unwrap_or(&assembly.public_url)),
            largest_head: assembly.edge.largest_head,
            partners_url: partners_url.unwrap_or_else(|| Arc::clone(&public_url)),
            public_url,
            proxies: assembly.edge.proxies,
            grammar: assembly.xc_wado.grammar(),
            pseudonym: Pseudonym::of(assembly.registry.home_community_id()),
            xc_wado: assembly.xc_wado,
            access: assembly.access,
            links: Arc::new(assembly.links),
            registry: Arc::new(assembly.registry),
            library: Arc::new(assembly.library),
            streams: PerClient::new(assembly.retriever.streams_per_client()),
            retriever: assembly.retriever,
            decoders: assembly.decoders,
            budget: Budget::new(&assembly.limits, assembly.metrics.budget()),
            cors: assembly.cors,
            viewers: assembly.viewers,
            cache_control: assembly.cache_control.0,
            metrics: assembly.metrics,
            uploads: upload::Budget::new(assembly.edge.uploads),
            reading: Semaphore::new(2),
        };
        gateway.count_manifests();
        gateway.forget_elsewhere();
        gateway
    }

    /// Most bytes of a request's head.
    #[must_use]
    pub fn largest_head(&self) -> usize {
        self.largest_head
    }

    /// The time without a read by its client after which a response ends.
    #[must_use]
    pub fn client_silence(&self) -> Duration {
        self.retriever.client_silence()
    }

    /// Begins the tasks beside requests: they reload credentials, and evict instances that are too
    /// old.
    pub fn watch(&self) {
        self.registry.watch(&self.metrics);
        self.access.watch(&self.metrics);
        self.retriever.cache().watch();
    }

    /// Answers one request.
    pub async fn answer<B>(&self, peer: &Peer, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let route = self.route(peer, &head.headers);
        let admitted = self.admit_on(peer, &head, &route);
        if peer.door == Door::Public
            && admitted.is_ok()
            && let Some(mut response) = self.cors.preflight(&head.method, &head.headers)
        {
            self.cors.mark(&head.headers, response.headers_mut());
            return response;
        }
        let stream = self.streams.take(Client::at(route.client), 1);
        let addressed = admitted.and_then(|()| self.address(peer, &head, &route));
        let transaction = self.observed(&head.method, addressed.as_ref());
        let (exchange, outcome) = match addressed {
            Ok(addressed) => match self.identify(peer, &head, &route, &addressed).await {
                Ok(exchange) if stream.is_none() => (Some(exchange), Err(Error::TooManyAnswers)),
                Ok(exchange) => {
                    let outcome = self.respond(&exchange, addressed, body).await;
                    (Some(exchange), outcome)
                }
                Err(error) => (None, Err(error)),
            },
            Err(error) => (None, Err(error)),
        };
        let mut response = outcome.unwrap_or_else(|error| {
            self.way_to_login(&head, &route, &error)
                .unwrap_or_else(|| self.refuse(peer, &route, &error))
        });
        harden(response.headers_mut(), exchange.as_ref());
        if peer.door == Door::Public {
            let policy = self.cors.resource_policy();
            response.headers_mut().insert(RESOURCE_POLICY, policy);
            self.cors.mark(&head.headers, response.headers_mut());
        }
        let observed = Observed {
            transaction,
            method: head.method.clone(),
            began,
            exchange: exchange.as_ref(),
        };
        let revocation = exchange.as_ref().and_then(|exchange| {
            let headers = exchange.headers();
            self.access.revocation(&exchange.caller, headers)
        });
        let response = response.map(|body| match revocation {
            Some(revoked) => body.until(revoked),
            None => body,
        });
        let response = observed.observe(&self.metrics, response);
        response.map(|body| body.watched(|_bytes| {}, move |_bytes, _end| drop(stream)))
    }

    /// The kind of a request, for operators.
    fn observed(&self, method: &Method, addressed: Result<&Addressed, &Error>) -> Transaction {
        let Ok(addressed) = addressed else {
            return Transaction::Other;
        };
        let resource = addressed.resource.as_ref();
        Transaction::of(method, resource, |community| self.is_ours(community))
    }

    /// The transaction of a resource and a method.
    async fn respond<B>(
        &self,
        exchange: &Exchange<'_>,
        addressed: Addressed,
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let resource = addressed.resource?;
        match (&exchange.head.method, resource) {
            (&Method::GET | &Method::HEAD, resource) => {
                self.read_resource(exchange, resource).await
            }
            (&Method::POST, Resource::Manifests) => self.register(exchange, body).await,
            (&Method::DELETE, Resource::Manifest(id)) => self.forget(id).await,
            (&Method::POST, Resource::Logout) => self.log_out(exchange),
            (&Method::POST, Resource::Unlock(token)) => self.unlock(exchange, &token, body).await,
            (&Method::POST, Resource::Links(id)) => self.make_link(exchange, id, body).await,
            (&Method::DELETE, Resource::Link(id, link)) => self.revoke_link(id, &link).await,
            (&Method::OPTIONS, Resource::Root(root)) => self.capabilities(exchange, root).await,
            (&Method::OPTIONS, Resource::XcWado(request))
                if self.is_ours(&request.home_community_id) =>
            {
                let mut response = self.xc_wado_capabilities(exchange, &request)?;
                allow(&mut response, METHODS_OF_XC_WADO);
                Ok(response)
            }
            (&Method::OPTIONS, resource) => Ok(methods_of(&resource)),
            (_, resource) => Err(Error::Method(methods(&resource))),
        }
    }

    async fn read_resource(
        &self,
        exchange: &Exchange<'_>,
        resource: Resource,
    ) -> Result<Response<Body>, Error> {
        match resource {
            Resource::Manifests => self.list(exchange).await,
            Resource::Manifest(id) => self.show(exchange, id).await,
            Resource::Links(id) => Ok(self.list_links(id)),
            Resource::Link(..) | Resource::Unlock(_) | Resource::Logout => {
                Err(Error::Method(methods(&resource)))
            }
            Resource::FirstPage => self.first_page(exchange),
            Resource::Login => self.login(exchange).await,
            Resource::LoggedIn => self.logged_in(exchange).await,
            Resource::ProtectedResource => Ok(self.protected_resource(exchange)),
            Resource::Viewers(id) => self.viewers(exchange, id).await,
            Resource::Viewer(id, viewer) => self.viewer(exchange, id, viewer).await,
            Resource::Root(root) => self.capabilities(exchange, root).await,
            Resource::Search(root, scope) => self.search(exchange, root, &scope).await,
            Resource::Retrieve(root, target) => self.retrieve(exchange, root, &target).await,
            Resource::Wado(root) => self.wado_uri(exchange, root).await,
            Resource::Derive(root, target, sub_resource) => {
                self.sub_resource(exchange, root, &target, &sub_resource)
                    .await
            }
            Resource::XcWado(request) => self.xc_wado(exchange, &request).await,
        }
    }

    /// The response to a request that is not granted. An attempt without the right is a security
    /// event.
    fn refuse(&self, peer: &Peer, route: &Route, error: &Error) -> Response<Body> {
        if let Some(bound) = error.bound() {
            self.metrics.refused.with_label_values(&[bound]).inc();
        }
        self.tell(peer, route.client, error);
        let mut response = error.response();
        challenge(&mut response, error, &route.public_url);
        response
    }

    fn tell(&self, peer: &Peer, client: IpAddr, error: &Error) {
        if let Some(event) = error.event() {
            observe::security_event(&self.metrics, event, peer, client);
        }
    }
}

/// The methods of a resource.
fn methods(resource: &Resource) -> &'static str {
    match resource {
        Resource::Manifests => "GET, HEAD, POST",
        Resource::Links(_) => "GET, HEAD, POST",
        Resource::Link(..) => "DELETE",
        Resource::Unlock(_) | Resource::Logout => "POST",
        Resource::Manifest(_) => "GET, HEAD, DELETE",
        Resource::Root(_) => "GET, HEAD, OPTIONS",
        Resource::Viewers(_)
        | Resource::Viewer(..)
        | Resource::ProtectedResource
        | Resource::FirstPage
        | Resource::Login
        | Resource::LoggedIn
        | Resource::Search(..)
        | Resource::Wado(_)
        | Resource::Retrieve(..)
        | Resource::Derive(..) => "GET, HEAD",
        Resource::XcWado(_) => METHODS_OF_XC_WADO,
    }
}

const METHODS_OF_XC_WADO: &str = "GET, HEAD, OPTIONS";

/// The response to `OPTIONS` (RFC 9110 9.3.7).
fn methods_of(resource: &Resource) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    allow(&mut response, methods(resource));
    response
}
