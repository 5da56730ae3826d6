//! A value built from files, rebuilt when they change.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::files::{Error, Loaded};
use super::now;
use crate::metrics::Metrics;

/// The interval between two checks. They compare contents, and so also detect a replaced link or a
/// file with an old date.
const EVERY: Duration = Duration::from_secs(2);

/// The current value built from some files.
pub struct Watched<T> {
    /// Its name in metrics and logs.
    name: String,
    files: Vec<PathBuf>,
    load: Load<T>,
    current: ArcSwap<Loaded<T>>,
    /// The contents at the last check.
    seen: Mutex<[u8; 32]>,
    /// Whether the log says that the current lists have expired.
    has_told_lists: AtomicBool,
}

type Load<T> = Box<dyn Fn() -> Result<Loaded<T>, Error> + Send + Sync>;

impl<T: Send + Sync + 'static> Watched<T> {
    /// Loads it for the first time.
    ///
    /// # Errors
    /// Why the files are unusable.
    pub fn load(
        name: &str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<Loaded<T>, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let seen = digest(&files);
        Ok(Self {
            name: name.to_owned(),
            current: ArcSwap::from_pointee(load()?),
            load: Box::new(load),
            seen: Mutex::new(seen),
            has_told_lists: AtomicBool::new(false),
            files,
        })
    }

    /// The current value.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded<T>> {
        self.current.load_full()
    }

    /// Checks the files from time to time, in a task that ends with the last use of this value.
    pub fn watch(self: &Arc<Self>, metrics: &Metrics) {
        self.tell_expiry(metrics);
        if self.files.is_empty() {
            return;
        }
        let (watched, metrics) = (Arc::downgrade(self), metrics.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let Some(watched) = watched.upgrade() else {
                    return;
                };
                let metrics = metrics.clone();
                // Files can be on a slow disk.
                let looking = spawn_blocking(move || watched.look(&metrics));
                if looking.await.is_err() {
                    tracing::error!("credentials are no longer watched");
                    return;
                }
            }
        });
    }

    /// Checks the files once: if they have changed and are valid, the new value replaces the old
    /// one.
    fn look(&self, metrics: &Metrics) {
        self.tell_expired_lists(now());
        let found = digest(&self.files);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::replace(&mut *seen, found) == found {
                return;
            }
        }
        let credentials = self.name.as_str();
        let outcome = match (self.load)().and_then(|loaded| self.refuse_expired(loaded)) {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                self.has_told_lists.store(false, Ordering::Relaxed);
                self.tell_expiry(metrics);
                tracing::info!(credentials, "new credentials are in use");
                "replaced"
            }
            Err(error) => {
                tracing::error!(credentials, %error, "new credentials are invalid; the old ones stay in use");
                "refused"
            }
        };
        metrics
            .credential_reloads
            .with_label_values(&[credentials, outcome])
            .inc();
    }

    /// At the start an expired certificate is better than no gateway; it never replaces another
    /// one.
    fn refuse_expired(&self, loaded: Loaded<T>) -> Result<Loaded<T>, Error> {
        match &loaded.certificate {
            Some(certificate) if certificate.not_after < now() => Err(Error::Expired(
                self.files.first().cloned().unwrap_or_default(),
            )),
            Some(_) | None => Ok(loaded),
        }
    }

    fn tell_expiry(&self, metrics: &Metrics) {
        if let Some(certificate) = &self.current.load().certificate {
            metrics
                .certificate_expiry
                .with_label_values(&[self.name.as_str()])
                .set(certificate.not_after);
        }
        let lists = &self.current.load().revocation_lists;
        if let Some(next) = lists.iter().filter_map(|list| list.next_update).min() {
            metrics
                .revocation_list_expiry
                .with_label_values(&[self.name.as_str()])
                .set(next);
        }
        self.tell_expired_lists(now());
    }

    /// An expired list still revokes what it lists, but misses what was revoked since. The log says
    /// so once.
    fn tell_expired_lists(&self, now: i64) {
        let current = self.current.load();
        let mut expired = current.revocation_lists.iter();
        let Some(list) = expired.find(|list| list.has_expired(now)) else {
            return;
        };
        if !self.has_told_lists.swap(true, Ordering::Relaxed) {
            let credentials = self.name.as_str();
            let (file, hours) = (list.file.display(), (now - list.this_update) / 3600);
            tracing::warn!(credentials, %file, hours, "a certificate revocation list has expired");
        }
    }
}

