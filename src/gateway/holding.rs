//! What a DICOMweb root holds: what one manifest selects, or all that are registered.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Error, Gateway};
use crate::dicom::StudyInstanceUid;
use crate::manifest::{Holding, Id, Registered, Store};
use crate::request::Root;

impl Gateway {
    /// What a DICOMweb root has of a study, and perhaps more.
    pub(super) async fn holding(
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
    pub(super) async fn held_by(&self, id: Id) -> Result<Arc<Holding>, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        Ok(Arc::clone(&manifest.holding))
    }

    /// A study, as all these manifests have it together.
    pub(super) async fn united(
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

    pub(super) async fn load(&self, id: Id) -> Result<Option<Arc<Registered>>, Error> {
        if let Some(manifest) = self.manifests.loaded(id) {
            return Ok(Some(manifest));
        }
        if self.manifests.record(id).is_none() {
            return Ok(None);
        }
        Ok(self.read(move |manifests| manifests.load(id)).await??)
    }

    /// Reads manifests where blocking is allowed, few at the same time.
    pub(super) async fn read<T: Send + 'static>(
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
