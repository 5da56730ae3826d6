//! Registered manifests.

use std::collections::HashSet;
use std::sync::Arc;

use super::conflict::OnConflict;
use super::holding::Holding;
use super::id::Id;
use super::model::{Format, Manifest, Study};
use super::warning::{Subject, Warning};
use crate::dicom::SeriesInstanceUid;
use crate::ihe::HomeCommunityId;

/// Who registered a manifest: a digest of the issuer and the subject of a token, not their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub [u8; 16]);

/// The options of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// The home community of the manifest.
    pub home_community_id: Option<HomeCommunityId>,
    /// The series to which the manifest is narrowed, sorted; empty: all.
    pub series: Vec<SeriesInstanceUid>,
    /// Who registers it; `None`: a client that was not identified.
    pub owner: Option<Owner>,
}

/// A request to register a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Submission {
    /// The options of the registration.
    pub registration: Registration,
    /// The policy if it disagrees with manifests registered earlier.
    pub on_conflict: OnConflict,
}

/// A manifest under its id, narrowed to the series of its registration.
#[derive(Debug)]
pub struct Registered {
    /// Its unguessable name.
    pub id: Id,
    /// The options of the registration.
    pub registration: Registration,
    /// The format of the document.
    pub format: Format,
    /// Tolerated defects.
    pub warnings: Vec<Warning>,
    /// The studies that it selects.
    pub holding: Arc<Holding>,
}

/// The registration names a series that the manifest does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registration names a series that the manifest does not list")]
pub struct UnknownSeries;

impl Registered {
    /// Narrows a manifest and indexes the remaining series.
    ///
    /// # Errors
    /// [`UnknownSeries`].
    pub fn new(
        id: Id,
        registration: Registration,
        mut manifest: Manifest,
    ) -> Result<Self, UnknownSeries> {
        narrow(&mut manifest, &registration.series)?;
        let community = registration.home_community_id.as_ref();
        let holding = Holding::new(manifest.studies, community);
        Ok(Self {
            id,
            registration,
            format: manifest.format,
            warnings: manifest.warnings,
            holding: Arc::new(holding),
        })
    }
}

impl Registered {
    /// The same manifest with these of its series only.
    #[must_use]
    pub fn narrowed(&self, to: &[SeriesInstanceUid]) -> Self {
        let named: HashSet<_> = to.iter().collect();
        let mut studies = self.holding.studies.clone();
        for study in &mut studies {
            study.series.retain(|series| named.contains(&series.uid));
        }
        studies.retain(|study| !study.series.is_empty());
        let community = self.registration.home_community_id.as_ref();
        Self {
            id: self.id,
            registration: self.registration.clone(),
            format: self.format,
            // They may be about other series.
            warnings: Vec::new(),
            holding: Arc::new(Holding::new(studies, community)),
        }
    }
}

fn narrow(manifest: &mut Manifest, to: &[SeriesInstanceUid]) -> Result<(), UnknownSeries> {
    if to.is_empty() {
        return Ok(());
    }
    let named: HashSet<_> = to.iter().collect();
    for study in &mut manifest.studies {
        study.series.retain(|series| named.contains(&series.uid));
    }
    manifest.studies.retain(|study| !study.series.is_empty());
    let series = manifest.studies.iter().flat_map(|study| &study.series);
    let listed: HashSet<_> = series.map(|series| &series.uid).collect();
    keep_warnings(&mut manifest.warnings, &manifest.studies);
    if listed.len() == named.len() {
        Ok(())
    } else {
        Err(UnknownSeries)
    }
}

/// Keeps the warnings about the whole manifest, these studies and their series.
fn keep_warnings(warnings: &mut Vec<Warning>, studies: &[Study]) {
    let series = studies.iter().flat_map(|study| &study.series);
    let series: HashSet<_> = series.map(|series| &series.uid).collect();
    for warning in warnings.iter_mut() {
        warning.about.retain(|subject| match subject {
            Subject::Manifest => true,
            Subject::Study(uid) => studies.iter().any(|study| study.uid == *uid),
            Subject::Series(uid) => series.contains(uid),
        });
    }
    warnings.retain(|warning| !warning.about.is_empty());
}
