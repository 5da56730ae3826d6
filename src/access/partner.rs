//! Another community's gateway as a client.

use crate::credentials::Token;
use crate::ihe::HomeCommunityId;

/// A partner.
#[derive(Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its community.
    pub home_community_id: HomeCommunityId,
    /// Its alias in metrics and logs.
    pub alias: String,
    /// Its required token.
    token: Option<Token>,
}

impl Partner {
    pub(super) fn new(
        home_community_id: HomeCommunityId,
        alias: String,
        token: Option<Token>,
    ) -> Self {
        Self {
            home_community_id,
            alias,
            token,
        }
    }

    /// Whether the `Authorization` field is valid: any value is, if no token is configured.
    pub(super) fn has_token_in(&self, authorization: Option<&str>) -> bool {
        match &self.token {
            None => true,
            Some(token) => authorization.is_some_and(|value| token.is_carried_by(value)),
        }
    }
}
