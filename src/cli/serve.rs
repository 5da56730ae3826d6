//! `xcwado serve`.

use std::path::Path;

use crate::access::{Door, Mode};
use crate::community::Registry;
use crate::server;
use crate::start::{Failure, Services, block_on, listen, survive_hang_up};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    server::raise_limit();
    let (mut config, parts) = Services::load(path)?;
    block_on(async {
        let sockets = listen(&mut config)?;
        let public = config.listen.address;
        let operator = config.listen.operator_address;
        let gateways = config.gateway_listen.as_ref().map(|listen| listen.address);
        if public.ip().is_unspecified() && config.public_url.is_none() {
            let url = config.public_url();
            tracing::warn!(%url, "public_url is not set: links in answers lead to this machine only");
        }
        let is_reached = !public.ip().is_loopback() || config.is_reached_by_a_proxy();
        if is_reached && config.access().mode(Door::Public) == Mode::Open {
            tracing::warn!(
                "every client of the public listener may see every registered manifest: write \
                 [[rule]]s, unless a proxy in front decides who may"
            );
        }
        let registry = &parts.opened.registry;
        tracing::info!(
            %public, gateways = gateways.map(tracing::field::display), %operator,
            locations = registry.sites().len(), communities = registry.communities().count(),
            manifests = parts.library.count(), "listening"
        );
        look_up_servers(registry);
        survive_hang_up()?;
        parts.serve(&config, sockets).await
    })
}

/// Resolves all names at the start, so that the log reports forbidden addresses early. A name that
/// does not resolve yet may do so later.
fn look_up_servers(registry: &Registry) {
    for (client, base) in registry.servers() {
        let (resolver, base) = (client.resolver().clone(), base.clone());
        tokio::spawn(async move { resolver.addresses(&base).await.is_ok() });
    }
}
