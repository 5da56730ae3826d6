//! RAD-160, *Cross-Community WADO-RS Retrieve*: one rule, two roles. A request for the gateway's
//! own community is answered from its own sources (responding imaging gateway); a request for
//! another community goes to the gateway of that community (initiating imaging gateway).

mod derived;
pub(crate) mod forward;

use std::sync::Arc;

use http::Response;
use serde::Deserialize;
use url::Url;

use crate::access::{self, Caller};
use crate::body::Body;
use crate::community::{NotLocated, Offers};
use crate::gateway::dicomweb::retrieve::acceptable;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::{json_document, warn_of_patient};
use crate::gateway::{Error, Gateway};
use crate::ihe::HomeCommunityId;
use crate::present::capabilities;
use crate::request::xc_wado::Tolerance;
use crate::request::{Grammar, XcWado, XcWadoPath};
use crate::retrieve::RelayRequest;
use crate::source::Source;

/// `[xc_wado]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The path between the public URL and `homeCommunityId`.
    pub path: XcWadoPath,
    /// Whether other communities are answered from our sources.
    pub responding: bool,
    /// Whether the gateway sends requests of its own community to other communities.
    pub initiating: bool,
    /// Whether Retrieve Location UIDs may be names that are not OIDs.
    pub opaque_location_ids: bool,
    /// Whether a location may be named by a Retrieve URL alone.
    pub retrieve_url_alone: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: XcWadoPath::default(),
            responding: true,
            initiating: true,
            opaque_location_ids: false,
            retrieve_url_alone: false,
        }
    }
}

impl Settings {
    /// The grammar of paths.
    pub(crate) fn grammar(&self) -> Grammar {
        Grammar {
            xc_wado_path: self.path.clone(),
            tolerance: Tolerance {
                opaque_location_ids: self.opaque_location_ids,
                retrieve_url_alone: self.retrieve_url_alone,
            },
        }
    }
}

/// The holder of the requested instances.
pub(crate) struct Holder {
    pub(crate) source: Arc<Source>,
    pub(crate) offers: Offers,
    /// Addresses that it may use in links, each with a slash at its end.
    pub(crate) addresses: Vec<Url>,
}

impl Gateway {
    /// Whether a request is for the responding role.
    pub(crate) fn is_ours(&self, community: &HomeCommunityId) -> bool {
        community == self.registry.home_community_id()
    }

    pub(crate) async fn xc_wado(
        &self,
        exchange: &Exchange<'_>,
        request: &XcWado,
    ) -> Result<Response<Body>, Error> {
        let holder = if self.is_ours(&request.home_community_id) {
            self.responding(exchange, request)?
        } else {
            self.initiating(exchange, request)?
        };
        match &request.sub_resource {
            None => self.relay(exchange, request, holder).await,
            Some(wanted) => self.forward(exchange, request, holder, wanted).await,
        }
    }

    /// What the gateway offers of a location of our own community (PS3.18 8.9).
    pub(crate) fn xc_wado_capabilities(
        &self,
        exchange: &Exchange<'_>,
        request: &XcWado,
    ) -> Result<Response<Body>, Error> {
        // The location must be there, and the caller may ask for it.
        self.responding(exchange, request)?;
        let base = self.xc_wado_base(exchange, request);
        let json = capabilities::between_communities(base.root());
        Ok(json_document(format!("{json:#}\n")))
    }

    /// A location of our own community, for a partner or a member.
    fn responding(&self, exchange: &Exchange<'_>, request: &XcWado) -> Result<Holder, Error> {
        match &exchange.caller {
            Caller::Partner(_)
            | Caller::Subject(_)
            | Caller::Link(_)
            | Caller::Member {
                with_certificate: false,
            } => {}
            // A rule permits it.
            Caller::Member { .. } if self.access.rules(exchange.door).is_some() => {}
            // The listener requires certificates, and this one does not belong to a partner.
            Caller::Member {
                with_certificate: true,
            } => return Err(access::Error::NotListed.into()),
        }
        if !self.xc_wado.responding {
            return Err(Error::NotFound);
        }
        let site = self.registry.site(&request.location);
        let site = site.map_err(|why| match why {
            NotLocated::Unknown => Error::NotFound,
            NotLocated::NotAllowed => Error::RetrieveUrlNotAllowed,
        })?;
        Ok(Holder {
            source: self.as_caller(exchange, Arc::clone(&site.source)),
            offers: site.offers.clone(),
            addresses: self.registry.addresses(site),
        })
    }

    /// The gateway of another community, for members only: the gateway does not pass requests from
    /// one community to another.
    fn initiating(&self, exchange: &Exchange<'_>, request: &XcWado) -> Result<Holder, Error> {
        let community = self.registry.community(&request.home_community_id);
        let gateway = community.and_then(|community| community.gateway.as_ref());
        let is_partner = matches!(exchange.caller, Caller::Partner(_));
        match (community, gateway) {
            (Some(community), Some(gateway)) if self.xc_wado.initiating && !is_partner => {
                let location = request.location.clone();
                Ok(Holder {
                    addresses: gateway.roots(&location),
                    source: self.as_caller(exchange, Arc::new(gateway.source(location))),
                    offers: community.offers.clone(),
                })
            }
            _ => Err(Error::NotFound),
        }
    }

    /// *Get Instances*.
    async fn relay(
        &self,
        exchange: &Exchange<'_>,
        request: &XcWado,
        holder: Holder,
    ) -> Result<Response<Body>, Error> {
        let acceptable = acceptable(exchange, &request.target)?;
        let patient = self.registered_patient(request.target.study()).await;
        let relay = RelayRequest {
            hop: Arc::clone(&exchange.hop),
            source: holder.source,
            target: request.target.clone(),
            patient: patient.clone(),
        };
        let relaying = self.retriever.relay(relay, acceptable.syntaxes.clone());
        let retrieval = relaying.await.map_err(Error::between_communities)?;
        let base = self.xc_wado_base(exchange, request);
        let (payload, target) = (acceptable.payload, &request.target);
        let instances = self.instances(exchange, retrieval, payload, base, target);
        let mut response = instances.await?;
        if let Some(patient) = patient {
            warn_of_patient(&mut response, &patient)?;
        }
        Ok(response)
    }
}
