//! The defects of a manifest that did not refuse it.

use std::collections::HashMap;
use std::fmt;

use crate::community::NotAnAddress;
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};

/// The limit for warnings of one manifest. Some defects contain a value, so they have many forms.
const MOST_WARNINGS: usize = 1_000;
/// The limit for the subjects of one warning.
const MOST_SUBJECTS: usize = 64;

/// One defect, its outcome, and all that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What became of the defective part.
    pub outcome: Outcome,
    /// The defect.
    pub defect: Defect,
    /// What has the defect, in the order of the document.
    pub about: Vec<Subject>,
    /// Whether more have it than are listed.
    pub has_more: bool,
}

/// What became of a defective part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is not used: something is missing here.
    LeftOut,
    /// It is used as if it had no defect: nothing is missing.
    ReadAllTheSame,
}

/// The part of a manifest that has a defect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subject {
    /// The document, or its patient.
    #[default]
    Manifest,
    /// A study.
    Study(StudyInstanceUid),
    /// A series, or its instances.
    Series(SeriesInstanceUid),
}

/// A defect. `&'static str` names an attribute or another part of the document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Defect {
    /// The title is not one of an imaging study manifest.
    #[error("the document title is not that of an imaging study manifest")]
    UnexpectedTitle,
    /// The manifest uses the codes of MADO 1.1 or of a change proposal.
    #[error("the codes are temporary ones (MADOTEMP…, ddd…), which MADO 1.2 has replaced")]
    OldCodes,
    /// The descriptive image library is missing or unreadable; only the evidence is used.
    #[error("there is no readable image library, so nothing describes the series")]
    NoLibrary,
    /// The image library is not directly below the root.
    #[error("the image library is not directly below the root of the document")]
    LibraryPlace,
    /// Image library groups are not in an image library.
    #[error("image library groups stand outside an image library")]
    GroupPlace,
    /// The descriptions of instances precede them.
    #[error("the descriptions of instances stand beside them, not below them")]
    DescriptorPlace,
    /// A relationship type is missing, or not as PS3.3 spells it.
    #[error("a content item has no relationship type, or a misspelt one")]
    Relationship,
    /// The code of a concept has no value or no scheme.
    #[error("the code of a concept has no value or no coding scheme")]
    ConceptCode,
    /// An image library group does not name its series.
    #[error("an image library group does not name its series")]
    GroupWithoutSeries,
    /// An element has another value representation than the standard gives it.
    #[error("{0} has a wrong value representation")]
    Representation(&'static str),
    /// A number is written as text.
    #[error("the {0} is written as text, not as a number")]
    NumberAsText(&'static str),
    /// A part is unreadable or not in the form that the standard gives it.
    #[error("the {0} is malformed")]
    Malformed(&'static str),
    /// The time of a date and time is malformed.
    #[error("the time of the {0} is malformed, so only its date is used")]
    NoTime(&'static str),
    /// A text or list is too long.
    #[error("the {0} is too long")]
    TooLong(&'static str),
    /// A description names something that the manifest does not list.
    #[error("the {0} belongs to nothing that the manifest lists")]
    NotListed(&'static str),
    /// A study or series lists no instances.
    #[error("the {0} lists no instances")]
    Empty(&'static str),
    /// A study or series is listed more than once.
    #[error("the {0} is listed more than once; the entries are joined")]
    Repeated(&'static str),
    /// The manifest declares and lists different numbers.
    #[error("{declared} {what} are declared and {listed} are listed; the listed ones count")]
    CountDiffers {
        /// `series` or `instances`.
        what: &'static str,
        /// The declared number.
        declared: u32,
        /// The number of listed ones.
        listed: u32,
    },
    /// A series declares instances and lists none. Every response lacks them.
    #[error("{0} instances are declared without being listed: every response lacks them")]
    Unlisted(usize),
    /// A series has no readable Retrieve Location UID, Retrieve URL or Retrieve AE Title.
    #[error("there is no location: listed, but cannot be retrieved")]
    NoLocation,
    /// A Retrieve Location UID is not an OID.
    #[error("the Retrieve Location UID {0} is not an OID")]
    OpaqueLocation(Box<str>),
    /// An OID does not start with one of the root arcs 0, 1 and 2.
    #[error("the Retrieve Location UID {0} does not start with 0, 1 or 2")]
    UnregistrableOid(Box<str>),
    /// A Retrieve URL cannot select a source.
    #[error("the Retrieve URL is not used, because {0}")]
    UnusableAddress(NotAnAddress),
    /// A Retrieve URL addresses another study or series than the one that carries it.
    #[error("the Retrieve URL addresses another study or series")]
    ForeignAddress,
    /// The number of entries for an instance that their series already lists.
    #[error("{0} entries list an instance that their series already lists; the first entry counts")]
    Duplicates(u32),
    /// The number of entries for an instance that another series lists too (PS3.3 C.12.1 has one
    /// series for an instance; copies under a new series happen). Each series has its own.
    #[error("{0} instances are listed in more than one series; each series has its own")]
    InSeveralSeries(u32),
    /// The number of UIDs with leading zeros (PS3.5 9.1), by which the source knows the objects.
    #[error("{0} UIDs have leading zeros, which DICOM forbids: they are kept as they are")]
    LeadingZeros(usize),
    /// Entries for one study name different patients: the study has no patient.
    #[error("the entries for the study name different patients, so it has none")]
    PatientsDiffer,
    /// The target of a reference is missing from the Bundle.
    #[error("the target of the {0} reference is missing from the Bundle")]
    UnresolvedReference(&'static str),
    /// The limit for warnings is reached.
    #[error("there are more defects than are listed here")]
    Further,
    /// The registration names a community that the gateway does not know.
    #[error("the manifest's home community {0} is not configured here")]
    UnknownCommunity(Box<str>),
    /// A manifest that was registered before names another patient.
    #[error(
        "a manifest that was registered before names another patient; the root over all manifests \
         leaves this one out"
    )]
    OtherPatient,
    /// A manifest that was registered before locates instances elsewhere.
    #[error(
        "a manifest that was registered before has {0} instances at another location; the root \
         over all manifests retrieves them from there"
    )]
    OtherLocation(usize),
    /// No configured location or community has the series.
    #[error("no configured location has it: listed, but cannot be retrieved")]
    NotLocatable,
}

impl Outcome {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left_out",
            Self::ReadAllTheSame => "read_all_the_same",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeftOut => "left out",
            Self::ReadAllTheSame => "read all the same",
        })
    }
}

impl Defect {
    /// The attribute or other part that has the defect, if the defect names one.
    #[must_use]
    pub fn attribute(&self) -> Option<&'static str> {
        match self {
            Self::Representation(part)
            | Self::NumberAsText(part)
            | Self::Malformed(part)
            | Self::NoTime(part)
            | Self::TooLong(part)
            | Self::NotListed(part)
            | Self::UnresolvedReference(part) => Some(part),
            Self::UnexpectedTitle => Some("document title"),
            Self::UnusableAddress(_) | Self::ForeignAddress => Some("Retrieve URL"),
            Self::OpaqueLocation(_) | Self::UnregistrableOid(_) => Some("Retrieve Location UID"),
            Self::PatientsDiffer | Self::OtherPatient => Some("patient"),
            Self::OldCodes
            | Self::NoLibrary
            | Self::LibraryPlace
            | Self::GroupPlace
            | Self::DescriptorPlace
            | Self::Relationship
            | Self::ConceptCode
            | Self::GroupWithoutSeries
            | Self::Empty(_)
            | Self::Repeated(_)
            | Self::CountDiffers { .. }
            | Self::Unlisted(_)
            | Self::NoLocation
            | Self::Duplicates(_)
            | Self::InSeveralSeries(_)
            | Self::LeadingZeros(_)
            | Self::Further
            | Self::UnknownCommunity(_)
            | Self::OtherLocation(_)
            | Self::NotLocatable => None,
        }
    }
}

