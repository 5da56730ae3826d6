//! Links to a manifest: `manifests/{id}/links`, and `link/{token}/unlock`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::links as links_of;
use crate::access::{Grant, GrantedLink, LinkId, LinkTerms, Unlocking};
use crate::body::Body;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::{json_document, value};
use crate::gateway::{Error, Gateway};
use crate::library::now;
use crate::manifest::{Id, UnknownSeries};
use crate::request::link::{self, LinkRequest};

/// The largest body of a request here: a list of the series of a large study.
const LARGEST: usize = 1 << 20;

impl Gateway {
    /// `POST manifests/{id}/links`.
    pub(crate) async fn make_link<B>(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let client = exchange.account.client();
        let upload = self.uploads.read(client, exchange.headers(), body).await?;
        if upload.bytes.len() > LARGEST {
            return Err(crate::request::Error::Body("an object of at most 1 MiB").into());
        }
        let request = link::link_request(&upload.bytes)?;
        let link = self.link(exchange, id, request).await?;
        let mut document = described(&link.grant);
        let url = exchange.link_url(&link.token);
        document["url"] = url.as_str().into();
        document["links"] = links_of(&url);
        if let Some(code) = &link.code {
            document["one_time_code"] = code.as_str().into();
        }
        let mut response = json_document(format!("{document:#}\n"));
        *response.status_mut() = StatusCode::CREATED;
        let location = format!("{}/links/{}", exchange.manifest_url(id), link.grant.id);
        response.headers_mut().insert(LOCATION, value(&location)?);
        Ok(response)
    }

    /// A new link to a manifest that the client may see.
    pub(crate) async fn link(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
        request: LinkRequest,
    ) -> Result<GrantedLink, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let studies = manifest.holding.studies.iter();
        let listed = |uid| {
            studies
                .clone()
                .any(|study| study.series.iter().any(|one| one.uid == uid))
        };
        if !request.series.iter().all(|uid| listed(uid.clone())) {
            return Err(crate::library::Error::from(UnknownSeries).into());
        }
        let made = now();
        let terms = LinkTerms {
            manifest: id,
            series: request.series,
            purpose: request.purpose.map(Into::into),
            made,
            expires: made + request.expires.unwrap_or(link::LIFETIME),
            uses: request.uses,
            has_code: request.one_time_code,
            owner: exchange.caller.owner(),
        };
        let links = Arc::clone(&self.links);
        let making = spawn_blocking(move || links.make(terms, made));
        Ok(making.await.map_err(|_panic| Error::Internal)??)
    }

    /// `GET manifests/{id}/links`.
    pub(crate) fn list_links(&self, id: Id) -> Response<Body> {
        let links = self.links.of_manifest(id, now());
        let links: Vec<Value> = links.iter().map(|grant| described(grant)).collect();
        json_document(format!("{:#}\n", json!({ "links": links })))
    }

    /// `DELETE manifests/{id}/links/{link}`.
    pub(crate) async fn revoke_link(&self, id: Id, link: &str) -> Result<Response<Body>, Error> {
        let link = LinkId::parse(link).ok_or(Error::NotFound)?;
        let links = Arc::clone(&self.links);
        let revoking = spawn_blocking(move || links.revoke(id, link));
        let revoked = revoking.await.map_err(|_panic| Error::Internal)?;
        if !revoked.map_err(crate::library::Error::from)? {
            return Err(Error::NotFound);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// `POST link/{token}/unlock`.
    pub(crate) async fn unlock<B>(
        &self,
        exchange: &Exchange<'_>,
        token: &str,
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let client = exchange.account.client();
        let upload = self.uploads.read(client, exchange.headers(), body).await?;
        let code = link::code(&upload.bytes).unwrap_or_default();
        let (links, token) = (Arc::clone(&self.links), token.to_owned());
        let unlocking = spawn_blocking(move || links.unlock(&token, &code, now()));
        match unlocking.await.map_err(|_panic| Error::Internal)? {
            Unlocking::Unlocked => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            Unlocking::Refused | Unlocking::Exhausted => Err(Error::NotFound),
        }
    }
}

/// A link, without what opens it.
fn described(grant: &Grant) -> Value {
    json!({
        "id": grant.id.to_string(),
        "made": grant.made,
        "expires": grant.expires,
        "series": grant.series.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "purpose": grant.purpose,
        "uses": grant.uses,
        "used": grant.uses.map(|_limited| grant.used()),
        "locked": grant.is_locked(),
    })
}
