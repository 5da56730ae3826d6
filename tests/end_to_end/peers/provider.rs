//! A certified OpenID Provider as a process: `tests/peers/oidc_provider.mjs`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::request::Builder;
use http_body_util::Full;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::rig::tools::{left_out, program};
use crate::rig::{Answer, open};

/// The client that gets access tokens, and the gateway as a client.
pub(crate) const VIEWER: (&str, &str) = ("viewer", "viewer-secret");
pub(crate) const GATEWAY: (&str, &str) = ("gateway of A", "s3cret/+: x");

/// A provider that runs until it is dropped.
pub(crate) struct Provider {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) issuer: String,
}

impl Provider {
    /// `None` if something is missing; standard error names it.
    pub(crate) fn start(settings: &Value) -> Option<Self> {
        const WHAT: &str = "the OpenID Provider";
        let Some(package) = std::env::var_os("OIDC_PROVIDER") else {
            left_out(WHAT, "OIDC_PROVIDER is not set; tests/run sets it");
            return None;
        };
        let Some(node) = program("node") else {
            left_out(WHAT, "there is no node on the path");
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/oidc_provider.mjs");
        let mut child = Command::new(node)
            .arg(script)
            .env("OIDC_PROVIDER", package)
            .env("SETTINGS", settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut provider = Self {
            child,
            input,
            output,
            issuer: String::new(),
        };
        let issuer = provider.line()["issuer"].as_str().map(ToOwned::to_owned);
        provider.issuer = issuer.expect("it says where it is");
        Some(provider)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Replaces all its keys.
    pub(crate) fn rotate(&mut self) {
        writeln!(self.input, "rotate").expect("it reads");
        assert_eq!(self.line(), json!({"done": "rotate"}));
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.issuer.strip_prefix("http://").expect("a URL");
        address.parse().expect("an address")
    }

    /// Posts a form as a client.
    pub(crate) async fn post(
        &self,
        path: &str,
        client: (&str, &str),
        fields: &[(&str, &str)],
    ) -> Answer {
        let encode =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let (user, password) = (encode(client.0), encode(client.1));
        let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let certificate = fields.iter().find(|(name, _value)| *name == "certificate");
        let mut request = Request::post(path)
            .header(HOST, self.address().to_string())
            .header(AUTHORIZATION, format!("Basic {basic}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some((_name, certificate)) = certificate {
            request = request.header(
                "x-client-certificate",
                encode(certificate).replace('+', "%20"),
            );
        }
        let request = request
            .body(Full::new(Bytes::from(form)))
            .expect("a request");
        open(self.address(), request).await.read().await
    }

    /// An access token in this format (`jwt`, `opaque`) and by this algorithm, for an audience.
    pub(crate) async fn token(&self, format: &str, algorithm: &str, audience: &str) -> String {
        let resource = resource(format, algorithm, audience);
        let fields = [
            ("grant_type", "client_credentials"),
            ("scope", "RAD-107"),
            ("resource", resource.as_str()),
        ];
        token(&self.post("/token", VIEWER, &fields).await)
    }
}

/// A browser at a provider, which keeps its cookies.
pub(crate) struct Browser {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(provider: &Provider) -> Self {
        Self {
            address: provider.address(),
            cookies: BTreeMap::new(),
        }
    }

    /// Follows redirects and fills in the forms for a name and for consent, until it is sent
    /// elsewhere; gives that URL.
    pub(crate) async fn log_in(&mut self, url: &str, person: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        for _step in 0..20 {
            let answer = self.ask(Request::get(path(&url)), String::new()).await;
            let answer = match answer.status.as_u16() {
                200 => {
                    let page = String::from_utf8_lossy(&answer.body).into_owned();
                    let prompt = if page.contains("name=\"login\"") {
                        "login"
                    } else {
                        "consent"
                    };
                    let form = format!("prompt={prompt}&login={person}&password=x");
                    self.ask(Request::post(path(&url)), form).await
                }
                _ => answer,
            };
            let location = answer.headers.get(LOCATION);
            let location = location.unwrap_or_else(|| panic!("{answer:?}"));
            let location = location.to_str().expect("text");
            url = url.join(location).expect("a URL");
            if url.port() != Some(self.address.port()) {
                return url.into();
            }
        }
        panic!("it goes on and on");
    }

    pub(crate) async fn get(&mut self, url: &str) -> Answer {
        let url = Url::parse(url).expect("a URL");
        self.ask(Request::get(path(&url)), String::new()).await
    }

    async fn ask(&mut self, request: Builder, form: String) -> Answer {
        let cookies = self.cookies.iter();
        let cookies: Vec<_> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = request
            .header(HOST, self.address.to_string())
            .header(COOKIE, cookies.join("; "))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .expect("a request");
        let answer = open(self.address, request).await.read().await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            let pair = cookie
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='));
            let (name, value) = pair.expect("a cookie");
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }
}

fn path(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}"));
    format!("{}{}", url.path(), query.unwrap_or_default())
}

/// The name by which a client asks for such a token.
pub(crate) fn resource(format: &str, algorithm: &str, audience: &str) -> String {
    let audience: String = form_urlencoded::byte_serialize(audience.as_bytes()).collect();
    format!("https://{format}.example/{algorithm}?{audience}")
}

/// The access token in an answer.
pub(crate) fn token(answer: &Answer) -> String {
    let issued: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let token = issued["access_token"].as_str();
    token.unwrap_or_else(|| panic!("{issued}")).to_owned()
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It has ended already, or a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
