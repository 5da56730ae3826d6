//! An OpenID Provider: its metadata (OpenID Connect Discovery 4), its keys, and the exchange of a
//! code for tokens (RFC 6749 4.1.3, RFC 7636 4.5).

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use url::Url;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::settings::LoginSettings;
use crate::access::token::IdTokens;
use crate::credentials::{Error, Loaded, Watched};
use crate::metrics::Metrics;
use crate::source::client::{Endpoint, Proof, ProofSettings};

/// The time that the provider has for its metadata, and for tokens.
const METADATA: Duration = Duration::from_millis(800);
const TOKENS: Duration = Duration::from_secs(5);
/// The age of metadata from which they are fetched again, and the pause after a failure.
const OLD: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer.
const LARGEST: usize = 64 << 10;

/// A provider.
pub(super) struct Provider {
    settings: LoginSettings,
    redirect_uri: String,
    server: Arc<Watched<Server>>,
    metadata: ArcSwapOption<Metadata>,
    /// When the metadata were asked for last.
    asked: Mutex<Option<Instant>>,
    metrics: OnceLock<Metrics>,
}

/// What comes from files.
#[derive(Debug)]
struct Server {
    discovery: Endpoint,
    proof: Proof,
}

/// What a provider says about itself.
pub(super) struct Metadata {
    document: Document,
    token: Arc<Watched<Endpoint>>,
    pub(super) id_tokens: IdTokens,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: String,
    jwks_uri: String,
    end_session_endpoint: Option<Url>,
    /// RFC 9207.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// The tokens of a login.
#[derive(Deserialize)]
pub(super) struct Granted {
    #[serde(deserialize_with = "secret")]
    pub(super) id_token: Zeroizing<String>,
    /// Empty if there is none.
    #[serde(default, deserialize_with = "secret")]
    pub(super) access_token: Zeroizing<String>,
    pub(super) scope: Option<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl Provider {
    pub(super) fn open(settings: &LoginSettings, redirect_uri: String) -> Result<Self, Error> {
        let files = settings.files();
        let paths = files.paths().chain(settings.secret_files());
        let (own, paths) = (settings.clone(), paths.cloned().collect());
        let load = move || Server::load(&own);
        Ok(Self {
            settings: settings.clone(),
            redirect_uri,
            server: Arc::new(Watched::load(&settings.name, paths, load)?),
            metadata: ArcSwapOption::empty(),
            asked: Mutex::default(),
            metrics: OnceLock::new(),
        })
    }

    pub(super) fn watch(&self, metrics: &Metrics) {
        // A second call has no effect.
        let _ = self.metrics.set(metrics.clone());
        self.server.watch(metrics);
    }

    /// The metadata; they survive an outage.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, Failure> {
        let mut asked = self.asked.lock().await;
        let known = self.metadata.load_full();
        let pause = if known.is_some() { OLD } else { PAUSE };
        if asked.is_some_and(|asked| asked.elapsed() < pause) {
            return known.ok_or(Failure::Unavailable);
        }
        *asked = Some(Instant::now());
        let fetched = timeout(METADATA, self.fetch()).await.ok().flatten();
        let provider = self.settings.name.as_str();
        let Some(document) = fetched else {
            tracing::warn!(provider, "the metadata of a login server cannot be fetched");
            return known.ok_or(Failure::Unavailable);
        };
        if let Some(known) = known.filter(|known| known.document == document) {
            return Ok(known);
        }
        let metadata = self.open_metadata(document).map_err(|error| {
            tracing::warn!(provider, %error, "the metadata of a login server cannot be used");
            Failure::Unavailable
        })?;
        let metadata = Arc::new(metadata);
        self.metadata.store(Some(Arc::clone(&metadata)));
        Ok(metadata)
    }

    async fn fetch(&self) -> Option<Document> {
        let server = self.server.current();
        let answer = server.value.discovery.get(LARGEST).await.ok()?;
        let body = answer
            .body
            .filter(|_body| answer.status == StatusCode::OK)?;
        let document: Document = serde_json::from_slice(&body).ok()?;
        // OpenID Connect Discovery 4.3: otherwise it speaks for somebody else.
        (document.issuer == self.settings.issuer && self.is_safe(&document)).then_some(document)
    }

