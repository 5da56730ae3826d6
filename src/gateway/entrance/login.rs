//! Persons in a browser: `login`, `login/callback` and `logout`.

use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, SET_COOKIE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use url::form_urlencoded;

use crate::access::person::Logins;
use crate::access::{self, Caller};
use crate::body::Body;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::forwarded::Route;
use crate::gateway::edge::response::value;
use crate::gateway::{Error, Gateway};

/// The first page for a person who is logged in, and for one who is not.
const INSIDE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>xcwado</title>\n\
    <p>You are logged in.</p>\n\
    <form method=\"post\" action=\"logout\"><button>Log out</button></form>\n";
const OUTSIDE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>xcwado</title>\n\
    <p>You are not logged in.</p>\n<p><a href=\"login\">Log in</a></p>\n";
/// A page of another origin cannot lay itself over the button. The provider follows the form, so
/// `form-action` would have to name it.
const RULES: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";

impl Gateway {
    fn logins(&self) -> Result<&Logins, Error> {
        self.access.logins().ok_or(Error::NotFound)
    }

    /// Where a person without an address arrives: says whether it is logged in, and leads in or out.
    pub(crate) fn first_page(&self, exchange: &Exchange<'_>) -> Result<Response<Body>, Error> {
        self.logins()?;
        let page = match self.person(exchange.headers()) {
            Some(_person) => INSIDE,
            None => OUTSIDE,
        };
        let mut response = Response::new(Body::full(page.to_owned()));
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(CONTENT_TYPE, media_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let rules = HeaderValue::from_static(RULES);
        headers.insert(CONTENT_SECURITY_POLICY, rules);
        Ok(response)
    }

    /// `GET login?return_to=…`: to the provider.
    pub(crate) async fn login(&self, exchange: &Exchange<'_>) -> Result<Response<Body>, Error> {
        let query = exchange.query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let return_to = pairs.find(|(name, _)| name == "return_to");
        let return_to = return_to.map(|(_, path)| path).unwrap_or_default();
        let begun = self.logins()?.begin(&return_to, exchange.headers()).await?;
        redirect(&begun.location, [begun.cookie])
    }

    /// `GET login/callback`: from the provider.
    pub(crate) async fn logged_in(&self, exchange: &Exchange<'_>) -> Result<Response<Body>, Error> {
        let query = exchange.query().unwrap_or_default();
        let finished = self.logins()?.finish(query, exchange.headers()).await?;
        redirect(&finished.location, finished.cookies)
    }

    /// `POST logout`: a page of another origin cannot send it.
    pub(crate) fn log_out(&self, exchange: &Exchange<'_>) -> Result<Response<Body>, Error> {
        let ended = self.logins()?.end(exchange.headers());
        redirect(&ended.location, [ended.cookie])
    }

    /// The person whose session a request has, unless a page of another origin sends it.
    pub(crate) fn person(&self, headers: &HeaderMap) -> Option<Caller> {
        let logins = self.access.logins()?;
        is_for(logins, headers).then(|| logins.session(headers).map(Caller::Subject))?
    }

    /// The way to the login for whoever opens an address in a browser.
    pub(crate) fn way_to_login(
        &self,
        head: &Parts,
        route: &Route,
        error: &Error,
    ) -> Option<Response<Body>> {
        let is_asked = matches!(error, Error::Access(access::Error::Unidentified));
        if !is_asked || head.method != Method::GET || !is_navigation(&head.headers) {
            return None;
        }
        self.access.logins()?;
        let url = &route.public_url;
        let path = url.below_prefix(head.uri.path());
        let query = head.uri.query().map(|query| format!("?{query}"));
        let return_to = format!("{}{path}{}", url.prefix(), query.unwrap_or_default());
        let return_to: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
        redirect(&format!("{}/login?return_to={return_to}", url.url), []).ok()
    }
}

/// A session counts for pages of the gateway and of origins in the settings, and for whoever opens an
/// address; not for pictures that another page embeds.
fn is_for(logins: &Logins, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|field| field.to_str().ok());
    if let Some(origin) = text("origin") {
        return logins.is_for(origin);
    }
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => true,
        Some(_) => text("sec-fetch-mode") == Some("navigate"),
    }
}

/// Whether a person opens an address in a browser.
fn is_navigation(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|field| field.to_str().ok());
    let accepts_pages = text(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/html"));
    accepts_pages && text("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

fn redirect<const N: usize>(location: &str, cookies: [String; N]) -> Result<Response<Body>, Error> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(location)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        headers.append(SET_COOKIE, value(&cookie)?);
    }
    Ok(response)
}
