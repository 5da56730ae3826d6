//! The manifests that a client may see.

use std::sync::{Arc, LazyLock};

use super::record::Record;
use crate::dicom::{Comparison, PatientIds};
use crate::manifest::{Id, Owner};

/// The manifests that a client may see. The first clause that concerns a manifest decides; without
/// one, the manifest does not exist for the client.
#[derive(Debug, Clone, Default)]
pub struct View(Arc<[Clause]>);

/// Whether manifests are visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The manifests that it concerns.
    pub whose: Whose,
    /// Whether they are visible.
    pub is_visible: bool,
}

/// Some manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// All of them.
    All,
    /// Those that this subject has registered; `None`: a client that was not identified.
    OwnedBy(Option<Owner>),
    /// Those all of whose studies are of this patient, by an identifier of one issuer.
    About(PatientIds),
    /// This one.
    Only(Id),
}

impl View {
    /// Every manifest.
    #[must_use]
    pub fn everything() -> Self {
        /// Every request to an open listener has it.
        static EVERYTHING: LazyLock<View> = LazyLock::new(|| {
            View::of(vec![Clause {
                whose: Whose::All,
                is_visible: true,
            }])
        });
        EVERYTHING.clone()
    }

    /// Nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// The manifests that these clauses leave visible.
    #[must_use]
    pub fn of(mut clauses: Vec<Clause>) -> Self {
        // Whatever follows a clause on all manifests never decides.
        let last = clauses.iter().position(|clause| clause.whose == Whose::All);
        if let Some(last) = last {
            clauses.truncate(last + 1);
        }
        Self(clauses.into())
    }

    /// Whether no manifest is hidden.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        matches!(&*self.0, [only] if only.whose == Whose::All && only.is_visible)
    }

    /// Whether no manifest can be visible.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        !self.0.iter().any(|clause| clause.is_visible)
    }

    /// Whether a manifest is visible.
    #[must_use]
    pub fn shows(&self, id: Id, record: &Record) -> bool {
        let mut clauses = self.0.iter();
        let deciding = clauses.find(|clause| clause.whose.has(id, record));
        deciding.is_some_and(|clause| clause.is_visible)
    }
}

impl Whose {
    fn has(&self, id: Id, record: &Record) -> bool {
        match self {
            Self::All => true,
            Self::OwnedBy(owner) => record.registration.owner == *owner,
            Self::About(patient) => {
                let mut studies = record.studies.iter().map(|outline| outline.unpack());
                !record.studies.is_empty()
                    && studies.all(|study| {
                        study.patient.identifiers().compare(patient) == Comparison::Same
                    })
            }
            Self::Only(only) => *only == id,
        }
    }
}
