//! `xcwado serve`.

use std::path::Path;

use super::Failure;
use super::start::{Parts, block_on, listen};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let (config, parts) = Parts::load(path)?;
    block_on(async {
        let listeners = listen(&config).await?;
        let public = listeners.public.local_addr().map_err(Failure::new)?;
        let operator = listeners.operator.local_addr().map_err(Failure::new)?;
        if !public.ip().is_loopback() {
            tracing::warn!("whoever reaches the public listener may see every registered manifest");
        }
        tracing::info!(
            %public, %operator, locations = parts.registry.sources().len(),
            manifests = parts.manifests.count(), "listening"
        );
        parts.serve(&config, listeners).await
    })
}
