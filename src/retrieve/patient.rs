//! Whether an instance is of the patient that its manifest names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::Retriever;
use super::absence::Absent;
use crate::dicom::part10::Identity;
use crate::dicom::{Comparison, PatientIds, SeriesInstanceUid};
use crate::digest::Rolling;
use crate::source::{Representation, Source};

/// `retrieve.patient_mismatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatientPolicy {
    /// A certain mismatch is refused, a doubtful one is delivered with a warning.
    #[default]
    ByCertainty,
    /// Each counts as missing.
    Refuse,
    /// Each is delivered with a warning.
    Warn,
}

/// What happens to an instance of another patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatientMismatch {
    /// It counts as missing.
    Refuse,
    /// It is delivered with a warning.
    Warn,
}

/// The patients that instances of an answer are compared with, and what has been found so far.
#[derive(Debug)]
pub struct PatientCheck {
    expected: Vec<PatientIds>,
    /// Patients for which the study was registered earlier.
    earlier: Vec<PatientIds>,
    /// Of both, so that what is remembered of a series belongs to them only.
    digest: String,
    mismatches: AtomicUsize,
}

impl PatientCheck {
    /// The check of instances that are to be of each of the `expected` patients, which are one.
    #[must_use]
    pub fn new(expected: Vec<PatientIds>, earlier: Vec<PatientIds>) -> Arc<Self> {
        let mut digest = Rolling::new();
        for ids in [&expected, &earlier] {
            digest.update(&serde_json::to_vec(ids).unwrap_or_default());
        }
        Arc::new(Self {
            expected,
            earlier,
            digest: format!("{:?}", digest.digest()),
            mismatches: AtomicUsize::new(0),
        })
    }

    /// The instances of another patient that the answer has met so far.
    #[must_use]
    pub fn mismatches(&self) -> usize {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// How far an instance contradicts the patient. A study that was registered for another patient
    /// before has to say that it is of this one.
    #[must_use]
    pub fn compare(&self, found: &PatientIds) -> Comparison {
        let compared = self.expected.iter().map(|ids| ids.compare(found));
        let told = compared.max().unwrap_or(Comparison::Open);
        let is_told = self.earlier.is_empty() || matches!(told, Comparison::Different);
        let is_same = |ids: &PatientIds| ids.compare(found) == Comparison::Same;
        if is_told || self.expected.iter().any(is_same) {
            return told;
        }
        let pairs = self.earlier.iter().flat_map(|earlier| {
            let expected = self.expected.iter();
            expected.map(move |expected| earlier.compare(expected))
        });
        match pairs.max() {
            Some(Comparison::Different) => Comparison::Different,
            _ => Comparison::Doubtful,
        }
    }

    fn place(&self, source: &Source) -> Arc<str> {
        format!("{} {}", source.key(), self.digest).into()
    }
}

impl Retriever {
    /// Whether an instance may be delivered; a mismatch is counted and logged in any case.
    pub fn admits(
        &self,
        source: &Source,
        check: Option<&Arc<PatientCheck>>,
        identity: &Identity,
    ) -> bool {
        let Some((check, reaction)) = check.and_then(|check| {
            let reaction = self.reaction(check.compare(&identity.patient))?;
            Some((check, reaction))
        }) else {
            return true;
        };
        let outcome = match reaction {
            PatientMismatch::Refuse => "refused",
            PatientMismatch::Warn => "warned",
        };
        let location = &*source.alias;
        let counted = &self.metrics.patient_mismatches;
        counted.with_label_values(&[location, outcome]).inc();
        if check.mismatches.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                event = "patient_mismatch",
                location,
                outcome,
                "an instance names another patient than its manifest"
            );
        }
        self.mismatches(reaction).remember_at(
            (check.place(source), identity.series.clone()),
            &identity.sop_instance,
            Representation::AsStored,
        );
        reaction == PatientMismatch::Warn
    }

    /// Whether nothing speaks against an instance; without counting.
    #[must_use]
    pub fn is_beyond_doubt(&self, check: Option<&Arc<PatientCheck>>, patient: &PatientIds) -> bool {
        check.is_none_or(|check| self.reaction(check.compare(patient)).is_none())
    }

    fn reaction(&self, told: Comparison) -> Option<PatientMismatch> {
        let by_default = match told {
            Comparison::Same | Comparison::Open => return None,
            Comparison::Doubtful => PatientMismatch::Warn,
            Comparison::Different => PatientMismatch::Refuse,
        };
        Some(match self.settings.patient_mismatch {
            PatientPolicy::ByCertainty => by_default,
            PatientPolicy::Refuse => PatientMismatch::Refuse,
            PatientPolicy::Warn => PatientMismatch::Warn,
        })
    }

    fn mismatches(&self, reaction: PatientMismatch) -> &super::Absences {
        match reaction {
            PatientMismatch::Refuse => &self.refusals,
            PatientMismatch::Warn => &self.doubts,
        }
    }

    /// The instances of a series that were refused lately. Those that were delivered with a warning
    /// are counted as found again, so that the next answer can warn in its head.
    pub(super) fn refused(
        &self,
        source: &Source,
        check: Option<&Arc<PatientCheck>>,
        series: &SeriesInstanceUid,
    ) -> Option<Arc<Absent>> {
        let check = check?;
        let name = (check.place(source), series.clone());
        if let Some(doubts) = self.doubts.at(&name) {
            let found = doubts.instances.len();
            check.mismatches.fetch_max(found, Ordering::Relaxed);
        }
        self.refusals.at(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::PatientId;

    fn ids(value: &str, issuer: &str) -> PatientIds {
        let id = PatientId::new(value, Some(issuer)).into_iter();
        id.collect::<Vec<_>>().into()
    }

    #[test]
    fn a_study_that_was_registered_for_another_patient_has_to_say_whose_it_is() {
        use Comparison::{Different, Doubtful, Open, Same};
        let mine = || vec![ids("2", "1.2.3")];
        for (earlier, found, expected) in [
            (vec![], ids("2", ""), Open),
            (vec![], ids("2", "1.2.3"), Same),
            (vec![ids("1", "1.2.3")], ids("2", "1.2.3"), Same),
            (vec![ids("1", "1.2.3")], ids("2", ""), Different),
            (vec![ids("1", "1.2.3")], ids("", ""), Different),
            (vec![ids("1", "1.2.3")], ids("1", "1.2.3"), Different),
            (vec![ids("1", "")], ids("2", ""), Doubtful),
            (vec![ids("", "")], ids("", ""), Doubtful),
        ] {
            let check = PatientCheck::new(mine(), earlier.clone());
            assert_eq!(check.compare(&found), expected, "{earlier:?}");
        }
    }

    #[test]
    fn an_instance_must_contradict_none_of_several_manifests() {
        let both = || vec![ids("1", "1.2.3"), ids("7", "1.9")];
        let check = PatientCheck::new(both(), Vec::new());
        let other: PatientIds = [
            PatientId::new("2", Some("1.2.3")),
            PatientId::new("7", Some("1.9")),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .into();
        assert_eq!(check.compare(&other), Comparison::Different);
        assert_eq!(check.compare(&ids("7", "1.9")), Comparison::Open);
    }
}
