//! ID tokens (OpenID Connect Core 2): who has logged in. They are no access tokens, and the other
//! way round.

use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::issuer::ASYMMETRIC;
use super::jws::Jws;
use super::keys::Keys;
use super::refused::Refused;
use super::rules::{Login, Rules};
use super::settings::IssuerSettings;
use crate::access::claims::Claims;
use crate::credentials::{Error, now};
use crate::metrics::Metrics;

/// The largest ID token.
const LARGEST: usize = 16 << 10;

/// The ID tokens of a provider.
#[derive(Debug)]
pub(in crate::access) struct IdTokens {
    keys: Keys,
    rules: Rules,
    algorithms: Vec<Algorithm>,
}

impl IdTokens {
    /// The tokens of the issuer in these settings, whose `audience` is our client id.
    pub(in crate::access) fn open(settings: &IssuerSettings) -> Result<Self, Error> {
        let keys = Keys::at_url(settings, &ASYMMETRIC)?;
        Ok(Self {
            keys: keys.ok_or(Error::NotAUrl)?,
            rules: Rules::new(settings),
            algorithms: ASYMMETRIC.to_vec(),
        })
    }

    /// Keeps the keys current in the background.
    pub(in crate::access) fn watch(&self, metrics: &Metrics) {
        self.keys.watch(metrics);
    }

    /// Verifies a token, and fetches its key if need be.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(in crate::access) async fn check(
        &self,
        token: &str,
        login: Login<'_>,
    ) -> Result<Arc<Claims>, Refused> {
        if token.len() > LARGEST {
            return Err(Refused::TooLarge);
        }
        let jws = Jws::parse(token)?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(Refused::Algorithm);
        }
        if let Err(Refused::Key | Refused::Unavailable) = self.keys.verify(&jws) {
            self.keys.refresh().await;
        }
        self.keys.verify(&jws)?;
        if !matches!(jws.kind.as_deref(), None | Some("jwt")) {
            return Err(Refused::Kind);
        }
        let rules = &self.rules;
        let claims = rules.check_identity(&jws.claims, jws.algorithm, login, now())?;
        Ok(Arc::new(claims))
    }
}
