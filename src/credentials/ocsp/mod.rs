//! Answers of an authority about the revocation of one certificate (OCSP, RFC 6960), as servers
//! staple them to their handshakes (RFC 6066 8). The gateway asks no responder.

mod response;
#[cfg(test)]
mod rig;
mod staple;
mod verifier;

pub use response::{Answer, Status, Untrusted};
pub use staple::Staple;
pub(super) use staple::Stapler;
pub(super) use verifier::ServerVerifier;
