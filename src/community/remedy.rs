//! What would give a series a source, for the person who registers its manifest.
//!
//! Each remedy is derived from the rules of [`Registry::resolve`]: with all its steps taken, the
//! series has a source.

use std::collections::BTreeSet;
use std::fmt;

use super::address::Address;
use super::registry::Registry;
use crate::ihe::{HomeCommunityId, Location, RetrieveLocationUid};

/// Steps that together give a series a source. Displayed in short, without values of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remedy {
    /// Whose series it is.
    pub owner: Owner,
    /// The steps, of which all are necessary. Empty: only the sender can help.
    pub steps: Vec<Step>,
}

/// The community of a series, which its manifest does not always tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Another community.
    Other,
    /// Ours.
    Us,
    /// The manifest gives no location.
    Nobody,
}

/// A change of the registration, or of the settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The registration names the community that the manifest comes from.
    HomeCommunityId,
    /// A `[[community]]`; the community, if the registration names it.
    Community(Option<Box<str>>),
    /// `gateway_url` of the `[[community]]`.
    GatewayUrl(Box<str>),
    /// `xc_wado.initiating`.
    Initiating,
    /// `xc_wado.retrieve_url_alone`.
    RetrieveUrlAlone,
    /// `xc_wado.opaque_location_ids`.
    OpaqueLocationIds,
    /// A `[[location]]` with this Retrieve Location UID.
    LocationUid(Box<str>),
    /// A `[[location]]` with this Retrieve URL.
    RetrieveUrl(Box<str>),
    /// A `[[location]]` with this Retrieve AE Title.
    AeTitle(Box<str>),
}

impl Registry {
    /// The remedies for a series that [`Registry::resolve`] finds no source for.
    #[must_use]
    pub fn remedies(
        &self,
        meant: &[Location],
        community: Option<&HomeCommunityId>,
    ) -> BTreeSet<Remedy> {
        let elsewhere = meant.iter().filter_map(|location| {
            let mut steps = self.reaching(community);
            steps.extend(self.naming(location)?);
            let owner = Owner::Other;
            Some(Remedy { owner, steps })
        });
        let here = meant.iter().filter_map(|location| {
            let steps = self.locating(location, community)?;
            let owner = Owner::Us;
            Some(Remedy { owner, steps })
        });
        let mut remedies: BTreeSet<_> = elsewhere.chain(here).collect();
        if remedies.is_empty() {
            let owner = Owner::Nobody;
            let steps = Vec::new();
            remedies.insert(Remedy { owner, steps });
        }
        remedies
    }

    /// The steps to the gateway of another community.
    fn reaching(&self, community: Option<&HomeCommunityId>) -> Vec<Step> {
        let mut steps = Vec::new();
        let other = community.filter(|id| *id != self.home_community_id());
        match other.map(|id| (id, self.community(id))) {
            None => {
                steps.push(Step::HomeCommunityId);
                let has_gateway = self.communities().any(|one| one.gateway.is_some());
                steps.extend((!has_gateway).then_some(Step::Community(None)));
            }
            Some((id, None)) => steps.push(Step::Community(Some(id.as_str().into()))),
            Some((id, Some(known))) if known.gateway.is_none() => {
                steps.push(Step::GatewayUrl(id.as_str().into()));
            }
            Some((_, Some(_))) => {}
        }
        steps.extend((!self.initiating).then_some(Step::Initiating));
        steps
    }

    /// The steps with which a gateway may be asked for a location; `None` if nothing names it.
    fn naming(&self, location: &Location) -> Option<Vec<Step>> {
        let uid = location.retrieve_location_uid.as_ref();
        let has_url = address(location).is_some();
        match uid {
            Some(uid) if self.permits(uid) => Some(Vec::new()),
            Some(_) | None if has_url && self.retrieve_url_alone => Some(Vec::new()),
            Some(_) => Some(vec![Step::OpaqueLocationIds]),
            None => has_url.then(|| vec![Step::RetrieveUrlAlone]),
        }
    }

