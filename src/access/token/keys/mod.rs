//! The current keys of an issuer: from a file or a secret, which are watched, or from a URL.

mod fetched;
mod set;

use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::jws::Jws;
use super::refused::Refused;
use super::settings::IssuerSettings;
use crate::credentials::{Error, Loaded, TokenSource, Watched};
use crate::metrics::Metrics;

pub(super) use fetched::Fetched;
pub(super) use set::KeySet;

/// The keys of an issuer.
#[derive(Debug)]
pub(super) enum Keys {
    Watched(Arc<Watched<KeySet>>),
    Fetched(Arc<Fetched>),
}

impl Keys {
    /// The keys in a file.
    pub(super) fn in_file(
        settings: &IssuerSettings,
        algorithms: &[Algorithm],
    ) -> Result<Option<Self>, Error> {
        let Some(path) = settings.jwks_file.clone() else {
            return Ok(None);
        };
        let (file, algorithms) = (path.clone(), algorithms.to_vec());
        let load = move || {
            let document = crate::credentials::read(&file)?;
            let keys = KeySet::parse(&document, &algorithms);
            let keys = keys.filter(|keys| keys.len() > 0);
            keys.ok_or_else(|| Error::NoKeys(file.clone()))
        };
        Self::watched(settings, vec![path], load).map(Some)
    }

    /// A shared secret.
    pub(super) fn shared(settings: &IssuerSettings) -> Result<Option<Self>, Error> {
        let Some(secret) = settings.secret.clone() else {
            return Ok(None);
        };
        let files = secret.file().cloned().into_iter().collect();
        let load = move || load_secret(&secret);
        Self::watched(settings, files, load).map(Some)
    }

    /// The keys at a URL.
    pub(super) fn at_url(
        settings: &IssuerSettings,
        algorithms: &[Algorithm],
    ) -> Result<Option<Self>, Error> {
        let Some(url) = settings.jwks_url.clone() else {
            return Ok(None);
        };
        Fetched::open(settings, url, algorithms).map(|fetched| Some(Self::Fetched(fetched)))
    }

    fn watched(
        settings: &IssuerSettings,
        files: Vec<std::path::PathBuf>,
        load: impl Fn() -> Result<KeySet, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let name = format!("issuer {}", settings.name);
        let loaded = move || load().map(Loaded::plain);
        Watched::load(&name, files, loaded).map(|watched| Self::Watched(Arc::new(watched)))
    }

    /// Keeps them current in the background.
    pub(super) fn watch(&self, metrics: &Metrics) {
        match self {
            Self::Watched(watched) => watched.watch(metrics),
            Self::Fetched(fetched) => fetched.watch(metrics),
        }
    }

    /// The number of the current set, if there is one.
    pub(super) fn number(&self) -> Option<u64> {
        self.with(|keys| keys.number)
    }

    /// Verifies a signature; gives the number of the key set.
    ///
    /// # Errors
    /// [`Refused::Signature`]; [`Refused::Key`] if no key is meant; [`Refused::Unavailable`] if
    /// that is because they could not be fetched.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Result<u64, Refused> {
        let verified = self.with(|keys| keys.verify(jws).map(|()| keys.number));
        match (verified, self) {
            (Some(Err(Refused::Key)) | None, Self::Fetched(fetched)) if fetched.is_failing() => {
                Err(Refused::Unavailable)
            }
            (verified, _) => verified.unwrap_or(Err(Refused::Unavailable)),
        }
    }

    /// Whether asking their server now could find further keys.
    pub(super) fn may_change(&self) -> bool {
        match self {
            Self::Watched(_) => false,
            Self::Fetched(fetched) => fetched.may_change(),
        }
    }

    /// Asks their server, and waits for the answer for less than a second.
    pub(super) async fn refresh(&self) {
        match self {
            Self::Watched(_) => {}
            Self::Fetched(fetched) => fetched.refresh().await,
        }
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&KeySet) -> T) -> Option<T> {
        match self {
            Self::Watched(watched) => Some(read(&watched.current().value)),
            Self::Fetched(fetched) => fetched.current().map(|keys| read(&keys)),
        }
    }
}

fn load_secret(secret: &TokenSource) -> Result<KeySet, Error> {
    KeySet::secret(secret.secret()?.as_bytes()).ok_or(Error::ShortSecret)
}
