//! Deletes manifests, and purges cached instances, also those that are still arriving.

use std::collections::HashMap;
use std::sync::Arc;

use http::{Response, StatusCode};
use tokio::task::spawn_blocking;

use crate::body::Body;
use crate::cache::Key;
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::gateway::{Error, Gateway};
use crate::instance::Listing;
use crate::manifest::Id;
use crate::resource::Target;
use crate::source::of_all_users;

/// The cached instances that an operator purges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// All of them.
    Everything,
    /// Those of a study, wherever they came from.
    Study(StudyInstanceUid),
    /// Those that a manifest selects, from where it says that they are.
    Manifest(Id),
}

type Selector = Box<dyn Fn(&Key) -> bool + Send>;

impl Gateway {
    /// `DELETE manifests/{id}`.
    pub(crate) async fn forget(&self, id: Id) -> Result<Response<Body>, Error> {
        let manifests = Arc::clone(&self.library);
        let forgetting = spawn_blocking(move || manifests.forget(id));
        if !forgetting.await.map_err(|_panic| Error::Internal)?? {
            return Err(Error::NotFound);
        }
        self.count_manifests();
        let links = Arc::clone(&self.links);
        let revoking = spawn_blocking(move || links.revoke_of_manifest(id));
        let revoked = revoking.await.map_err(|_panic| Error::Internal)?;
        revoked.map_err(crate::library::Error::from)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Purges cached instances; gives their number. Instances that are still arriving reach the
    /// clients that wait for them, and are not cached.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such manifest.
    pub async fn forget_kept(&self, forgotten: Forgotten) -> Result<usize, Error> {
        let is_purged: Selector = match forgotten {
            Forgotten::Everything => Box::new(|_key| true),
            Forgotten::Study(study) => Box::new(move |key| key.study == study),
            Forgotten::Manifest(id) => self.of_manifest(id).await?,
        };
        let cache = self.retriever.cache().clone();
        // Deleting files blocks.
        let forgetting = spawn_blocking(move || cache.forget(&*is_purged));
        forgetting.await.map_err(|_panic| Error::Internal)
    }

    /// Purges the instances of sources that settings no longer name, or that have another address
    /// now. Blocks; called at the start.
    pub(crate) fn forget_elsewhere(&self) {
        let cache = self.retriever.cache();
        let forgotten = cache.forget(&|key| !self.registry.knows(&key.place));
        if forgotten > 0 {
            tracing::info!(
                forgotten,
                "cached instances of sources that settings do not name are purged"
            );
        }
    }

    async fn of_manifest(&self, id: Id) -> Result<Selector, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let mut listings: HashMap<(Arc<str>, SeriesInstanceUid), Arc<Listing>> = HashMap::new();
        for study in &manifest.holding.studies {
            let target = Target::Study(study.uid.clone());
            let located = self.located_for_all(&manifest.holding, &target);
            for (selected, source) in located.into_iter().flatten() {
                if let Some(source) = source {
                    let series = selected.listing.series.clone();
                    listings.insert((source.key(), series), selected.listing);
                }
            }
        }
        Ok(Box::new(move |key| {
            let place = of_all_users(&key.place);
            let listing = listings.get(&(place.into(), key.series.clone()));
            listing.is_some_and(|listing| {
                listing.study == key.study && listing.instances.contains_key(&key.instance)
            })
        }))
    }
}
