//! Another community's gateway as a source: *Cross-Community WADO-RS Retrieve* (RAD-160) of IHE
//! XC-WADO, on the side of the initiating imaging gateway.
//!
//! A responding imaging gateway must offer *Get Instances* only, and no other transaction is used
//! here.

use std::sync::Arc;

use http::header::HeaderValue;
use http::{StatusCode, Uri};
use serde::Deserialize;
use url::Url;

use super::addresses::{Addresses, Question, SourceAnswer};
use super::breaker::{Object, Subject};
use super::client::{Client, User};
use super::seats::Seats;
use super::wado_rs::{PartReader, check_status};
use super::{
    Error, Freshness, InstanceRequest, Kind, NOWHERE, Representation, Source, Terms, key,
    short_hash,
};
use crate::hop::Hop;
use crate::ihe::{HomeCommunityId, Location, RetrieveLocationUid};
use crate::metrics::Metrics;
use crate::resource::Offer;

/// The responding imaging gateway of another community.
#[derive(Debug, Clone)]
pub struct RespondingGateway {
    alias: Arc<str>,
    /// The URLs before `homeCommunityId/`, with a slash at the end. Clones share the breakers.
    bases: Arc<Addresses<Url>>,
    home_community_id: HomeCommunityId,
    /// The prefix of the keys of all its locations (see [`Source::key`]).
    key: Arc<str>,
    client: Client,
    freshness: Freshness,
    seats: Seats,
    is_per_user: bool,
}

/// A location behind such a gateway.
#[derive(Debug)]
pub struct XcWado {
    gateway: RespondingGateway,
    location: Location,
}

impl RespondingGateway {
    /// The gateway of a community at `base`, with these terms.
    #[must_use]
    pub fn new(
        alias: &str,
        base: Url,
        home_community_id: HomeCommunityId,
        client: Client,
        terms: Terms,
    ) -> Self {
        let address = format!("xc-wado {base} {home_community_id}");
        Self {
            alias: alias.into(),
            key: short_hash(&address).into(),
            bases: Arc::new(Addresses::new(base)),
            home_community_id,
            client,
            freshness: terms.freshness,
            seats: Seats::new(terms),
            is_per_user: terms.is_per_user,
        }
    }

    /// Adds further addresses of the same gateway.
    #[must_use]
    pub fn also_at(mut self, bases: impl IntoIterator<Item = Url>) -> Self {
        let shared = Arc::get_mut(&mut self.bases).expect("it has not been cloned yet");
        shared.extend(bases);
        self
    }

    /// A location behind it as a source. All locations share the gateway's connections.
    #[must_use]
    pub fn source(&self, location: Location) -> Source {
        Source {
            alias: Arc::clone(&self.alias),
            key: key(&self.key, &location_key(&location)).into(),
            kind: Kind::XcWado(Box::new(XcWado {
                gateway: self.clone(),
                location,
            })),
            freshness: self.freshness,
            seats: self.seats.clone(),
            is_per_user: self.is_per_user,
            user: None,
        }
    }

    /// The prefix of the keys of all its locations (see [`Source::key`]).
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The URLs of a location, up to `studies`.
    #[must_use]
    pub fn roots(&self, location: &Location) -> Vec<Url> {
        let path = location.xc_wado_path(&self.home_community_id);
        let root = |base| Url::parse(&format!("{base}{path}/")).ok();
        self.bases.iter().filter_map(root).collect()
    }

    /// Whether it decides for each user.
    #[must_use]
    pub fn is_per_user(&self) -> bool {
        self.is_per_user
    }

    /// Its alias in metrics and logs.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// Its addresses, in the order of the settings, at least one.
    pub fn bases(&self) -> impl Iterator<Item = &Url> {
        self.bases.iter()
    }

    /// Watches its credentials, and reports its breakers.
    pub fn watch(&self, metrics: &Metrics) {
        self.client.watch(metrics);
        self.bases.watch(&self.alias, metrics);
    }

    /// Its HTTP client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it answers at one of its addresses and accepts us, regardless of its breaker; for
    /// operators.
    ///
    /// # Errors
    /// The error of the request.
    pub async fn probe(&self, base: &Url) -> Result<(), Error> {
        let uri = self.nowhere(base)?;
        let response = self
            .client
            .get(&uri, &HeaderValue::from_static("*/*"), None, None)
            .await?;
        match response.status {
            // It has no such resource, and tells an authenticated client so.
            StatusCode::NOT_FOUND => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.client.is_per_user() => Ok(()),
            StatusCode::FORBIDDEN => Err(Error::Forbidden),
            status if status.is_success() => Err(Error::Malformed("it has what nobody has")),
            status => Err(Error::Status(status.as_u16())),
        }
    }

    fn nowhere(&self, base: &Url) -> Result<Uri, Error> {
        let nowhere = Location {
            retrieve_location_uid: RetrieveLocationUid::parse(NOWHERE).ok(),
            ..Location::default()
        };
        self.uri(base, &nowhere, [&format!("studies/{NOWHERE}"), ""])
    }

    /// The canonical form of the URL in XC-WADO Rev 1.2.
    fn uri(&self, base: &Url, location: &Location, [path, query]: [&str; 2]) -> Result<Uri, Error> {
        let url = location.xc_wado_query();
        let query = [url.as_deref().unwrap_or(""), query];
        let root = location.xc_wado_path(&self.home_community_id);
        let query: Vec<&str> = query.into_iter().filter(|part| !part.is_empty()).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        let query = query.join("&");
        format!("{base}{root}/{path}{separator}{query}")
            .parse()
            .map_err(|_invalid| Error::Unreachable)
    }
}

