//! Settings become a gateway that is ready to serve.

use std::future::Future;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::community::Registry;
use crate::config::{Config, Problems};
use crate::gateway::Gateway;
use crate::manifest::Store;
use crate::metrics::Metrics;
use crate::retrieve::Retriever;
use crate::server::{self, Listeners};
use crate::source::Kind;

/// Everything that `serve` and `demo` need.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) manifests: Store,
    pub(super) registry: Registry,
    pub(super) metrics: Metrics,
}

impl Parts {
    /// Opens what the settings name.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let registry = registry(config).map_err(Failure::new)?;
        let directory = config.data_directory.join("manifests");
        let manifests = Store::open(&directory, config.manifests.clone()).map_err(|error| {
            Failure(format!("data_directory: {}: {error}", directory.display()))
        })?;
        let metrics = Metrics::new();
        for source in registry.sources() {
            if let Kind::Folder(folder) = &source.kind {
                let count = folder.instances().try_into().unwrap_or(i64::MAX);
                metrics
                    .folder_instances
                    .with_label_values(&[source.alias.as_str()])
                    .set(count);
            }
        }
        Ok(Self {
            manifests,
            registry,
            metrics,
        })
    }

    /// Serves until the process is told to stop.
    pub(super) async fn serve(self, config: &Config, listeners: Listeners) -> Result<(), Failure> {
        let shutdown = told_to_stop()?;
        let retriever = Retriever::new(config.retrieve.clone(), self.metrics.clone());
        let gateway = Gateway::new(
            &config.public_url,
            self.registry,
            self.manifests,
            retriever,
            self.metrics.clone(),
        );
        server::run(listeners, gateway, self.metrics, &config.listen, shutdown).await;
        Ok(())
    }
}

/// The sources that settings name.
pub(super) fn registry(config: &Config) -> Result<Registry, Problems> {
    Registry::open(&config.locations, config.xc_wado.opaque_location_ids)
        .map_err(|errors| Problems(errors.iter().map(ToString::to_string).collect()))
}

/// Binds both listeners.
pub(super) async fn listen(config: &Config) -> Result<Listeners, Failure> {
    let bind = async |key: &str, address| {
        TcpListener::bind(address)
            .await
            .map_err(|error| Failure(format!("listen.{key}: {address}: {error}")))
    };
    Ok(Listeners {
        public: bind("address", config.listen.address).await?,
        operator: bind("operator_address", config.listen.operator_address).await?,
    })
}

fn told_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Runs an asynchronous command.
pub(super) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::new)?
        .block_on(command)
}
