//! The user for whom a request is sent to a source that decides for each user.

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::credentials::Token;

/// A user, as far as a source may have to know it.
#[derive(Clone)]
pub struct User {
    name: Arc<str>,
    token: Option<Token>,
    extensions: Value,
}

impl User {
    /// The user with this name, a digest of everything that may matter to a source.
    #[must_use]
    pub fn new(name: [u8; 16]) -> Self {
        Self {
            name: HEXLOWER.encode(&name).into(),
            token: None,
            extensions: Value::Null,
        }
    }

    /// The same with an access token, and what the gateway asserts as the one that acts for the user:
    /// the `extensions` of IHE IUA.
    #[must_use]
    pub fn with_token(self, token: Token, extensions: Value) -> Self {
        Self {
            token: Some(token),
            extensions,
            ..self
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    pub(super) fn extensions(&self) -> &Value {
        &self.extensions
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(…)")
    }
}
