//! The story of a request: what is asked becomes what is selected, where it is, and an answer.

mod all_values;
mod answer;
mod bulkdata;
mod capabilities;
mod coding;
mod conditional;
mod cors;
mod derive;
mod documents;
mod error;
mod forget;
mod forward;
mod frames;
mod front;
mod heads;
mod holding;
mod hosts;
mod known;
mod manifests;
mod material;
mod metadata;
mod observe;
mod offered;
mod one;
mod per_client;
mod place;
mod rendered;
mod search;
mod summary;
mod syntax;
mod upload;
mod viewers;
mod wado_uri;
mod xc_wado;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, HeaderName, HeaderValue, WARNING};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

pub use cors::Settings as CorsSettings;
pub use error::Error;
pub use forget::Forgotten;
pub use front::Proxies;
pub use hosts::{HostName, InvalidHost, NotAHostName};
pub use upload::UploadPace;
pub use viewers::Settings as ViewersSettings;
pub use xc_wado::Settings as XcWadoSettings;

use crate::access::{Access, Caller, Door, Peer};
use crate::body::Body;
use crate::budget::{self, Account, Budget, Client};
use crate::cache::CacheControl;
use crate::community::Registry;
use crate::hop::{self, Hop, Pseudonym};
use crate::instance::Target;
use crate::manifest::{Holding, SeriesSelection, Store};
use crate::metrics::Metrics;
use crate::multipart::Boundary;
use crate::pixels::Pool;
use crate::request::{Acceptable, Grammar, Resource, Root};
use crate::retrieve::{Job, Plan, Retriever};
use crate::source::Source;
use front::{Front, Seen};
use hosts::Hosts;
use observe::{Observed, Transaction};
use per_client::PerClient;

/// Said where all manifests are one.
const LEFT_OUT: &str = "299 xcwado \"manifests that name another patient are left out\"";
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// What answers requests on the public listener and on that for partners. Built once; everything
/// that changes has an owner inside.
#[derive(Debug)]
pub struct Gateway {
    /// How clients reach us.
    public: Arc<Front>,
    /// How partners reach us; the same unless they have a listener of their own.
    partners: Arc<Front>,
    /// Who may say otherwise.
    proxies: Proxies,
    /// The names that clients call us by.
    hosts: Hosts,
    /// The names that partners call us by.
    partner_hosts: Hosts,
    /// Bytes of a request's head.
    largest_head: usize,
    grammar: Grammar,
    pseudonym: Pseudonym,
    xc_wado: XcWadoSettings,
    access: Access,
    registry: Arc<Registry>,
    manifests: Arc<Store>,
    retriever: Retriever,
    /// Answers under way.
    streams: PerClient,
    decoders: Pool,
    budget: Budget,
    cors: CorsSettings,
    viewers: ViewersSettings,
    cache_control: HeaderValue,
    metrics: Metrics,
    uploads: upload::Room,
    /// Manifests that are read at the same time.
    reading: Semaphore,
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct Assembly {
    /// How viewers reach it.
    pub public_url: Url,
    /// How partners reach it, if they have a listener of their own.
    pub gateway_url: Option<Url>,
    /// What goes for requests before anything is known of them.
    pub edge: Edge,
    /// The roles it plays between communities.
    pub xc_wado: XcWadoSettings,
    /// Who partners are.
    pub access: Access,
    /// Where images are.
    pub registry: Registry,
    /// What is registered.
    pub manifests: Store,
    /// What fetches.
    pub retriever: Retriever,
    /// `Cache-Control` of answers with instances.
    pub cache_control: CacheControl,
    /// What makes samples and pictures of frames.
    pub decoders: Pool,
    /// Memory for answers that are no streams.
    pub limits: budget::Settings,
    /// Whose pages may read.
    pub cors: CorsSettings,
    /// Viewers that manifests are handed to.
    pub viewers: ViewersSettings,
    /// What counts.
    pub metrics: Metrics,
}

/// What goes for requests before anything is known of them.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Proxies that are believed how clients reach us.
    pub proxies: Proxies,
    /// Names that clients call us by, besides those in our URLs.
    pub names: Vec<HostName>,
    /// Bytes of a request's head.
    pub largest_head: usize,
    /// How slowly bodies of requests may come.
    pub uploads: UploadPace,
}