/// The contents of the files, or a failure to read them.
fn digest(files: &[PathBuf]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for file in files {
        match std::fs::read(file) {
            Ok(bytes) => {
                digest.update(bytes.len().to_le_bytes());
                digest.update(bytes);
            }
            Err(error) => digest.update(error.to_string()),
        }
    }
    digest.finalize().into()
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("name", &self.name)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::super::{ServerFiles, ServerTls};
    use super::*;

    /// Writes a certificate that is valid until the first day of a year; returns the end of its
    /// validity.
    fn write(directory: &Path, until: i32) {
        let mut params = CertificateParams::new(vec!["gateway.example".into()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(directory.join("certificate"), certificate.pem()).expect("written");
        std::fs::write(directory.join("key"), key.serialize_pem()).expect("written");
    }

    fn watched() -> (TempDir, Watched<ServerTls>) {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), 2100);
        let files = ServerFiles {
            certificate: directory.path().join("certificate"),
            private_key: directory.path().join("key"),
            ocsp_response: None,
            client_authorities: None,
            revocation_lists: Vec::new(),
        };
        let paths = files.paths().cloned().collect();
        let watched = Watched::load("listen", paths, move || files.load());
        (directory, watched.expect("credentials"))
    }

    fn expiry(watched: &Watched<ServerTls>) -> i64 {
        let current = watched.current();
        current
            .certificate
            .as_ref()
            .expect("a certificate")
            .not_after
    }

    fn reloads(metrics: &Metrics, outcome: &str) -> u64 {
        let reloads = &metrics.credential_reloads;
        reloads.with_label_values(&["listen", outcome]).get()
    }

    #[test]
    fn what_is_replaced_is_used() {
        let (directory, watched) = watched();
        let metrics = Metrics::new();
        let first = expiry(&watched);
        watched.look(&metrics);
        assert_eq!(reloads(&metrics, "replaced"), 0);
        write(directory.path(), 2101);
        watched.look(&metrics);
        assert!(expiry(&watched) > first);
        assert_eq!(reloads(&metrics, "replaced"), 1);
        let told = metrics.certificate_expiry.with_label_values(&["listen"]);
        assert_eq!(told.get(), expiry(&watched));
    }

    #[test]
    fn what_cannot_be_used_leaves_the_old_ones_and_is_told_once() {
        let (directory, watched) = watched();
        let metrics = Metrics::new();
        let first = expiry(&watched);
        let old_key = std::fs::read(directory.path().join("key")).expect("a key");
        write(directory.path(), 2101);
        let new_key = std::fs::read(directory.path().join("key")).expect("a key");
        // A new certificate before its key; rubbish; no file.
        for bad in [Some(old_key), Some(b"rubbish".to_vec()), None] {
            match bad {
                Some(bytes) => std::fs::write(directory.path().join("key"), bytes),
                None => std::fs::remove_file(directory.path().join("key")),
            }
            .expect("changed");
            let before = reloads(&metrics, "refused");
            watched.look(&metrics);
            watched.look(&metrics);
            assert_eq!(reloads(&metrics, "refused"), before + 1);
            assert_eq!(expiry(&watched), first);
        }
        std::fs::write(directory.path().join("key"), new_key).expect("written");
        watched.look(&metrics);
        assert!(expiry(&watched) > first);
    }

    #[test]
    fn an_expired_certificate_does_not_replace_a_good_one() {
        let (directory, watched) = watched();
        let metrics = Metrics::new();
        let first = expiry(&watched);
        write(directory.path(), 2001);
        watched.look(&metrics);
        assert_eq!(expiry(&watched), first);
        assert_eq!(reloads(&metrics, "refused"), 1);
    }
}
