//! Disagreements between manifests of one study: on the patient, and on the location of instances.

use std::fmt;
use std::sync::Arc;

use crate::dicom::StudyInstanceUid;
use crate::ihe::{HomeCommunityId, Location};

/// The policy for a manifest that disagrees with manifests registered earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Refuse the registration.
    #[default]
    Refuse,
    /// Register it. In the union of all manifests, the first one takes precedence.
    KeepFirst,
}

/// The source behind a location, so that two names for one source compare equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The server, or the other community's gateway.
    pub server: Arc<str>,
    /// The location behind a gateway.
    pub behind: Option<Location>,
}

/// Resolves the locations of a manifest to a place, if one is configured.
pub type Locate<'a> = dyn Fn(&[Location], Option<&HomeCommunityId>) -> Option<Place> + 'a;

/// A disagreement of a manifest with manifests registered earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The study.
    pub study: StudyInstanceUid,
    /// Whether the manifests name different patients.
    pub patient: bool,
    /// The number of instances that they locate at different places.
    pub instances: usize,
}

/// A manifest disagrees with manifests registered earlier and is refused. The text reveals nothing
/// else about those manifests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Conflict(pub Vec<Disagreement>);

impl Place {
    /// Whether this is certainly another place. Two locations behind one gateway may have names of
    /// different kinds; they may then be the same.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        if self.server != other.server {
            return true;
        }
        let (Some(one), Some(other)) = (&self.behind, &other.behind) else {
            return false;
        };
        // As in the registry, the Retrieve Location UID takes precedence, because URLs change.
        match (&one.retrieve_location_uid, &other.retrieve_location_uid) {
            (Some(one), Some(other)) => one != other,
            (None, _) | (_, None) => match (&one.retrieve_url, &other.retrieve_url) {
                (Some(one), Some(other)) => one != other,
                (None, _) | (_, None) => false,
            },
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patients = self.0.iter().filter(|one| one.patient).count();
        let instances: usize = self.0.iter().map(|one| one.instances).sum();
        f.write_str("the manifest disagrees with one registered earlier on ")?;
        match (patients, instances) {
            (0, _) => write!(f, "the location of {instances} instances")?,
            (_, 0) => write!(f, "the patient of {patients} studies")?,
            (_, _) => write!(
                f,
                "the patient of {patients} studies and the location of {instances} instances"
            )?,
        }
        f.write_str("; conflict=keep_first registers it, and the earlier one takes precedence")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ihe::RetrieveLocationUid;

    fn place(server: &str, uid: &str, url: &str) -> Place {
        let uid = RetrieveLocationUid::parse(uid).ok();
        let url = (!url.is_empty()).then(|| url.into());
        Place {
            server: server.into(),
            behind: (uid.is_some() || url.is_some()).then_some(Location {
                retrieve_location_uid: uid,
                retrieve_url: url,
                retrieve_ae_title: None,
            }),
        }
    }

    #[test]
    fn places_are_compared_by_what_they_are_not_by_how_they_are_named() {
        for (one, other, expected) in [
            (("a", "", ""), ("a", "", ""), false),
            (("a", "", ""), ("b", "", ""), true),
            (("g", "1.2", "u"), ("g", "1.2", "v"), false),
            (("g", "1.2", "u"), ("g", "1.3", "u"), true),
            (("g", "", "u"), ("g", "", "v"), true),
            (("g", "1.2", "u"), ("g", "", "u"), false),
            (("g", "1.2", ""), ("g", "", "u"), false),
        ] {
            let make = |(server, uid, url)| place(server, uid, url);
            let (a, b) = (make(one), make(other));
            assert_eq!(a.differs_from(&b), expected, "{one:?} {other:?}");
            assert_eq!(b.differs_from(&a), expected, "{one:?} {other:?}");
        }
    }
}
