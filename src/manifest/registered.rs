//! A manifest as it was registered.

use std::collections::HashSet;
use std::sync::Arc;

use super::conflict::OnConflict;
use super::holding::Holding;
use super::id::Id;
use super::model::{Format, Manifest, Warning};
use crate::dicom::SeriesInstanceUid;
use crate::ihe::HomeCommunityId;

/// The options of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// The community that the manifest comes from.
    pub home_community_id: Option<HomeCommunityId>,
    /// The series it is narrowed to, sorted; empty: all.
    pub series: Vec<SeriesInstanceUid>,
}

/// How a manifest comes to be registered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Submission {
    /// The options that it is registered with.
    pub registration: Registration,
    /// What becomes of it if it disagrees with those registered before.
    pub on_conflict: OnConflict,
}

/// A manifest under its id, narrowed to what was asked for.
#[derive(Debug)]
pub struct Registered {
    /// Its unguessable name.
    pub id: Id,
    /// The options it was registered with.
    pub registration: Registration,
    /// What it was written in.
    pub format: Format,
    /// What was wrong with it and was tolerated.
    pub warnings: Vec<Warning>,
    /// What it selects.
    pub holding: Arc<Holding>,
}

/// A registration is narrowed to a series that the manifest does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manifest does not list a series that it is to be narrowed to")]
pub struct UnknownSeries;

impl Registered {
    /// Narrows a manifest and indexes what is left.
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

fn narrow(manifest: &mut Manifest, to: &[SeriesInstanceUid]) -> Result<(), UnknownSeries> {
    if to.is_empty() {
        return Ok(());
    }
    let wanted: HashSet<_> = to.iter().collect();
    for study in &mut manifest.studies {
        study.series.retain(|series| wanted.contains(&series.uid));
    }
    manifest.studies.retain(|study| !study.series.is_empty());
    let left = manifest.studies.iter().flat_map(|study| &study.series);
    let found: HashSet<_> = left.map(|series| &series.uid).collect();
    if found.len() == wanted.len() {
        Ok(())
    } else {
        Err(UnknownSeries)
    }
}
