//! What operators have dropped: kept instances, also such as are still arriving.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::cache::Key;
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::gateway::{Error, Gateway};
use crate::instance::Listing;
use crate::manifest::Id;
use crate::resource::Target;

/// Which kept instances are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// All of them.
    Everything,
    /// Those of a study, wherever they came from.
    Study(StudyInstanceUid),
    /// Those that a manifest selects, from where it says that they are.
    Manifest(Id),
}

type Which = Box<dyn Fn(&Key) -> bool + Send>;

impl Gateway {
    /// Forgets kept instances. What is still arriving is delivered to those who wait for it, and not
    /// kept. Gives how many instances that were.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such manifest.
    pub async fn forget_kept(&self, forgotten: Forgotten) -> Result<usize, Error> {
        let which: Which = match forgotten {
            Forgotten::Everything => Box::new(|_key| true),
            Forgotten::Study(study) => Box::new(move |key| key.study == study),
            Forgotten::Manifest(id) => self.of_manifest(id).await?,
        };
        let cache = self.retriever.cache().clone();
        // It deletes files.
        let forgetting = spawn_blocking(move || cache.forget(&*which));
        forgetting.await.map_err(|_panic| Error::Internal)
    }

    /// Forgets what was kept from sources that settings do not name any more, and from those that are
    /// somewhere else now. Blocks; for the start.
    pub(crate) fn forget_elsewhere(&self) {
        let cache = self.retriever.cache();
        let forgotten = cache.forget(&|key| !self.registry.knows(&key.place));
        if forgotten > 0 {
            tracing::info!(
                forgotten,
                "kept instances of sources that settings do not name are dropped"
            );
        }
    }

    async fn of_manifest(&self, id: Id) -> Result<Which, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let mut listings: HashMap<(Arc<str>, SeriesInstanceUid), Arc<Listing>> = HashMap::new();
        for study in &manifest.holding.studies {
            let target = Target::Study(study.uid.clone());
            let located = self.located(&manifest.holding, &target);
            for (selected, source) in located.into_iter().flatten() {
                if let Some(source) = source {
                    let series = selected.listing.series.clone();
                    listings.insert((source.key(), series), selected.listing);
                }
            }
        }
        Ok(Box::new(move |key| {
            let listing = listings.get(&(Arc::clone(&key.place), key.series.clone()));
            listing.is_some_and(|listing| {
                listing.study == key.study && listing.instances.contains_key(&key.instance)
            })
        }))
    }
}