impl Warning {
    /// A warning about one subject.
    #[must_use]
    pub fn about(subject: Subject, outcome: Outcome, defect: Defect) -> Self {
        Self {
            outcome,
            defect,
            about: vec![subject],
            has_more: false,
        }
    }

    /// A warning about all of these, if there are any.
    #[must_use]
    pub fn about_all(
        subjects: impl IntoIterator<Item = Subject>,
        outcome: Outcome,
        defect: Defect,
    ) -> Option<Self> {
        let mut subjects = subjects.into_iter();
        let mut warning = Self::about(subjects.next()?, outcome, defect);
        for subject in subjects {
            warning.add(&subject);
        }
        Some(warning)
    }

    /// Adds a subject, unless it is there or there are too many.
    fn add(&mut self, subject: &Subject) {
        if self.about.last() == Some(subject) || self.about.contains(subject) {
            return;
        }
        match self.about.len() {
            MOST_SUBJECTS.. => self.has_more = true,
            _ => self.about.push(subject.clone()),
        }
    }
}

/// Collects warnings while a document is read: one for each defect, with all its subjects.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    list: Vec<Warning>,
    at: HashMap<(Outcome, Defect), usize>,
    subject: Subject,
}

impl Warnings {
    /// Names the part of the document that is being read.
    pub(super) fn turn_to(&mut self, subject: Subject) {
        self.subject = subject;
    }

