//! What a DICOMweb root holds: what one manifest selects, or all that are registered.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::community::Registry;
use crate::dicom::StudyInstanceUid;
use crate::gateway::{Error, Gateway};
use crate::ihe::{HomeCommunityId, Location};
use crate::library::Store;
use crate::manifest::{Disagreement, Holding, Id, Place, Registered};
use crate::request::Root;
use crate::source::{Kind, Source};

impl Gateway {
    /// What a DICOMweb root has of a study, and perhaps more.
    pub(crate) async fn holding(
        &self,
        root: Root,
        study: &StudyInstanceUid,
    ) -> Result<Arc<Holding>, Error> {
        match root {
            Root::Manifest(id) => self.held_by(id).await,
            Root::All => {
                let ids = self.manifests.of_study(study);
                self.united(study, ids).await
            }
        }
    }

    /// What one manifest selects.
    pub(crate) async fn held_by(&self, id: Id) -> Result<Arc<Holding>, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        Ok(Arc::clone(&manifest.holding))
    }

    /// A study, as all these manifests have it together.
    pub(crate) async fn united(
        &self,
        study: &StudyInstanceUid,
        ids: Vec<Id>,
    ) -> Result<Arc<Holding>, Error> {
        if let [id] = ids[..] {
            return self.held_by(id).await;
        }
        if let Some(united) = self.manifests.united(study, &ids) {
            return Ok(united);
        }
        let mut holdings = Vec::new();
        for &id in &ids {
            // What was deleted in the meantime is missing like what never was.
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
            self.manifests.keep_united(study, ids, &united);
        }
        Ok(united)
    }

    /// On what a manifest disagrees with those registered before it.
    pub(crate) async fn disagreements(
        &self,
        manifest: &Arc<Registered>,
    ) -> Result<Vec<Disagreement>, Error> {
        if !self.manifests.shares_a_study(manifest) {
            return Ok(Vec::new());
        }
        let (manifest, registry) = (Arc::clone(manifest), Arc::clone(&self.registry));
        self.read(move |manifests| manifests.disagreements(&manifest, &locate(&registry)))
            .await
    }

    pub(crate) async fn load(&self, id: Id) -> Result<Option<Arc<Registered>>, Error> {
        if let Some(manifest) = self.manifests.loaded(id) {
            return Ok(Some(manifest));
        }
        if self.manifests.record(id).is_none() {
            return Ok(None);
        }
        Ok(self.read(move |manifests| manifests.load(id)).await??)
    }

    /// Reads manifests where blocking is allowed, few at the same time.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let waiting = self.reading.acquire().await;
        let _permit = waiting.map_err(|_closed| Error::ShuttingDown)?;
        let manifests = Arc::clone(&self.manifests);
        let reading = spawn_blocking(move || read(&manifests));
        reading.await.map_err(|_panic| Error::Internal)
    }
}

/// What tells the place that locations of a manifest mean.
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
