//! Settings become a gateway that is ready to serve.

use std::future::Future;
use std::path::Path;

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

/// Everything that `serve` and `demo` need.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) manifests: Store,
    pub(super) registry: Registry,
    pub(super) metrics: Metrics,
}

impl Parts {
    /// Reads settings and opens what they name.
    pub(super) fn load(path: &Path) -> Result<(Config, Self), Failure> {
        let (config, mut problems) = Config::look(path).map_err(Failure::new)?;
        match registry(&config) {
            Ok(registry) if problems.0.is_empty() => {
                let parts = Self::with(registry, &config)?;
                Ok((config, parts))
            }
            Ok(_) => Err(Failure::new(problems)),
            Err(further) => {
                problems.0.extend(further.0);
                Err(Failure::new(problems))
            }
        }
    }

    /// Opens what settings name.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        Self::with(registry(config).map_err(Failure::new)?, config)
    }

    fn with(registry: Registry, config: &Config) -> Result<Self, Failure> {
        let directory = config.data_directory.join("manifests");
        let manifests = Store::open(&directory, config.manifests.clone()).map_err(|error| {
            Failure(format!("data_directory: {}: {error}", directory.display()))
        })?;
        let metrics = Metrics::new();
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
        for source in self.registry.sources() {
            retriever.count_instances(source);
        }
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
fn registry(config: &Config) -> Result<Registry, Problems> {
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