/// Who asks, and on what way.
#[derive(Debug)]
struct Asking {
    caller: Caller,
    door: Door,
    front: Arc<Front>,
    hop: Arc<Hop>,
    /// Where memory for the answer comes from.
    account: Account,
}

impl Gateway {
    /// A gateway in front of these sources and manifests.
    #[must_use]
    pub fn new(assembly: Assembly) -> Self {
        let front = |url| Arc::new(Front::new(url));
        let public = front(&assembly.public_url);
        let partners = assembly.gateway_url.as_ref().map(front);
        let hosts = |url| Hosts::new(url, &assembly.edge.names);
        let gateway_url = assembly.gateway_url.as_ref();
        let gateway = Self {
            hosts: hosts(&assembly.public_url),
            partner_hosts: hosts(gateway_url.unwrap_or(&assembly.public_url)),
            largest_head: assembly.edge.largest_head,
            partners: partners.unwrap_or_else(|| Arc::clone(&public)),
            public,
            proxies: assembly.edge.proxies,
            grammar: assembly.xc_wado.grammar(),
            pseudonym: Pseudonym::of(assembly.registry.home_community_id()),
            xc_wado: assembly.xc_wado,
            access: assembly.access,
            registry: Arc::new(assembly.registry),
            manifests: Arc::new(assembly.manifests),
            streams: PerClient::new(assembly.retriever.streams_per_client()),
            retriever: assembly.retriever,
            decoders: assembly.decoders,
            budget: Budget::new(&assembly.limits, assembly.metrics.budget()),
            cors: assembly.cors,
            viewers: assembly.viewers,
            cache_control: assembly.cache_control.0,
            metrics: assembly.metrics,
            uploads: upload::Room::new(assembly.edge.uploads),
            reading: Semaphore::new(2),
        };
        gateway.count_manifests();
        gateway.forget_elsewhere();
        gateway
    }

    /// Bytes that the head of a request may have.
    #[must_use]
    pub fn largest_head(&self) -> usize {
        self.largest_head
    }

    /// For how long a client may take nothing of its answer.
    #[must_use]
    pub fn client_silence(&self) -> Duration {
        self.retriever.client_silence()
    }

    /// Begins what goes on beside requests: looking at the credentials for other servers,
    /// and dropping what has been kept too long.
    pub fn watch(&self) {
        self.registry.watch(&self.metrics);
        self.retriever.cache().watch();
    }

