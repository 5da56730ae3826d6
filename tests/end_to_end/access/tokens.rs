//! An issuer of tokens for tests, and what answers tell.

use bytes::Bytes;
use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::rig::Answer;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://gateway.example";
const SECRET: &str = "a secret of more than thirty-two bytes for tests";

/// An authorization server, as far as its tokens go.
pub(crate) struct Issuer {
    directory: TempDir,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("secret"), SECRET).expect("written");
        Self { directory }
    }

    /// Its table in the settings.
    pub(crate) fn settings(&self) -> String {
        let secret = self.directory.path().join("secret");
        format!(
            "\n[[issuer]]\nname = \"hospital\"\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n\
             secret = {{ file = {secret:?} }}\n"
        )
    }

    /// A token of a subject with these claims of IUA.
    pub(crate) fn token(&self, subject: &str, claims: Value) -> String {
        self.scoped(subject, "RAD-107", claims)
    }

    /// A token with a scope.
    pub(crate) fn scoped(&self, subject: &str, scope: &str, claims: Value) -> String {
        mint(subject, scope, &claims, 300)
    }

    /// A token that has expired.
    pub(crate) fn expired(&self, subject: &str) -> String {
        mint(subject, "RAD-107", &json!({}), -300)
    }
}

fn mint(subject: &str, scope: &str, claims: &Value, seconds: i64) -> String {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "client_id": "viewer",
        "jti": format!("{subject}-{now}"),
        "iat": now - 400,
        "exp": now + seconds,
        "scope": scope,
        "extensions": { "ihe_iua": claims },
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}

/// Everything that an answer tells, apart from its time and its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) status: StatusCode,
    fields: Vec<(String, String)>,
    body: Bytes,
}

impl Shown {
    pub(crate) fn of(answer: &Answer) -> Self {
        let fields = answer.headers.iter();
        let fields = fields.filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.to_string(), format!("{value:?}")))
            .collect();
        fields.sort();
        Self {
            status: answer.status,
            fields,
            body: answer.body.clone(),
        }
    }
}
