//! Who sends a request, by its certificate, its token, its session, or the link that its path is below;
//! and what it may do.

mod login;
mod permission;
mod protected;

use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use http::request::Parts;
use tokio::task::spawn_blocking;

use crate::access::{self, Caller, Door, Entry, Grant, Peer};
use crate::budget::Client;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::forwarded::Route;
use crate::gateway::{Error, Gateway};
use crate::hop::Hop;
use crate::library::{View, now};
use crate::random;
use crate::request::{self, LinkPath, Resource};
use crate::source::Source;

pub use permission::{manifest_of, transaction};
pub(crate) use protected::challenge;

/// The resource of a request, and the link that its path is below.
pub(crate) struct Addressed {
    pub(crate) resource: Result<Resource, request::Error>,
    link: Option<Linked>,
}

/// A link that exists and is open.
struct Linked {
    grant: Arc<Grant>,
    token: String,
}

impl Gateway {
    /// The resource of a request. Below a link, it is one of the link's manifest.
    ///
    /// # Errors
    /// If the link does not let the client in.
    pub(crate) fn address(
        &self,
        peer: &Peer,
        head: &Parts,
        route: &Route,
    ) -> Result<Addressed, Error> {
        let path = route.public_url.below_prefix(head.uri.path());
        let query = head.uri.query();
        let below_link = LinkPath::parse(path).filter(|_| peer.door == Door::Public);
        let Some(link) = below_link else {
            return Ok(Addressed {
                resource: self.grammar.resource(path, query),
                link: None,
            });
        };
        if link.is_lock() {
            return Ok(Addressed {
                resource: Ok(Resource::Unlock(link.token.into())),
                link: None,
            });
        }
        let grant = self.enter(&link, Client::at(route.client))?;
        let path = format!("/manifests/{}{}", grant.manifest, link.rest);
        let resource = match self.grammar.resource(&path, query) {
            // A link cannot make links.
            Ok(Resource::Links(_) | Resource::Link(..)) => Err(request::Error::Unknown),
            resource => resource,
        };
        let token = link.token.to_owned();
        Ok(Addressed {
            resource,
            link: Some(Linked { grant, token }),
        })
    }

    fn enter(&self, link: &LinkPath<'_>, client: Client) -> Result<Arc<Grant>, Error> {
        match self.links.enter(link.token, client, now()) {
            Entry::Open(grant) => Ok(grant),
            Entry::First(grant) => {
                let (links, first) = (Arc::clone(&self.links), Arc::clone(&grant));
                spawn_blocking(move || links.note(&first));
                Ok(grant)
            }
            Entry::Locked => Err(Error::Locked),
            Entry::None => Err(Error::NotFound),
        }
    }

    /// Identifies the sender of a request, and what it may see.
    pub(crate) async fn identify<'a>(
        &self,
        peer: &Peer,
        head: &'a Parts,
        route: &Route,
        addressed: &Addressed,
    ) -> Result<Exchange<'a>, Error> {
        let link = addressed.link.as_ref();
        let caller = match link {
            Some(link) => Caller::Link(Arc::clone(&link.grant)),
            None => self.caller(peer, &head.headers).await?,
        };
        let view = match &addressed.resource {
            Ok(resource) => self.permitted(&caller, peer.door, head, resource),
            Err(_) => Ok(View::nothing()),
        };
        let view = view.map_err(|refused| self.for_caller(refused, &caller, peer.door))?;
        let random = random::bytes().map_err(|_no_random| Error::Internal)?;
        let hop = Hop::read(&head.headers, &self.pseudonym, random)?;
        let link_url = link.map(|link| format!("{}/link/{}", route.public_url.url, link.token));
        Ok(Exchange {
            head,
            caller,
            view,
            link_url,
            door: peer.door,
            public_url: Arc::clone(&route.public_url),
            hop: Arc::new(hop),
            user: OnceLock::new(),
            account: self.budget.account(Client::at(route.client)),
        })
    }

    /// A source as it is for the sender of a request: a source that decides for each user is the
    /// user's own.
    pub(crate) fn as_caller(&self, exchange: &Exchange<'_>, source: Arc<Source>) -> Arc<Source> {
        if !source.is_per_user() {
            return source;
        }
        let user = exchange.user.get_or_init(|| {
            let here = self.registry.home_community_id();
            let user = self.access.user(&exchange.caller, exchange.headers(), here);
            Arc::new(user)
        });
        Arc::new(source.of_user(user))
    }

    async fn caller(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Error> {
        let caller = self.access.identify(peer, headers).await?;
        let is_nobody = matches!(caller, Caller::Member { .. });
        let person =
            (is_nobody && peer.door == Door::Public && self.access.rules(peer.door).is_some())
                .then(|| self.person(headers))
                .flatten();
        Ok(person.unwrap_or(caller))
    }

    /// Whoever is not identified is asked to identify itself, whatever it is that it may not do.
    fn for_caller(&self, refused: Error, caller: &Caller, door: Door) -> Error {
        let is_unknown = matches!(caller, Caller::Member { .. });
        match is_unknown && door == Door::Public && self.access.rules(door).is_some() {
            true => access::Error::Unidentified.into(),
            false => refused,
        }
    }
}
