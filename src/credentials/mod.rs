//! What proves who somebody is: certificates and their keys, authorities, tokens.
//!
//! Everything comes from files of the operator and is looked at again while the gateway runs
//! ([`Watched`]): what is replaced there is used from the next connection on, and what cannot be
//! used is not.

mod certificate;
mod files;
mod token;
mod watched;

pub use certificate::{Certificate, Fingerprint, Name, NotAFingerprint, NotAName};
pub use files::{ClientFiles, ClientVerifier, Error, Loaded, ServerFiles, ServerTls};
pub use token::{Token, TokenSource};
pub use watched::Watched;

/// The moment that validity is compared with: seconds since 1970.
pub(crate) fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}
