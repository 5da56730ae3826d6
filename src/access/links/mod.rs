//! Capability links: addresses that open one manifest for whoever has them, until they expire or
//! are revoked. Viewers that cannot send header fields need them.
//!
//! Only the digest of a link's token is stored, so neither a copy of the data directory nor the list
//! of links opens anything.

mod code;
mod files;
mod grant;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

pub use code::Unlocking;
pub use grant::{Entry, Grant, GrantedLink, LinkId, LinkTerms};

use crate::budget::Client;
use crate::manifest::Id;
use crate::random::{self, NoRandom};

/// Most links in all; those that have expired do not count.
const MOST: usize = 100_000;
/// Most links to one manifest.
const MOST_OF_MANIFEST: usize = 1000;
/// The bytes of a token: 256 random bits.
const TOKEN: usize = 32;

/// Links by the digest of their token.
type ByDigest = HashMap<[u8; 32], Arc<Grant>>;

/// Why there is no new link.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bound is reached.
    #[error("there are too many links; revoke some")]
    TooMany,
    /// The disk fails.
    #[error("the link cannot be stored")]
    Io(#[from] io::Error),
    /// There is no randomness.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// The links.
#[derive(Debug, Default)]
pub struct Links {
    /// `None`: they last as long as the process.
    directory: Option<PathBuf>,
    by_digest: RwLock<ByDigest>,
    /// Serialises writing.
    writing: Mutex<()>,
}

impl Links {
    /// Opens the links in a directory, which is created with the first link. Blocks.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn open(directory: &Path, now: u64) -> io::Result<Self> {
        let found = files::read_all(directory, now)?;
        Ok(Self {
            directory: Some(directory.to_owned()),
            by_digest: RwLock::new(found),
            writing: Mutex::default(),
        })
    }

    /// Makes a link. Blocks.
    ///
    /// # Errors
    /// [`Error`].
    pub fn make(&self, terms: LinkTerms, now: u64) -> Result<GrantedLink, Error> {
        let bytes: [u8; TOKEN] = random::bytes()?;
        let (grant, code) = Grant::new(terms, digest(&bytes))?;
        let _one_at_a_time = lock(&self.writing);
        self.sweep(now);
        let (all, of_manifest) = self.counts(grant.manifest);
        if all >= MOST || of_manifest >= MOST_OF_MANIFEST {
            return Err(Error::TooMany);
        }
        self.store(&grant)?;
        let grant = Arc::new(grant);
        let mut links = self.write();
        links.insert(grant.digest, Arc::clone(&grant));
        Ok(GrantedLink {
            token: BASE64URL_NOPAD.encode(&bytes),
            code,
            grant,
        })
    }

    /// The link with this token, for a client.
    #[must_use]
    pub fn enter(&self, token: &str, client: Client, now: u64) -> Entry {
        match self.of_token(token, now) {
            Some(grant) => grant.enter(client),
            None => Entry::None,
        }
    }

    /// Stores who uses a link. Blocks.
    pub fn note(&self, grant: &Grant) {
        let _one_at_a_time = lock(&self.writing);
        // It may have been revoked meanwhile.
        if !grant.revoked.is_cancelled() && self.store(grant).is_err() {
            tracing::warn!("the state of a link cannot be stored");
        }
    }

    /// Unlocks the link with this token by its code. Blocks.
    #[must_use]
    pub fn unlock(&self, token: &str, code: &str, now: u64) -> Unlocking {
        let Some(grant) = self.of_token(token, now) else {
            return Unlocking::Refused;
        };
        let outcome = grant.unlock(code);
        match outcome {
            Unlocking::Exhausted => drop(self.revoke(grant.manifest, grant.id)),
            Unlocking::Unlocked | Unlocking::Refused => self.note(&grant),
        }
        outcome
    }

    fn of_token(&self, token: &str, now: u64) -> Option<Arc<Grant>> {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let bytes: [u8; TOKEN] = bytes.try_into().ok()?;
        // Digests are looked up: how long that takes tells nothing of the tokens.
        let links = self.read();
        let grant = links.get(&digest(&bytes))?;
        (now < grant.expires).then(|| Arc::clone(grant))
    }

    /// The links to a manifest, the newest first.
    #[must_use]
    pub fn of_manifest(&self, manifest: Id, now: u64) -> Vec<Arc<Grant>> {
        let links = self.read();
        let of_manifest = links.values().filter(|grant| grant.manifest == manifest);
        let mut links: Vec<_> = of_manifest
            .filter(|grant| now < grant.expires)
            .cloned()
            .collect();
        links.sort_by_key(|grant| (std::cmp::Reverse(grant.made), grant.id));
        links
    }

    /// Revokes a link, also for whoever reads by it at the moment. Blocks. `false`: there is none.
    ///
    /// # Errors
    /// If its file cannot be removed; the link is revoked until the next start nevertheless.
    pub fn revoke(&self, manifest: Id, id: LinkId) -> io::Result<bool> {
        self.revoke_all(|grant| grant.manifest == manifest && grant.id == id)
    }

    /// Revokes all links to a manifest. Blocks.
    ///
    /// # Errors
    /// As [`Links::revoke`].
    pub fn revoke_of_manifest(&self, manifest: Id) -> io::Result<bool> {
        self.revoke_all(|grant| grant.manifest == manifest)
    }

    fn revoke_all(&self, is_revoked: impl Fn(&Grant) -> bool) -> io::Result<bool> {
        let revoked = self.take_out(is_revoked);
        for grant in &revoked {
            grant.revoked.cancel();
        }
        for grant in &revoked {
            self.remove(grant)?;
        }
        Ok(!revoked.is_empty())
    }

    /// Forgets links that have expired.
    fn sweep(&self, now: u64) {
        for grant in self.take_out(|grant| now >= grant.expires) {
            if self.remove(&grant).is_err() {
                tracing::warn!("the file of a link that has expired cannot be removed");
            }
        }
    }

    /// Takes links out of memory.
    fn take_out(&self, is_meant: impl Fn(&Grant) -> bool) -> Vec<Arc<Grant>> {
        let mut links = self.write();
        let taken = links.extract_if(|_digest, grant| is_meant(grant));
        taken.map(|(_digest, grant)| grant).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, ByDigest> {
        let links = self.by_digest.read();
        links.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByDigest> {
        let links = self.by_digest.write();
        links.unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self, manifest: Id) -> (usize, usize) {
        let links = self.read();
        let of_manifest = links.values().filter(|grant| grant.manifest == manifest);
        (links.len(), of_manifest.count())
    }

    fn store(&self, grant: &Grant) -> io::Result<()> {
        match &self.directory {
            Some(directory) => files::write(directory, grant),
            None => Ok(()),
        }
    }

    fn remove(&self, grant: &Grant) -> io::Result<()> {
        match &self.directory {
            Some(directory) => files::remove(directory, grant.id),
            None => Ok(()),
        }
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
