//! Credentials: certificates and their keys, authorities and their revocation lists, stapled
//! OCSP responses, tokens.
//!
//! All credentials come from the operator's files, which are watched while the gateway runs
//! ([`Watched`]): valid replacements apply to new connections, invalid ones are ignored.

mod assertion;
mod certificate;
mod files;
mod ocsp;
mod revocation;
mod token;
mod watched;

pub use assertion::SigningKey;
pub use certificate::{Certificate, Fingerprint, Name, NotAFingerprint, NotAName};
pub(crate) use files::read;
pub use files::{ClientFiles, ClientVerifier, Error, Loaded, ServerFiles, ServerTls};
pub use ocsp::{Answer, Staple, Status, Untrusted};
pub use revocation::RevocationList;
pub use token::{Token, TokenSource};
pub use watched::Watched;

/// The current time for validity checks: seconds since 1970.
pub(crate) fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}