    /// Answers one request, whatever it is.
    pub async fn answer<B>(&self, peer: &Peer, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let seen = self.seen(peer, &head.headers);
        let admitted = self.admit_seen(peer, &head, &seen);
        let path = seen.front.below_prefix(head.uri.path());
        let resource = self.grammar.resource(path, head.uri.query());
        let transaction = Transaction::of(&head.method, resource.as_ref(), |community| {
            self.is_ours(community)
        });
        if peer.door == Door::Public
            && admitted.is_ok()
            && let Some(mut response) = self.cors.preflight(&head.method, &head.headers)
        {
            self.cors.mark(&head.headers, response.headers_mut());
            return response;
        }
        let client = Client::at(seen.client);
        let stream = self.streams.take(client, 1);
        let asking = admitted.and_then(|()| self.asking(peer, &head, &seen));
        let (asking, outcome) = match asking {
            Ok(asking) if stream.is_none() => (Some(asking), Err(Error::TooManyAnswers)),
            Ok(asking) => {
                let outcome = match resource {
                    Ok(resource) => self.respond(&head, &asking, resource, body).await,
                    Err(error) => Err(error.into()),
                };
                (Some(asking), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        let mut response = outcome.unwrap_or_else(|error| self.refusal(peer, seen.client, &error));
        harden(response.headers_mut(), asking.as_ref());
        if peer.door == Door::Public {
            self.cors.mark(&head.headers, response.headers_mut());
        }
        let observed = Observed {
            transaction,
            method: head.method,
            began,
            asking: asking.as_ref(),
        };
        let response = observed.observe(&self.metrics, response);
        response.map(|body| body.watched(|_bytes| {}, move |_bytes, _end| drop(stream)))
    }

    /// Who asks, and on what way.
    fn asking(&self, peer: &Peer, head: &Parts, seen: &Seen) -> Result<Asking, Error> {
        let caller = self.access.identify(peer, &head.headers)?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|_no_random| Error::Internal)?;
        let hop = Hop::read(&head.headers, &self.pseudonym, random)?;
        Ok(Asking {
            caller,
            door: peer.door,
            front: Arc::clone(&seen.front),
            hop: Arc::new(hop),
            account: self.budget.account(Client::at(seen.client)),
        })
    }

    async fn respond<B>(
        &self,
        head: &Parts,
        asking: &Asking,
        resource: Resource,
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        self.permit(asking, &resource)?;
        match (&head.method, resource) {
            (&Method::POST, Resource::Manifests) => self.register(head, asking, body).await,
            (&Method::GET | &Method::HEAD, Resource::Manifests) => self.list(head, asking).await,
            (&Method::GET | &Method::HEAD, Resource::Manifest(id)) => {
                self.show(head, asking, id).await
            }
            (&Method::DELETE, Resource::Manifest(id)) => self.forget(id).await,
            (&Method::GET | &Method::HEAD, Resource::Viewers(id)) => {
                self.viewers(head, asking, id).await
            }
            (&Method::GET | &Method::HEAD, Resource::Viewer(id, viewer)) => {
                self.viewer(asking, id, viewer).await
            }
            (&Method::OPTIONS, Resource::Root(root)) => self.capabilities(head, asking, root).await,
            (&Method::OPTIONS, resource) => Ok(methods_of(&resource)),
            (&Method::GET | &Method::HEAD, Resource::Search(root, scope)) => {
                self.search(head, asking, (root, &scope)).await
            }
            (&Method::GET | &Method::HEAD, Resource::Retrieve(root, target)) => {
                self.retrieve(head, asking, root, &target).await
            }
            (&Method::GET | &Method::HEAD, Resource::Wado(root)) => {
                self.wado_uri(head, asking, root).await
            }
            (&Method::GET | &Method::HEAD, Resource::Derive(root, target, resource)) => {
                self.derive(head, asking, root, (&target, &resource)).await
            }
            (&Method::GET | &Method::HEAD, Resource::XcWado(request)) => {
                self.xc_wado(head, asking, &request).await
            }
            (_, resource) => Err(Error::Method(methods(&resource))),
        }
    }

    /// Partners get RAD-160 and nothing else; so does everybody on their listener.
    fn permit(&self, asking: &Asking, resource: &Resource) -> Result<(), Error> {
        match (resource, asking.door, &asking.caller) {
            (Resource::XcWado(_), _, _) | (_, Door::Public, Caller::Member { .. }) => Ok(()),
            (_, Door::Gateway, _) => Err(Error::NotFound),
            (_, Door::Public, Caller::Partner(_)) => Err(Error::PartnersOnlyRetrieve),
        }
    }

    /// *Retrieve Instances* (PS3.18 10.4) out of what a manifest selects.
    async fn retrieve(
        &self,
        head: &Parts,
        asking: &Asking,
        root: Root,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let acceptable = acceptable(head, target)?;
        let holding = self.holding(root, target.study()).await?;
        let plan = self.plan(&holding, target, asking)?;
        let place = asking.root_place(root);
        let mut response = if heads::is_of_many(head, target) {
            let location = place.of(target);
            self.head_of_instances(head, &plan, &location, acceptable.payload)?
        } else {
            let retrieval = self.fetch(plan, &acceptable.syntaxes, asking).await?;
            let answer = self.instances(head, (retrieval, acceptable), place, target);
            answer.await?
        };
        if holding.excluded(target.study()) > 0 {
            let warning = HeaderValue::from_static(LEFT_OUT);
            response.headers_mut().append(WARNING, warning);
        }
        let beyond = holding.declared_beyond(target);
        if beyond > 0 {
            let text = format!("299 xcwado \"{beyond} more instances are declared than listed\"");
            let warning = answer::value(&text)?;
            response.headers_mut().append(WARNING, warning);
        }
        Ok(response)
    }

    /// Which instances a target selects, and which source has them.
    fn plan(&self, holding: &Holding, target: &Target, asking: &Asking) -> Result<Plan, Error> {
        let mut plan = Plan::new(Arc::clone(&asking.hop));
        for (selected, source) in self.located(holding, target).ok_or(Error::NotFound)? {
            let (listing, only) = (selected.listing, selected.only);
            if listing.instances.is_empty() {
                continue;
            }
            match source {
                Some(source) => plan.jobs.push(Job {
                    source,
                    listing,
                    only,
                }),
                None => plan.not_locatable += only.map_or(listing.instances.len(), |_one| 1),
            }
        }
        let unlisted = holding.unlisted(target);
        if plan.jobs.is_empty() && plan.not_locatable == 0 && unlisted > 0 {
            return Err(Error::NotListed);
        }
        plan.not_locatable += unlisted;
        Ok(plan)
    }

    /// What a target selects, each with its source if one is configured; `None` if it is not listed.
    fn located<'a>(
        &self,
        holding: &'a Holding,
        target: &Target,
    ) -> Option<impl Iterator<Item = (SeriesSelection<'a>, Option<Arc<Source>>)>> {
        let selected = holding.select(target)?.into_iter();
        Some(selected.map(|selected| {
            let (locations, community) = (selected.locations, selected.community);
            let found = self.registry.resolve(locations, community);
            (selected, found.map(|(source, _via)| source))
        }))
    }

    /// Everything that a manifest selects.
    fn plan_of_all(&self, holding: &Holding, asking: &Asking) -> Result<Plan, Error> {
        let mut plan = Plan::new(Arc::clone(&asking.hop));
        for study in &holding.studies {
            let of_study = match self.plan(holding, &Target::Study(study.uid.clone()), asking) {
                Err(Error::NotListed) => continue,
                of_study => of_study?,
            };
            plan.jobs.extend(of_study.jobs);
            plan.not_locatable += of_study.not_locatable;
        }
        Ok(plan)
    }

    /// The answer to what is not granted. What somebody tried without the right to is an event.
    fn refusal(&self, peer: &Peer, client: IpAddr, error: &Error) -> Response<Body> {
        if let Some(bound) = error.bound() {
            self.metrics.refused.with_label_values(&[bound]).inc();
        }
        self.tell(peer, client, error);
        error.response()
    }

    fn tell(&self, peer: &Peer, client: IpAddr, error: &Error) {
        if let Some(event) = error.event() {
            observe::security_event(&self.metrics, event, peer, client);
        }
    }
}

/// The methods that a resource knows.
fn methods(resource: &Resource) -> &'static str {
    match resource {
        Resource::Manifests => "GET, HEAD, POST",
        Resource::Manifest(_) => "GET, HEAD, DELETE",
        Resource::Root(_) => "OPTIONS",
        Resource::Viewers(_)
        | Resource::Viewer(..)
        | Resource::Search(..)
        | Resource::Wado(_)
        | Resource::Retrieve(..)
        | Resource::Derive(..)
        | Resource::XcWado(_) => "GET, HEAD",
    }
}

/// The answer to `OPTIONS` (RFC 9110 9.3.7).
fn methods_of(resource: &Resource) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    allow(&mut response, methods(resource));
    response
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

fn boundary() -> Result<Boundary, Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_no_random| Error::Internal)?;
    Ok(Boundary::from_random(random))
}

fn harden(headers: &mut HeaderMap, asking: Option<&Asking>) {
    headers.extend(asking.map(|asking| (hop::REQUEST_ID, asking.hop.request_id.value())));
    headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn allow(response: &mut Response<Body>, methods: &'static str) {
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
}
