//! Why a token is refused.

/// Why a token is refused. It holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// It is larger than `largest_token`.
    #[error("the token is too large")]
    TooLarge,
    /// It is not a signed JWT (RFC 7519 7.2) of unambiguous JSON.
    #[error("the token is malformed")]
    Malformed,
    /// Its header has a parameter that would change how it is read (RFC 7515 4.1.2 to 4.1.11).
    #[error("the token's header has a parameter that is not accepted")]
    Header,
    /// It is another kind of token: an ID token, a logout token (RFC 8725 3.11).
    #[error("the token is not an access token")]
    Kind,
    /// No issuer of the settings has issued it.
    #[error("the token's issuer is not configured")]
    Issuer,
    /// Its algorithm is not one of its issuer's.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Its issuer has no such key.
    #[error("the token's key is unknown")]
    Key,
    /// Its signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is for another server.
    #[error("the token is for another audience")]
    Audience,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet, or was issued in the future.
    #[error("the token is not valid yet")]
    Early,
    /// It was issued to a client that `authorized_parties` does not list.
    #[error("the token was issued to another client")]
    Party,
    /// A claim is missing or has another form than its definition.
    #[error("a claim of the token is missing or malformed")]
    Claim,
    /// It is bound to another certificate than that of the connection (RFC 8705 3), or to a key of
    /// another kind.
    #[error("the token is bound to another certificate or key")]
    Binding,
    /// Its issuer says that it is not active (RFC 7662 2.2).
    #[error("the token is not active")]
    Inactive,
    /// The authorization server does not answer, so nothing is known about the token.
    #[error("the authorization server does not answer")]
    Unavailable,
}
