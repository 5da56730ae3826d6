//! One request, and everything that the gateway finds out about its sender.

use std::sync::{Arc, OnceLock};

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, Method};

use super::forwarded::PublicUrl;
use crate::access::{Caller, Door};
use crate::budget::Account;
use crate::hop::Hop;
use crate::library::View;
use crate::manifest::Id;
use crate::resource::Target;
use crate::source::client::User;

/// A request with an identified sender.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) caller: Caller,
    /// The manifests that the sender may see in this transaction.
    pub(crate) view: View,
    /// The address of the link that the request is below.
    pub(crate) link_url: Option<String>,
    /// The listener that accepted it.
    pub(crate) door: Door,
    /// The URL at which the client reaches the gateway.
    pub(crate) public_url: Arc<PublicUrl>,
    pub(crate) hop: Arc<Hop>,
    /// The user for sources that decide for each of them; they are few, so it is worked out late.
    pub(crate) user: OnceLock<Arc<User>>,
    /// The memory for the response.
    pub(crate) account: Account,
}

impl Exchange<'_> {
    pub(crate) fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The `Accept` fields.
    pub(crate) fn accept(&self) -> Vec<&str> {
        let fields = self.head.headers.get_all(ACCEPT).iter();
        fields.filter_map(|field| field.to_str().ok()).collect()
    }

    /// The name of a manifest for the client. The holder of a link does not learn its id: at an open
    /// listener, that would open more.
    pub(crate) fn name_of(&self, id: Id) -> String {
        match &self.caller {
            Caller::Link(grant) => grant.id.to_string(),
            Caller::Member { .. } | Caller::Partner(_) | Caller::Subject(_) => id.to_string(),
        }
    }

    /// Whether the client asks for the head of a response that would hold many instances.
    pub(crate) fn is_head_of_many(&self, target: &Target) -> bool {
        self.head.method == Method::HEAD && !matches!(target, Target::Instance(..))
    }
}