    fn is_safe(&self, document: &Document) -> bool {
        let end = document.end_session_endpoint.as_ref().map(Url::as_str);
        let urls = [
            document.authorization_endpoint.as_str(),
            &document.token_endpoint,
            &document.jwks_uri,
        ];
        let is_http = |url: &str| self.settings.in_clear && url.starts_with("http://");
        let mut urls = urls.into_iter().chain(end);
        urls.all(|url| url.starts_with("https://") || is_http(url))
    }

    fn open_metadata(&self, document: Document) -> Result<Metadata, Error> {
        let settings = &self.settings;
        let (files, networks) = (settings.files(), settings.allow_networks.clone());
        let url = document.token_endpoint.clone();
        let paths = files.paths().cloned().collect();
        let load = move || Endpoint::open(&url, &files, &networks).map(Loaded::plain);
        let token = Arc::new(Watched::load(&settings.name, paths, load)?);
        let id_tokens = IdTokens::open(&settings.issuer(document.jwks_uri.clone()))?;
        if let Some(metrics) = self.metrics.get() {
            token.watch(metrics);
            id_tokens.watch(metrics);
        }
        Ok(Metadata {
            document,
            token,
            id_tokens,
        })
    }

    /// Exchanges a code for tokens.
    pub(super) async fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<Granted, Failure> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ];
        let proof = &self.server.current().value.proof;
        let form = proof.form(&metadata.document.token_endpoint, &fields);
        let form = form.map_err(|_unsigned| Failure::Unavailable)?;
        let endpoint = metadata.token.current();
        let answer = timeout(TOKENS, endpoint.value.post(form, LARGEST)).await;
        let answer = answer.ok().and_then(Result::ok);
        let answer = answer.ok_or(Failure::Unavailable)?;
        if answer.status == StatusCode::BAD_REQUEST {
            return Err(Failure::Denied);
        }
        let body = answer.body.filter(|_body| answer.status == StatusCode::OK);
        let granted = body.and_then(|body| serde_json::from_slice(&body).ok());
        granted.ok_or(Failure::Unavailable)
    }

    /// The parameters of every request for a login (RFC 6749 4.1.1).
    pub(super) fn authorization_url(&self, metadata: &Metadata) -> Url {
        let mut url = metadata.document.authorization_endpoint.clone();
        let further = self.settings.scopes.iter().map(String::as_str);
        let further = further.filter(|scope| *scope != "openid");
        let scopes: Vec<&str> = std::iter::once("openid").chain(further).collect();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &scopes.join(" "));
        url
    }

    /// The URL at which a person logs out of the provider, if it has one.
    pub(super) fn end_session_url(&self, id_token: &str, return_to: &Url) -> Option<Url> {
        let metadata = self.metadata.load_full()?;
        let mut url = metadata.document.end_session_endpoint.clone()?;
        url.query_pairs_mut()
            .append_pair("id_token_hint", id_token)
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", return_to.as_str());
        Some(url)
    }
}

impl Metadata {
    /// Whether an answer in the browser comes from this provider (RFC 9207 2.4).
    pub(super) fn has_answered(&self, issuer: Option<&str>) -> bool {
        match issuer {
            Some(issuer) => issuer == self.document.issuer,
            None => !self.document.authorization_response_iss_parameter_supported,
        }
    }
}

impl Server {
    fn load(settings: &LoginSettings) -> Result<Loaded<Self>, Error> {
        let issuer = settings.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let discovery = Endpoint::open(&url, &settings.files(), &settings.allow_networks)?;
        let proof = match (&settings.private_key, &settings.client_secret) {
            (None, None) => Proof::public(&settings.client_id),
            (private_key, client_secret) => Proof::load(ProofSettings {
                client_id: &settings.client_id,
                private_key: private_key.as_deref(),
                key_id: settings.key_id.as_deref(),
                client_secret: client_secret.as_ref(),
            })?,
        };
        let revocation_lists = discovery.revocation_lists().to_vec();
        Ok(Loaded {
            revocation_lists,
            ..Loaded::plain(Self { discovery, proof })
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.settings.name)
            .finish_non_exhaustive()
    }
}
