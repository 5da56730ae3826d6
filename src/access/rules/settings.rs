//! `[[rule]]`: who may do what.

use serde::Deserialize;

use crate::ihe::HomeCommunityId;

/// One `[[rule]]`. Every condition that is set must hold; of a list, one entry must.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSettings {
    /// Its name in `xcwado rules explain`.
    pub name: Option<String>,
    /// Names of `[[issuer]]`.
    pub issuers: Vec<String>,
    /// `sub` of tokens.
    pub subjects: Vec<String>,
    /// `client_id` of tokens.
    pub clients: Vec<String>,
    /// Scopes of tokens.
    pub scopes: Vec<String>,
    /// `subject_role` of tokens: a code, or a code system, `|` and a code.
    pub roles: Vec<String>,
    /// `subject_organization` or `subject_organization_id` of tokens.
    pub organisations: Vec<String>,
    /// Communities: of a partner gateway, or `home_community_id` of a token.
    pub communities: Vec<HomeCommunityId>,
    /// Whether it is for clients that hold a link.
    pub link: bool,
    /// Whether it is for clients with a certificate of `listen.client_authorities` that is no
    /// partner's.
    pub certificate: bool,
    /// Whether it is also for clients that are not identified.
    pub anyone: bool,
    /// `purpose_of_use` of tokens, or the purpose of a link: a code, or a code system, `|` and a
    /// code.
    pub purposes: Vec<String>,
    /// The transactions.
    pub transactions: Vec<Transaction>,
    /// The manifests.
    pub manifests: Manifests,
    /// Retrieve Location UIDs, for the transactions of XC-WADO; empty: all.
    pub locations: Vec<String>,
    /// Whether it permits or forbids.
    pub effect: Effect,
}

/// The transactions that rules distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// Register manifests, and delete them.
    Register,
    /// List manifests, and read their summaries and documents.
    List,
    /// Search (PS3.18 10.6).
    Search,
    /// Retrieve instances, metadata, frames and bulk data, and documents for viewers.
    Retrieve,
    /// Retrieve pictures: rendered resources and thumbnails.
    Render,
    /// Make, list and revoke links to manifests.
    Link,
    /// Retrieve from other communities by RAD-160.
    XcWadoInitiating,
    /// Retrieve from this community by RAD-160.
    XcWadoResponding,
    /// Use the operator listener, where it is not on loopback.
    Operate,
}

/// The manifests of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manifests {
    /// Those that the same subject has registered.
    #[default]
    Own,
    /// Those of the token's patient (`person_id`), by an identifier of the same issuer.
    Patient,
    /// All.
    All,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It permits.
    #[default]
    Allow,
    /// It forbids.
    Deny,
}

impl Transaction {
    /// Its name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::List => "list",
            Self::Search => "search",
            Self::Retrieve => "retrieve",
            Self::Render => "render",
            Self::Link => "link",
            Self::XcWadoInitiating => "xc_wado_initiating",
            Self::XcWadoResponding => "xc_wado_responding",
            Self::Operate => "operate",
        }
    }

    /// Whether it retrieves by RAD-160, which knows no manifests.
    #[must_use]
    pub fn is_xc_wado(self) -> bool {
        matches!(self, Self::XcWadoInitiating | Self::XcWadoResponding)
    }
}
