//! Answers of an authority about the revocation of one certificate (OCSP, RFC 6960), as servers
//! staple them to their handshakes (RFC 6066 8). The gateway asks no responder.

mod response;
#[cfg(test)]
mod rig;
mod verifier;

pub(super) use verifier::ServerVerifier;
