//! A question to a source.

use std::sync::Arc;

use http::HeaderValue;

use super::log::mark;
use crate::dicom::SopInstanceUid;
use crate::dicom::part10::Identity;
use crate::digest::Digest;
use crate::hop::Hop;
use crate::instance::Listing;
use crate::resource::Target;
use crate::retrieve::is_of;
use crate::source::{Representation, Source};

/// A question to a source, and the request that asks it first.
#[derive(Debug, Clone)]
pub(in crate::retrieve) struct Question {
    pub(in crate::retrieve) source: Arc<Source>,
    pub(in crate::retrieve) target: Target,
    pub(in crate::retrieve) representation: Representation,
    /// The selected instances of the answer; without it, all instances of the target.
    pub(in crate::retrieve) listing: Option<Arc<Listing>>,
    pub(in crate::retrieve) hop: Arc<Hop>,
    /// Entity tags of the stale copy in a tier.
    pub(in crate::retrieve) had: Option<HeaderValue>,
    /// Whether it repairs an answer that broke off.
    pub(in crate::retrieve) is_repair: bool,
}

/// The identity of a question, apart from its selection.
pub(super) type Name = (Arc<str>, Target, Representation);

impl Question {
    pub(super) fn name(&self) -> Name {
        (self.source.key(), self.target.clone(), self.representation)
    }

    /// The number of the request that asks: the address of what travels with it, which the crossing
    /// holds.
    pub(in crate::retrieve) fn request(&self) -> usize {
        Arc::as_ptr(&self.hop).addr()
    }

    /// The mark of an instance of the series that the question is about.
    pub(super) fn mark(&self, uid: &SopInstanceUid) -> Option<Digest> {
        match &self.target {
            Target::Series(_, series) | Target::Instance(_, series, _) => Some(mark(series, uid)),
            Target::Study(_) => None,
        }
    }

    pub(super) fn means(&self, identity: &Identity) -> bool {
        is_of(identity, &self.target)
            && self
                .listing
                .as_ref()
                .is_none_or(|listing| listing.number(identity).is_some())
    }

    pub(super) fn means_the_same(&self, other: &Self) -> bool {
        match (&self.listing, &other.listing) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}
