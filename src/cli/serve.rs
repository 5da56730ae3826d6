//! `xcwado serve`.

use std::path::Path;

use tokio::net::TcpListener;

use super::Failure;
use super::start::{Parts, block_on, listen, survive_hang_up};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let (config, parts) = Parts::load(path)?;
    block_on(async {
        let sockets = listen(&config).await?;
        let address = |socket: &TcpListener| socket.local_addr().map_err(Failure::new);
        let public = address(&sockets.public)?;
        let operator = address(&sockets.operator)?;
        let gateways = sockets.gateways.as_ref().map(address).transpose()?;
        if !public.ip().is_loopback() && config.listen.client_authorities.is_none() {
            tracing::warn!("whoever reaches the public listener may see every registered manifest");
        }
        let registry = &parts.opened.registry;
        tracing::info!(
            %public, gateways = gateways.map(tracing::field::display), %operator,
            locations = registry.sites().len(), communities = registry.communities().count(),
            manifests = parts.manifests.count(), "listening"
        );
        survive_hang_up()?;
        parts.serve(&config, sockets).await
    })
}