    /// The steps to a location of ours, by its best identifier.
    fn locating(
        &self,
        location: &Location,
        community: Option<&HomeCommunityId>,
    ) -> Option<Vec<Step>> {
        if let Some(uid) = &location.retrieve_location_uid {
            let mut steps = vec![Step::LocationUid(uid.as_str().into())];
            steps.extend((!self.permits(uid)).then_some(Step::OpaqueLocationIds));
            return Some(steps);
        }
        if let Some(address) = address(location) {
            return Some(vec![Step::RetrieveUrl(address.to_string().into())]);
        }
        // An AE title is unique only within its community.
        let title = location.retrieve_ae_title.clone()?;
        let is_ours = community.is_none_or(|id| id == self.home_community_id());
        is_ours.then(|| vec![Step::AeTitle(title)])
    }

    fn permits(&self, uid: &RetrieveLocationUid) -> bool {
        self.opaque_location_ids || !uid.is_opaque()
    }
}

fn address(location: &Location) -> Option<Address> {
    Address::parse(location.retrieve_url.as_deref()?).ok()
}

impl Remedy {
    /// The remedy in a sentence with the values of the manifest, for its sender.
    #[must_use]
    pub fn detailed(&self) -> String {
        let whose = match self.owner {
            Owner::Other => "if it comes from another community",
            Owner::Us => "if it is of this community",
            Owner::Nobody => {
                return "the manifest gives no usable location, which only its sender can add"
                    .to_owned();
            }
        };
        let steps: Vec<_> = self.steps.iter().map(Step::detailed).collect();
        format!("{whose}: {}", steps.join(", and "))
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner == Owner::Nobody {
            return f.write_str("a usable location in its manifest");
        }
        let steps: Vec<_> = self.steps.iter().map(Step::to_string).collect();
        f.write_str(&steps.join(" and "))
    }
}

impl Step {
    fn detailed(&self) -> String {
        match self {
            Self::HomeCommunityId => {
                "register the manifest with the parameter homeCommunityId of its community".into()
            }
            Self::Community(None) => {
                "configure a [[community]] with its home_community_id and gateway_url".into()
            }
            Self::Community(Some(id)) => {
                format!("configure a [[community]] with home_community_id = {id:?} and gateway_url")
            }
            Self::GatewayUrl(id) => format!("set gateway_url of the [[community]] {id}"),
            Self::Initiating => "set xc_wado.initiating = true".into(),
            Self::RetrieveUrlAlone => "set xc_wado.retrieve_url_alone = true, as the manifest \
                                       gives no Retrieve Location UID"
                .into(),
            Self::OpaqueLocationIds => "set xc_wado.opaque_location_ids = true, as the Retrieve \
                                        Location UID is not an OID"
                .into(),
            Self::LocationUid(uid) => {
                format!("configure a [[location]] with retrieve_location_uid = {uid:?}")
            }
            Self::RetrieveUrl(url) => {
                format!("configure a [[location]] with retrieve_urls = [{url:?}]")
            }
            Self::AeTitle(title) => {
                format!("configure a [[location]] with retrieve_ae_titles = [{title:?}]")
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HomeCommunityId => "homeCommunityId at the registration",
            Self::Community(_) => "a [[community]]",
            Self::GatewayUrl(_) => "gateway_url of its [[community]]",
            Self::Initiating => "xc_wado.initiating",
            Self::RetrieveUrlAlone => "xc_wado.retrieve_url_alone",
            Self::OpaqueLocationIds => "xc_wado.opaque_location_ids",
            Self::LocationUid(_) => "retrieve_location_uid of a [[location]]",
            Self::RetrieveUrl(_) => "retrieve_urls of a [[location]]",
            Self::AeTitle(_) => "retrieve_ae_titles of a [[location]]",
        })
    }
}

#[cfg(test)]
#[path = "remedy_tests.rs"]
mod tests;
