//! Another community's gateway as a source: *Cross-Community WADO-RS Retrieve* (RAD-160) of IHE
//! XC-WADO. The part of an initiating imaging gateway that speaks.
//!
//! A responding imaging gateway must offer *Get Instances* only, and nothing else is asked of it
//! here.

use std::sync::Arc;

use http::header::HeaderValue;
use http::{StatusCode, Uri};
use tokio::sync::Semaphore;
use url::Url;

use super::client::Client;
use super::wado_rs::Parts;
use super::{Ask, Error, Kind, Source};
use crate::ihe::{HomeCommunityId, Location, RetrieveLocationUid};

/// A location and study that nobody has, for a question that harms nobody (PS3.5 B.2: under 2.25
/// whoever draws a number owns it; nobody draws 0).
const NOWHERE: &str = "2.25.0";

/// The responding imaging gateway of another community.
#[derive(Debug, Clone)]
pub struct RespondingGateway {
    alias: Arc<str>,
    /// What stands before `homeCommunityId/`, with a slash at its end.
    base: Url,
    home_community_id: HomeCommunityId,
    client: Client,
    seats: Arc<Semaphore>,
}

/// A location behind such a gateway.
#[derive(Debug)]
pub struct XcWado {
    gateway: RespondingGateway,
    location: Location,
}

impl RespondingGateway {
    /// The gateway of a community at `base`, of which `connections` streams are asked at once.
    #[must_use]
    pub fn new(
        alias: &str,
        base: Url,
        home_community_id: HomeCommunityId,
        client: Client,
        connections: usize,
    ) -> Self {
        Self {
            alias: alias.into(),
            base,
            home_community_id,
            client,
            seats: Arc::new(Semaphore::new(connections.max(1))),
        }
    }

    /// A location behind it as a source. All of them share the gateway's connections.
    #[must_use]
    pub fn source(&self, location: Location) -> Source {
        Source {
            alias: Arc::clone(&self.alias),
            kind: Kind::XcWado(Box::new(XcWado {
                gateway: self.clone(),
                location,
            })),
            seats: Arc::clone(&self.seats),
        }
    }

    /// What the addresses of a location begin with, as far as `studies`.
    #[must_use]
    pub fn root(&self, location: &Location) -> Option<Url> {
        let path = location.xc_wado_path(&self.home_community_id);
        Url::parse(&format!("{}{path}/", self.base)).ok()
    }

    /// What it is called in metrics and logs.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// Where it is.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// What talks to it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it answers at all and knows us; for operators.
    ///
    /// # Errors
    /// What keeps it from answering.
    pub async fn probe(&self) -> Result<(), Error> {
        let nowhere = Location {
            retrieve_location_uid: RetrieveLocationUid::parse(NOWHERE).ok(),
            ..Location::default()
        };
        let uri = self.address(&nowhere, &format!("studies/{NOWHERE}"), &[])?;
        let response = self
            .client
            .get(&uri, &HeaderValue::from_static("*/*"), None)
            .await?;
        match response.status {
            // It has no such thing, and says so to us.
            StatusCode::NOT_FOUND => Ok(()),
            StatusCode::FORBIDDEN => Err(Error::Forbidden),
            status if status.is_success() => Err(Error::Malformed("it has what nobody has")),
            status => Err(Error::Status(status.as_u16())),
        }
    }

    fn address(&self, location: &Location, path: &str, query: &[&str]) -> Result<Uri, Error> {
        let root = location.xc_wado_path(&self.home_community_id);
        let query: Vec<&str> = query
            .iter()
            .copied()
            .filter(|part| !part.is_empty())
            .collect();
        let separator = if query.is_empty() { "" } else { "?" };
        let (base, query) = (&self.base, query.join("&"));
        format!("{base}{root}/{path}{separator}{query}")
            .parse()
            .map_err(|_invalid| Error::Unreachable)
    }
}

impl XcWado {
    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> &Url {
        &self.gateway.base
    }

    pub(super) fn client(&self) -> &Client {
        &self.gateway.client
    }

    pub(super) async fn fetch(&self, ask: &Ask<'_>) -> Result<Parts, Error> {
        let uri = self.address(&ask.target.path(), "")?;
        match Parts::fetch(&self.gateway.client, &uri, ask).await {
            Err(Error::Status(403)) => Err(Error::Forbidden),
            fetched => fetched,
        }
    }

    pub(super) async fn probe(&self) -> Result<(), Error> {
        self.gateway.probe().await
    }

    /// What tells it from other locations of the community.
    pub(super) fn key(&self) -> String {
        let Location {
            retrieve_location_uid,
            retrieve_url,
            retrieve_ae_title: _,
        } = &self.location;
        let uid = retrieve_location_uid
            .as_ref()
            .map_or("", |uid| uid.as_str());
        format!("{uid} {}", retrieve_url.as_deref().unwrap_or(""))
    }

    /// The canonical form of the address, as Rev 1.2 of XC-WADO writes it.
    pub(super) fn address(&self, path: &str, query: &str) -> Result<Uri, Error> {
        let url = self.location.xc_wado_query();
        let query = [url.as_deref().unwrap_or(""), query];
        self.gateway.address(&self.location, path, &query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::client::Settings;

    fn address(uid: Option<&str>, url: Option<&str>, path: &str, query: &str) -> String {
        let client = Client::new("b", &Settings::default()).expect("a client");
        let base = Url::parse("https://gateway.example.org/wado-rs/").expect("a URL");
        let community = HomeCommunityId::parse("5.6.7.8").expect("an OID");
        let gateway = RespondingGateway::new("b", base, community, client, 1);
        let location = Location {
            retrieve_location_uid: uid.map(|uid| RetrieveLocationUid::parse(uid).expect("a UID")),
            retrieve_url: url.map(Into::into),
            retrieve_ae_title: None,
        };
        let Kind::XcWado(location) = gateway.source(location).kind else {
            panic!("another kind");
        };
        let uri = location.address(path, query).expect("an address");
        uri.to_string()
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
