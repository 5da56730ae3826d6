//! The selection behind a DICOMweb root: of one manifest, or of all manifests together; and the
//! sources of its instances.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::edge::exchange::Exchange;
use super::{Error, Gateway};
use crate::access::Caller;
use crate::community::Registry;
use crate::dicom::{PatientIds, StudyInstanceUid};
use crate::ihe::{HomeCommunityId, Location};
use crate::library::{Library, Neighbours, View};
use crate::manifest::{Disagreement, Holding, Id, Patient, Place, Registered, SeriesSelection};
use crate::request::Root;
use crate::resource::{Offer, Target};
use crate::retrieve::{Job, PatientCheck, Plan};
use crate::source::{Kind, Source};

/// The warning of the root over all manifests where they disagree on the patient.
pub(crate) const LEFT_OUT: &str = "manifests that name another patient are left out";

impl Gateway {
    /// A holding with everything that a DICOMweb root has of a study, and perhaps more.
    pub(crate) async fn holding(
        &self,
        exchange: &Exchange<'_>,
        root: Root,
        study: &StudyInstanceUid,
    ) -> Result<Arc<Holding>, Error> {
        match root {
            Root::Manifest(id) => self.held_by(exchange, id).await,
            Root::All => {
                let ids = self.library.of_study(study, &exchange.view);
                self.united(study, ids).await
            }
        }
    }

    /// The selection of one manifest.
    pub(crate) async fn held_by(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
    ) -> Result<Arc<Holding>, Error> {
        let manifest = self.manifest(exchange, id).await?;
        Ok(Arc::clone(&manifest.holding))
    }

