//! What manifests of one study disagree on: whose study it is, and where its instances are.

use std::fmt;
use std::sync::Arc;

use crate::dicom::StudyInstanceUid;
use crate::ihe::{HomeCommunityId, Location};

/// What becomes of a manifest that disagrees with those registered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It is not registered.
    #[default]
    Refuse,
    /// It is registered. Where all manifests are one, the first one holds.
    KeepFirst,
}

/// A source that a manifest means, so that two ways of naming it are the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The server, or the other community's gateway.
    pub server: Arc<str>,
    /// Which location behind a gateway.
    pub behind: Option<Location>,
}

/// The place that these locations of a manifest mean, if it is configured.
pub type Locate<'a> = dyn Fn(&[Location], Option<&HomeCommunityId>) -> Option<Place> + 'a;

/// On what a manifest disagrees with those registered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Of which study.
    pub study: StudyInstanceUid,
    /// Whether they name different patients.
    pub patient: bool,
    /// How many instances they have at different places.
    pub instances: usize,
}

/// A manifest disagrees with those registered before, and is not to be registered then. It says
/// nothing of those but that they disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Conflict(pub Vec<Disagreement>);

impl Place {
    /// Whether this is certainly another place. Two locations behind one gateway may be named by
    /// different means: then nothing is certain.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        if self.server != other.server {
            return true;
        }
        let (Some(one), Some(other)) = (&self.behind, &other.behind) else {
            return false;
        };
        // As in the registry, the Retrieve Location UID comes first; URLs change.
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
        f.write_str("it disagrees with a manifest that was registered before on ")?;
        match (patients, instances) {
            (0, _) => write!(f, "the location of {instances} instances")?,
            (_, 0) => write!(f, "the patient of {patients} studies")?,
            (_, _) => write!(
                f,
                "the patient of {patients} studies and the location of {instances} instances"
            )?,
        }
        f.write_str("; conflict=keep_first registers it beside that one, which stays the first")
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
