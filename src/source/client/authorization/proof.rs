//! How a client proves to an authorization server who it is: a signed assertion (RFC 7523 2.2) or a
//! client secret (RFC 6749 2.3.1).

use std::fmt;
use std::path::Path;

use http::HeaderValue;
use serde_json::Value;
use url::form_urlencoded::{self, Serializer};

use super::super::document::Form;
use super::basic;
use crate::credentials::{Error, SigningKey, TokenSource};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client of an authorization server, in the settings.
#[derive(Debug, Clone, Copy)]
pub struct ProofSettings<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// PEM file of the private key for assertions (`private_key_jwt`).
    pub private_key: Option<&'a Path>,
    /// The `kid` of this key.
    pub key_id: Option<&'a str>,
    /// The client secret instead (`client_secret_basic`).
    pub client_secret: Option<&'a TokenSource>,
}

/// The proof of a client.
pub struct Proof {
    client_id: String,
    kind: Kind,
}

enum Kind {
    Assertion(SigningKey),
    Secret(HeaderValue),
    /// None: a public client has its name only (RFC 6749 2.1).
    Public,
}

impl Proof {
    /// Reads the key or the secret.
    ///
    /// # Errors
    /// [`Error::NoProof`] unless there is one of them; the error in it.
    pub fn load(settings: ProofSettings<'_>) -> Result<Self, Error> {
        let client_id = settings.client_id;
        let kind = match (settings.private_key, settings.client_secret) {
            (Some(key), None) => Kind::Assertion(SigningKey::load(key, settings.key_id)?),
            (None, Some(secret)) => {
                // RFC 6749 2.3.1: both are encoded like a form first.
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let secret = encode(&secret.secret()?);
                Kind::Secret(basic(&encode(client_id), &secret))
            }
            (None, None) | (Some(_), Some(_)) => return Err(Error::NoProof),
        };
        Ok(Self {
            client_id: client_id.to_owned(),
            kind,
        })
    }

    /// A public client, which proves nothing.
    #[must_use]
    pub fn public(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            kind: Kind::Public,
        }
    }

    /// A signed statement that the client acts for somebody, for this audience; `None` for a client
    /// without a key.
    ///
    /// # Errors
    /// [`Error::NoSignature`].
    pub(super) fn actor(
        &self,
        audience: &str,
        extensions: &Value,
    ) -> Result<Option<String>, Error> {
        match &self.kind {
            Kind::Assertion(key) => key.actor(&self.client_id, audience, extensions).map(Some),
            Kind::Secret(_) | Kind::Public => Ok(None),
        }
    }

    /// A form with these fields and the proof for this audience.
    ///
    /// # Errors
    /// [`Error::NoSignature`].
    pub fn form(&self, audience: &str, fields: &[(&str, &str)]) -> Result<Form, Error> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        let authorization = match &self.kind {
            Kind::Secret(value) => Some(value.clone()),
            Kind::Public => {
                form.append_pair("client_id", &self.client_id);
                None
            }
            Kind::Assertion(key) => {
                let assertion = key.assertion(&self.client_id, audience)?;
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", &assertion);
                None
            }
        };
        Ok(Form {
            fields: form.finish(),
            authorization,
        })
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(…)")
    }
}