impl XcWado {
    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> &RespondingGateway {
        &self.gateway
    }

    pub(super) fn of_user(&self, user: &Arc<User>) -> Self {
        let client = self.gateway.client.of_user(Arc::clone(user));
        Self {
            gateway: RespondingGateway {
                client,
                ..self.gateway.clone()
            },
            location: self.location.clone(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.gateway.client
    }

    /// Its key among the locations of the community.
    pub(super) fn key(&self) -> String {
        location_key(&self.location)
    }

    pub(super) async fn fetch(&self, ask: &InstanceRequest<'_>) -> Result<PartReader, Error> {
        let accept = ask.representation.accept();
        let path = ask.target.path();
        let gateway = &self.gateway;
        let question = Question {
            subject: Subject {
                object: self.object([&path, ""]),
                is_repair: ask.is_repair,
            },
            uri: &|base| gateway.uri(base, &self.location, [&path, ""]),
            accept: &accept,
            had: ask.had,
            hop: ask.hop,
            probe: &|base| gateway.nowhere(base),
        };
        let asked = gateway.bases.get(&gateway.client, &question);
        match PartReader::of(asked.await?, ask.representation) {
            Err(Error::Status(403)) => Err(Error::Forbidden),
            fetched => fetched,
        }
    }

    /// Sends a request for a path and query of this location to the gateway.
    pub(super) async fn get(
        &self,
        below: [&str; 2],
        accept: &HeaderValue,
        hop: Option<&Hop>,
    ) -> Result<SourceAnswer, Error> {
        let gateway = &self.gateway;
        let question = Question {
            subject: Subject {
                object: self.object(below),
                is_repair: false,
            },
            uri: &|base| gateway.uri(base, &self.location, below),
            accept,
            had: None,
            hop,
            probe: &|base| gateway.nowhere(base),
        };
        gateway.bases.get(&gateway.client, &question).await
    }

    /// What the gateway offers of the location besides instances, as its answer to `OPTIONS` tells
    /// (docs/CONFORMANCE.md).
    ///
    /// # Errors
    /// The error of the request, or [`Error::Malformed`] if the answer does not tell.
    pub async fn offers(&self, hop: &Hop) -> Result<Vec<Offer>, Error> {
        const UNTOLD: Error = Error::Malformed("it does not tell what is offered");
        let gateway = &self.gateway;
        let below = format!("studies/{NOWHERE}");
        let mut outcome = Err(Error::Unreachable);
        for base in gateway.bases.iter() {
            let uri = gateway.uri(base, &self.location, [&below, ""])?;
            outcome = gateway.client.options(&uri, hop).await;
            if outcome.is_ok() {
                break;
            }
        }
        let response = outcome?;
        check_status(&response, Representation::AsStored)?;
        let text = response.body.collect(MOST_TOLD).await?;
        let told: Told = serde_json::from_slice(&text).map_err(|_other| UNTOLD)?;
        let offers = told.offers.iter().filter_map(|name| Offer::named(name));
        Ok(offers.collect())
    }

    /// The location within the community.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    fn object(&self, [path, query]: [&str; 2]) -> Object {
        Object::at(&[&self.key(), path, query])
    }
}

/// The part of the answer to `OPTIONS` that is read.
#[derive(Debug, Deserialize)]
struct Told {
    offers: Vec<String>,
}

/// Most bytes of that answer.
const MOST_TOLD: usize = 64 << 10;

/// The key of a location among those of its community.
fn location_key(location: &Location) -> String {
    let uid = location.retrieve_location_uid.as_ref();
    let uid = uid.map_or("", |uid| uid.as_str());
    format!("{uid} {}", location.retrieve_url.as_deref().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::client::Settings;

    fn address(uid: Option<&str>, url: Option<&str>, path: &str, query: &str) -> String {
        let client = Client::new("b", &Settings::default()).expect("a client");
        let base = Url::parse("https://gateway.example.org/wado-rs/").expect("a URL");
        let community = HomeCommunityId::parse("5.6.7.8").expect("an OID");
        let gateway =
            RespondingGateway::new("b", base.clone(), community, client, Terms::default());
        let location = Location {
            retrieve_location_uid: uid.map(|uid| RetrieveLocationUid::parse(uid).expect("a UID")),
            retrieve_url: url.map(Into::into),
            retrieve_ae_title: None,
        };
        let uri = gateway.uri(&base, &location, [path, query]);
        uri.expect("an address").to_string()
    }

    #[test]
    fn writes_the_canonical_form() {
        const ROOT: &str = "https://gateway.example.org/wado-rs/homeCommunityId/5.6.7.8/";
        assert_eq!(
            address(Some("1.2.3"), None, "studies/1.2.4", ""),
            format!("{ROOT}RetrieveLocationUID/1.2.3/studies/1.2.4")
        );
        let url = Some("https://hostname/DICOMweb-RS/");
        let escaped = "retrieveURL=https%3A%2F%2Fhostname%2FDICOMweb-RS%2F";
        assert_eq!(
            address(Some("1.2.3"), url, "studies/1.2.4", ""),
            format!("{ROOT}RetrieveLocationUID/1.2.3/studies/1.2.4?{escaped}")
        );
        assert_eq!(
            address(None, url, "studies/1.2.4", "viewport=1%2C2"),
            format!("{ROOT}studies/1.2.4?{escaped}&viewport=1%2C2")
        );
    }
}