    /// A manifest, as far as the client may see it: a link may be narrowed to some series.
    pub(crate) async fn manifest(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
    ) -> Result<Arc<Registered>, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        Ok(match &exchange.caller {
            Caller::Link(grant) if !grant.series.is_empty() => {
                self.library.narrowed(&manifest, &grant.series)
            }
            Caller::Link(_) | Caller::Member { .. } | Caller::Partner(_) | Caller::Subject(_) => {
                manifest
            }
        })
    }

    /// The selection of a study by several manifests together.
    pub(crate) async fn united(
        &self,
        study: &StudyInstanceUid,
        ids: Vec<Id>,
    ) -> Result<Arc<Holding>, Error> {
        if let [id] = ids[..] {
            let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
            return Ok(Arc::clone(&manifest.holding));
        }
        if let Some(united) = self.library.united(study, &ids) {
            return Ok(united);
        }
        let mut holdings = Vec::new();
        for &id in &ids {
            // A manifest may be deleted in the meantime.
            if let Some(manifest) = self.load(id).await? {
                holdings.push(Arc::clone(&manifest.holding));
            }
        }
        let registry = &self.registry;
        let united = Holding::united(&holdings, study, |locations, community| {
            registry.resolve(locations, community).is_some()
        });
        let united = Arc::new(united.ok_or(Error::NotFound)?);
        if holdings.len() == ids.len() {
            self.library.keep_united(study, ids, &united);
        }
        Ok(united)
    }

    /// The disagreements of a manifest with earlier ones.
    pub(crate) async fn disagreements(
        &self,
        exchange: &Exchange<'_>,
        manifest: &Arc<Registered>,
    ) -> Result<Vec<Disagreement>, Error> {
        let view = exchange.view.clone();
        if !self.library.shares_a_study(manifest, &view) {
            return Ok(Vec::new());
        }
        let (manifest, registry) = (Arc::clone(manifest), Arc::clone(&self.registry));
        self.read(move |library| {
            let (view, locate) = (&view, &locate(&registry));
            library.disagreements(&manifest, &Neighbours { view, locate })
        })
        .await
    }

    pub(crate) async fn load(&self, id: Id) -> Result<Option<Arc<Registered>>, Error> {
        if let Some(manifest) = self.library.loaded(id) {
            return Ok(Some(manifest));
        }
        if !self.library.is_registered(id) {
            return Ok(None);
        }
        Ok(self.read(move |library| library.load(id)).await??)
    }

    /// The patient that instances of a study must be of, below a root. Below the root of one
    /// manifest, the study may have been registered for another patient before.
    pub(crate) async fn patient(
        &self,
        root: Root,
        holding: &Holding,
        study: &StudyInstanceUid,
    ) -> Result<Arc<PatientCheck>, Error> {
        let ids = match root {
            // Whom the study was registered for is no matter of what the client may see.
            Root::Manifest(_) => self.library.of_study(study, &View::everything()),
            Root::All => Vec::new(),
        };
        if ids.len() < 2 {
            return Ok(PatientCheck::new(expected(holding, study), Vec::new()));
        }
        let united = self.united(study, ids).await?;
        let disagree = |one: &Arc<Patient>| {
            let mine = holding.patients(study).iter();
            mine.into_iter().any(|other| one.disagrees_with(other))
        };
        let earlier = if united.patients(study).iter().any(disagree) {
            expected(&united, study)
        } else {
            Vec::new()
        };
        Ok(PatientCheck::new(expected(holding, study), earlier))
    }

    /// The patient for whom a study is registered, if it is.
    pub(crate) async fn registered_patient(
        &self,
        study: &StudyInstanceUid,
    ) -> Option<Arc<PatientCheck>> {
        let ids = self.library.of_study(study, &View::everything());
        if ids.is_empty() {
            return None;
        }
        let holding = self.united(study, ids).await.ok()?;
        Some(PatientCheck::new(expected(&holding, study), Vec::new()))
    }

    /// The selected instances of a target, and their sources.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotListed`], and [`Error::NotLocatable`] if no selected
    /// instance has a source.
    pub(crate) fn plan(
        &self,
        holding: &Holding,
        target: &Target,
        exchange: &Exchange<'_>,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::new(Arc::clone(&exchange.hop));
        let mut remedies = BTreeSet::new();
        let located = self.located(exchange, holding, target);
        for (selected, source) in located.ok_or(Error::NotFound)? {
            if source.is_none() && remedies.is_empty() {
                let SeriesSelection { locations, .. } = selected;
                remedies = self.registry.remedies(locations, selected.community);
            }
            let (listing, only) = (selected.listing, selected.only);
            if listing.instances.is_empty() {
                continue;
            }
            match source {
                Some(source) => plan.jobs.push(Job {
                    source,
                    listing,
                    only,
                    patient: None,
                }),
                None => plan.not_locatable += only.map_or(listing.instances.len(), |_one| 1),
            }
        }
        let unlisted = holding.unlisted(target);
        if plan.jobs.is_empty() && plan.not_locatable == 0 && unlisted > 0 {
            return Err(Error::NotListed);
        }
        if plan.jobs.is_empty() && plan.not_locatable > 0 {
            return Err(Error::NotLocatable(remedies));
        }
        plan.not_locatable += unlisted;
        Ok(plan)
    }

    /// The selected series of a target, each with its source if one is configured; `None` if the
    /// manifest does not list the target.
    pub(crate) fn located<'a>(
        &self,
        exchange: &Exchange<'_>,
        holding: &'a Holding,
        target: &Target,
    ) -> Option<impl Iterator<Item = (SeriesSelection<'a>, Option<Arc<Source>>)>> {
        let located = self.located_for_all(holding, target)?;
        Some(located.map(|(selected, source)| {
            let source = source.map(|source| self.as_caller(exchange, source));
            (selected, source)
        }))
    }

    /// The same for nobody in particular: these sources tell where something is, and may not be
    /// asked for it.
    pub(crate) fn located_for_all<'a>(
        &self,
        holding: &'a Holding,
        target: &Target,
    ) -> Option<impl Iterator<Item = (SeriesSelection<'a>, Option<Arc<Source>>)>> {
        let selected = holding.select(target)?.into_iter();
        Some(selected.map(|selected| {
            let (locations, community) = (selected.locations, selected.community);
            let found = self.registry.resolve(locations, community);
            (selected, found.map(|(source, _via)| source))
        }))
    }

    /// A plan of the whole selection.
    pub(crate) fn plan_of_all(
        &self,
        holding: &Holding,
        exchange: &Exchange<'_>,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::new(Arc::clone(&exchange.hop));
        for study in &holding.studies {
            let of_study = match self.plan(holding, &Target::Study(study.uid.clone()), exchange) {
                Err(Error::NotListed | Error::NotLocatable(_)) => continue,
                of_study => of_study?,
            };
            plan.jobs.extend(of_study.jobs);
            plan.not_locatable += of_study.not_locatable;
        }
        Ok(plan)
    }

    /// Asks the partners that hold something of a selection what they offer, so that no viewer waits
    /// for that.
    pub(crate) fn ask_partners(&self, holding: &Holding, exchange: &Exchange<'_>) {
        /// Series that are looked at: a manifest names few places.
        const MOST: usize = 64;
        for study in &holding.studies {
            let target = Target::Study(study.uid.clone());
            let located = self.located(exchange, holding, &target);
            let located = located.into_iter().flatten();
            for source in located.take(MOST).filter_map(|(_, source)| source) {
                if self.registry.offers(&source, Offer::Metadata).is_none() {
                    self.retriever.ask_offers(&source, &exchange.hop);
                }
            }
        }
    }

    /// Reads manifests on a blocking thread, few at the same time.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Library) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let waiting = self.reading.acquire().await;
        let _permit = waiting.map_err(|_closed| Error::ShuttingDown)?;
        let library = Arc::clone(&self.library);
        let reading = spawn_blocking(move || read(&library));
        reading.await.map_err(|_panic| Error::Internal)
    }
}

/// The identifiers of the patients that a holding names for a study.
pub(crate) fn expected(holding: &Holding, study: &StudyInstanceUid) -> Vec<PatientIds> {
    let patients = holding.patients(study).iter();
    patients.map(|patient| patient.identifiers()).collect()
}

/// A function that resolves the locations of a manifest to a place.
pub(crate) fn locate(
    registry: &Registry,
) -> impl Fn(&[Location], Option<&HomeCommunityId>) -> Option<Place> + '_ {
    |locations, community| {
        let (source, _via) = registry.resolve(locations, community)?;
        Some(place(&source))
    }
}

fn place(source: &Source) -> Place {
    let alias = || Arc::clone(&source.alias);
    match &source.kind {
        // One server may go by two Retrieve Location UIDs, as in IHE's own example.
        Kind::WadoRs(server) => Place {
            server: server
                .bases()
                .next()
                .map_or_else(alias, |base| base.as_str().into()),
            behind: None,
        },
        Kind::WadoUri(_) | Kind::Folder(_) => Place {
            server: alias(),
            behind: None,
        },
        Kind::XcWado(gateway) => Place {
            server: alias(),
            behind: Some(gateway.location().clone()),
        },
    }
}
