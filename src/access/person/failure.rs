//! Why a login fails.

use crate::access::token::Refused;

/// Why a login fails. It holds nothing of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The provider does not answer, or not as it should.
    #[error("the login server does not answer")]
    Unavailable,
    /// The provider has not let the person in.
    #[error("the login was not completed")]
    Denied,
    /// This browser has begun no such login, or too long ago, or it has ended already.
    #[error("no such login is under way in this browser")]
    Unknown,
    /// The ID token is refused.
    #[error("the login is refused: {0}")]
    Refused(#[from] Refused),
    /// The system yields no random bytes.
    #[error("the system yields no random bytes")]
    NoRandom,
}
