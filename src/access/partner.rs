//! Another community's gateway, when it asks.

use crate::credentials::Token;
use crate::ihe::HomeCommunityId;

/// A partner.
#[derive(Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its community.
    pub home_community_id: HomeCommunityId,
    /// What it is called in metrics and logs.
    pub alias: String,
    /// The token that it must send.
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

    /// Whether the value of `Authorization` is what it must be: if no token is agreed upon, it does
    /// not matter.
    pub(super) fn has_token_in(&self, authorization: Option<&str>) -> bool {
        match &self.token {
            None => true,
            Some(token) => authorization.is_some_and(|value| token.is_carried_by(value)),
        }
    }
}
