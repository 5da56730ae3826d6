//! `offers`: the transactions that a source provides itself.

use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::resource::Offer;

/// The `offers` of a location or community.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Offers {
    /// `"auto"`: the source shows what it offers when it is asked.
    #[default]
    Auto,
    /// These, and nothing else.
    Listed(Vec<Offered>),
}

/// A transaction of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offered {
    /// *Get Instances*, mandatory for every source.
    Instances,
    /// Metadata.
    Metadata,
    /// Rendered images and thumbnails.
    Rendered,
    /// Frames.
    Frames,
    /// Bulk data and pixel data.
    Bulkdata,
}

impl Offers {
    /// Whether it names the requested resource; `None` if the source has to show it.
    #[must_use]
    pub fn list(&self, offer: Offer) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Listed(listed) => Some(listed.iter().any(|offered| offered.is(offer))),
        }
    }

    /// Whether it permits nothing but instances, as sources need that have nothing else.
    pub(super) fn permit_instances_only(&self) -> bool {
        match self {
            Self::Auto => true,
            Self::Listed(listed) => listed == &[Offered::Instances],
        }
    }
}

impl Offered {
    fn is(self, offer: Offer) -> bool {
        match self {
            Self::Instances => false,
            Self::Metadata => offer == Offer::Metadata,
            Self::Rendered => offer == Offer::Rendered,
            Self::Frames => offer == Offer::Frames,
            Self::Bulkdata => offer == Offer::Bulkdata,
        }
    }
}

impl<'de> Deserialize<'de> for Offers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OffersVisitor)
    }
}

/// Reads a word or a list. An untagged enum would not tell which entry of the list is wrong.
struct OffersVisitor;

impl<'de> Visitor<'de> for OffersVisitor {
    type Value = Offers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or a list of transactions")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Offers, E> {
        match word {
            "auto" => Ok(Offers::Auto),
            other => Err(E::unknown_variant(other, &["auto"])),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Offers, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Offers::Listed)
    }
}
