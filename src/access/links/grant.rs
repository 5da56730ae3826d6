//! One link.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::code::{CodeDigest, Unlocking, new_code};
use crate::budget::Client;
use crate::dicom::SeriesInstanceUid;
use crate::manifest::{Id, Owner};
use crate::random::{self, NoRandom};

/// The name of a link, by which it is listed and revoked. It opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    /// Reads a name: 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_name = text.len() == 16 && text.bytes().all(is_digit);
        is_name.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The terms on which a link is made.
#[derive(Debug, Clone)]
pub struct LinkTerms {
    /// The manifest that it opens.
    pub manifest: Id,
    /// The series to which it is narrowed; empty: all.
    pub series: Vec<SeriesInstanceUid>,
    /// What it is for.
    pub purpose: Option<Box<str>>,
    /// Seconds since 1970 when it was made.
    pub made: u64,
    /// Seconds since 1970 when it expires.
    pub expires: u64,
    /// The number of clients (IPv4 addresses or IPv6 /64) that may use it; `None`: any.
    pub uses: Option<u32>,
    /// Whether it has to be unlocked by a code first.
    pub has_code: bool,
    /// Who makes it.
    pub owner: Option<Owner>,
}

/// A new link: the only time that its token and its code are known here.
pub struct GrantedLink {
    /// The token of its address.
    pub token: String,
    /// Its code, to be told by another way.
    pub code: Option<String>,
    /// The link.
    pub grant: Arc<Grant>,
}

/// A link.
#[derive(Debug)]
pub struct Grant {
    /// Its name.
    pub id: LinkId,
    /// The manifest that it opens.
    pub manifest: Id,
    /// The series to which it is narrowed, sorted; empty: all.
    pub series: Vec<SeriesInstanceUid>,
    /// What it is for.
    pub purpose: Option<Box<str>>,
    /// Seconds since 1970 when it was made.
    pub made: u64,
    /// Seconds since 1970 when it expires.
    pub expires: u64,
    /// The number of clients that may use it.
    pub uses: Option<u32>,
    /// Who made it.
    pub owner: Option<Owner>,
    /// Cancelled when the link is revoked.
    pub revoked: CancellationToken,
    /// SHA-256 of its token.
    pub(super) digest: [u8; 32],
    pub(super) state: Mutex<State>,
}

/// What changes of a link.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Digests of the clients that use it, if their number is limited.
    clients: BTreeSet<u64>,
    /// Its code, until it is unlocked.
    code: Option<CodeDigest>,
}

/// What a link does for a client.
#[derive(Debug)]
pub enum Entry {
    /// It lets the client in.
    Open(Arc<Grant>),
    /// It lets the client in, which is one more of those that its uses allow.
    First(Arc<Grant>),
    /// It waits for its code.
    Locked,
    /// It does not exist, has expired, or has as many clients as it may have.
    None,
}

impl Grant {
    pub(super) fn new(
        terms: LinkTerms,
        digest: [u8; 32],
    ) -> Result<(Self, Option<String>), NoRandom> {
        let id = LinkId(u64::from_be_bytes(random::bytes()?));
        let code = terms.has_code.then(new_code).transpose()?;
        let (code, told) = code.map_or((None, None), |(code, told)| (Some(code), Some(told)));
        let mut series = terms.series;
        series.sort();
        series.dedup();
        let grant = Self {
            id,
            manifest: terms.manifest,
            series,
            purpose: terms.purpose,
            made: terms.made,
            expires: terms.expires,
            uses: terms.uses,
            owner: terms.owner,
            revoked: CancellationToken::new(),
            digest,
            state: Mutex::new(State {
                code,
                ..State::default()
            }),
        };
        Ok((grant, told))
    }

    /// Whether it waits for its code.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.with_state(|state| state.code.is_some())
    }

    /// The number of clients that have used it, if their number is limited.
    #[must_use]
    pub fn used(&self) -> usize {
        self.with_state(|state| state.clients.len())
    }

    pub(super) fn enter(self: Arc<Self>, client: Client) -> Entry {
        let name = self
            .uses
            .map(|uses| (uses, client_digest(&self.digest, client)));
        let entered = self.with_state(|state| state.enter(name));
        match entered {
            Entered::Known => Entry::Open(self),
            Entered::New => Entry::First(self),
            Entered::Locked => Entry::Locked,
            Entered::Full => Entry::None,
        }
    }

    pub(super) fn unlock(&self, code: &str) -> Unlocking {
        self.with_state(|state| {
            let outcome = match &mut state.code {
                None => Unlocking::Unlocked,
                Some(expected) => expected.try_code(code),
            };
            if outcome == Unlocking::Unlocked {
                state.code = None;
            }
            outcome
        })
    }

    pub(super) fn with_state<T>(&self, of: impl FnOnce(&mut State) -> T) -> T {
        of(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Entered {
    Known,
    New,
    Locked,
    Full,
}

impl State {
    /// `name`: the number of uses and the digest of the client, if the number is limited.
    fn enter(&mut self, name: Option<(u32, u64)>) -> Entered {
        match name {
            _ if self.code.is_some() => Entered::Locked,
            None => Entered::Known,
            Some((_, name)) if self.clients.contains(&name) => Entered::Known,
            Some((uses, _)) if self.clients.len() >= uses as usize => Entered::Full,
            Some((_, name)) => {
                self.clients.insert(name);
                Entered::New
            }
        }
    }
}

/// Addresses are personal data: a file of a link has digests of them, which differ by link.
fn client_digest(link: &[u8; 32], client: Client) -> u64 {
    let mut hash = blake3::Hasher::new_keyed(link);
    hash.update(format!("{client:?}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

impl fmt::Debug for GrantedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantedLink(…)")
    }
}