    /// Something that is not used.
    pub(super) fn left_out(&mut self, defect: Defect) {
        self.add(Outcome::LeftOut, defect);
    }

    /// Something that is used all the same.
    pub(super) fn read_all_the_same(&mut self, defect: Defect) {
        self.add(Outcome::ReadAllTheSame, defect);
    }

    /// A malformed part, which is left out.
    pub(super) fn malformed(&mut self, part: &'static str) {
        self.left_out(Defect::Malformed(part));
    }

    /// Compares a declared number with that of the listed ones.
    pub(super) fn count(&mut self, what: &'static str, declared: Option<u32>, listed: usize) {
        let listed = u32::try_from(listed).unwrap_or(u32::MAX);
        if let Some(declared) = declared.filter(|&declared| declared != listed) {
            self.read_all_the_same(Defect::CountDiffers {
                what,
                declared,
                listed,
            });
        }
    }

    /// Compares the declared instances of a series with the listed ones. It lacks some that are
    /// `unlisted` if it lists none.
    pub(super) fn count_instances(
        &mut self,
        declared: Option<u32>,
        listed: usize,
        unlisted: usize,
    ) {
        match unlisted {
            0 => self.count("instances", declared, listed),
            unlisted => self.left_out(Defect::Unlisted(unlisted)),
        }
    }

    /// The warnings, in the order in which their defects were met first.
    pub(super) fn into_list(self) -> Vec<Warning> {
        self.list
    }

    fn add(&mut self, outcome: Outcome, defect: Defect) {
        let key = (outcome, defect);
        if let Some(warning) = self.at.get(&key).and_then(|&at| self.list.get_mut(at)) {
            warning.add(&self.subject);
            return;
        }
        match self.list.len() {
            ..MOST_WARNINGS => {
                let subject = self.subject.clone();
                self.list
                    .push(Warning::about(subject, outcome, key.1.clone()));
                self.at.insert(key, self.list.len() - 1);
            }
            MOST_WARNINGS => {
                let further = Warning::about(Subject::Manifest, Outcome::LeftOut, Defect::Further);
                self.list.push(further);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(uid: &str) -> Subject {
        Subject::Series(SeriesInstanceUid::parse(uid).expect("a UID"))
    }

    #[test]
    fn one_defect_is_one_warning_about_all_that_have_it() {
        let mut warnings = Warnings::default();
        for uid in ["1.2.1", "1.2.2", "1.2.1"] {
            warnings.turn_to(series(uid));
            warnings.malformed("series date");
        }
        warnings.read_all_the_same(Defect::NumberAsText("series number"));
        let list = warnings.into_list();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].about, [series("1.2.1"), series("1.2.2")]);
        assert_eq!(list[0].outcome, Outcome::LeftOut);
        assert_eq!(list[1].about, [series("1.2.1")]);
        assert_eq!(list[1].outcome, Outcome::ReadAllTheSame);
    }

    #[test]
    fn warnings_and_their_subjects_are_bounded() {
        let mut warnings = Warnings::default();
        for number in 0..2 * MOST_WARNINGS {
            warnings.turn_to(series(&format!("1.2.{number}")));
            warnings.malformed("series date");
            warnings.read_all_the_same(Defect::Unlisted(number));
        }
        let list = warnings.into_list();
        assert_eq!(list.len(), MOST_WARNINGS + 1);
        assert_eq!(list[0].about.len(), MOST_SUBJECTS);
        assert!(list[0].has_more);
        assert_eq!(list[MOST_WARNINGS].defect, Defect::Further);
    }
}
