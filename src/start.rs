//! Settings become a gateway that is ready to serve.

use std::fmt::Display;
use std::fs::{DirBuilder, File, TryLockError};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::signal::unix::{SignalKind, signal};

use crate::access::person::Logins;
use crate::access::{Access, Links};
use crate::cache::Cache;
use crate::community::{Problem, Registry};
use crate::config::{Config, Problems};
use crate::credentials::{self, ServerFiles};
use crate::gateway::{Assembly, Gateway};
use crate::library::{Library, now};
use crate::metrics::Metrics;
use crate::pixels::Pool;
use crate::retrieve::Retriever;
use crate::server::{self, Cores, Listeners, Tls};

/// Why a command failed: one sentence for the user.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    pub(crate) fn new(what: impl Display) -> Self {
        Self(what.to_string())
    }
}

/// Everything that `serve` and `demo` need.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) library: Library,
    pub(crate) cache: Cache,
    pub(crate) links: Links,
    pub(crate) metrics: Metrics,
    pub(crate) opened: Components,
    lock: Lock,
}

/// The opened sources and credentials of the settings.
#[derive(Debug)]
pub(crate) struct Components {
    pub(crate) registry: Registry,
    pub(crate) access: Access,
    /// Of the listener for viewers.
    pub(crate) tls: Option<Tls>,
    /// Of the listener for partners.
    pub(crate) gateway_tls: Option<Tls>,
}

impl Services {
    /// Reads the settings, opens their sources and credentials, and locks the data directory.
    pub(crate) fn load(path: &Path) -> Result<(Config, Self), Failure> {
        let (config, opened) = Components::load(path)?;
        let lock = Lock::take(&config.data_directory)?;
        let library = library(&config)?;
        let metrics = Metrics::new();
        let directory = config.data_directory.join("instances");
        let cache = Cache::open(&config.cache, &directory, &metrics).map_err(|error| {
            Failure(format!("data_directory: {}: {error}", directory.display()))
        })?;
        let parts = Self {
            library,
            cache,
            links: links(&config)?,
            metrics,
            opened,
            lock,
        };
        Ok((config, parts))
    }

    /// Serves until the process is told to stop.
    pub(crate) async fn serve(self, config: &Config, sockets: Sockets) -> Result<(), Failure> {
        let shutdown = told_to_stop()?;
        let retriever = Retriever::new(config.retrieve.clone(), self.cache, self.metrics.clone());
        for site in self.opened.registry.sites() {
            retriever.count_instances(&site.source);
        }
        let decoders = decoders(config);
        let starting = decoders.clone();
        // The log says at the start, not at the first picture, what the kernel does not have.
        tokio::spawn(async move { starting.sandbox().await.is_ok() });
        let gateway = Gateway::new(Assembly {
            public_url: config.public_url(),
            edge: config.listen.edge(),
            gateway_url: config.gateway_url(),
            xc_wado: config.xc_wado.clone(),
            access: self.opened.access,
            links: self.links,
            registry: self.opened.registry,
            library: self.library,
            retriever,
            cache_control: config.cache.cache_control.clone(),
            decoders,
            limits: config.limits.clone(),
            cors: config.cors.clone(),
            viewers: config.viewers.clone(),
            metrics: self.metrics.clone(),
        });
        let gateways = config.gateway_listen.as_ref();
        let gateways = gateways.zip(sockets.gateways).zip(self.opened.gateway_tls);
        let listeners = Listeners {
            public: config.listen.entrance(sockets.public, self.opened.tls),
            gateways: gateways.map(|((settings, socket), tls)| settings.entrance(socket, tls)),
            operator: sockets.operator,
            cores: Cores::start(config.threads).map_err(|error| {
                Failure(format!("threads: the runtimes cannot be started: {error}"))
            })?,
        };
        let drain = Duration::from_secs(config.listen.drain_seconds);
        server::run(listeners, gateway, self.metrics, drain, shutdown).await;
        drop(self.lock);
        Ok(())
    }
}

/// The library of manifests, for the process that has the lock.
fn library(config: &Config) -> Result<Library, Failure> {
    let directory = config.data_directory.join("manifests");
    Library::open(&directory, config.manifests.clone())
        .map_err(|error| Failure(format!("data_directory: {}: {error}", directory.display())))
}

/// The links to manifests.
pub(crate) fn links(config: &Config) -> Result<Links, Failure> {
    let directory = config.data_directory.join("links");
    Links::open(&directory, now())
        .map_err(|error| Failure(format!("data_directory: {}: {error}", directory.display())))
}

/// The same library, beside a gateway that may be running.
pub(crate) fn look(config: &Config) -> Result<Library, Failure> {
    let directory = config.data_directory.join("manifests");
    Library::look(&directory, config.manifests.clone())
        .map_err(|error| Failure(format!("data_directory: {}: {error}", directory.display())))
}

/// The lock on the data directory, which serves one process at a time: two would delete each
/// other's files. The lock ends with the process, even if the process crashes.
#[derive(Debug)]
struct Lock(#[expect(dead_code, reason = "it is held, not read")] Option<File>);

impl Lock {
    fn take(directory: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn Display| {
            let directory = directory.display();
            Failure(format!("data_directory: {directory}: {error}"))
        };
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|error| failed(&error))?;
        // A pipe or a link in its place must neither block nor be followed.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let opened = options.custom_flags(flags).open(directory.join("lock"));
        let file = opened.map_err(|error| failed(&format!("lock: {error}")))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Some(file))),
            Err(TryLockError::WouldBlock) => Err(failed(
                &"another xcwado uses it; stop that one, or give this one a directory of its own",
            )),
            // Some network file systems do not support locks.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "the data directory cannot be locked: nothing else may use it");
                Ok(Self(None))
            }
        }
    }
}

/// The processes of this program that decode frames.
pub(crate) fn decoders(config: &Config) -> Pool {
    Pool::new(program(), config.rendering.clone())
}

/// This program, which decodes frames in processes of their own.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_unknown| "xcwado".into())
}

impl Components {
    /// Reads the settings and opens their sources and credentials, but not the data directory.
    pub(crate) fn load(path: &Path) -> Result<(Config, Self), Failure> {
        let (config, mut problems) = Config::look(path).map_err(Failure::new)?;
        match Self::open(&config, &mut problems) {
            Some(opened) if problems.0.is_empty() => Ok((config, opened)),
            Some(_) | None => Err(Failure::new(problems)),
        }
    }

    /// Opens everything and collects all problems; `None` if there are any.
    fn open(config: &Config, problems: &mut Problems) -> Option<Self> {
        let mut told = |all: Vec<Problem>| {
            let all = all.iter().map(ToString::to_string);
            problems.0.extend(all);
        };
        let registry = Registry::open(&config.registry()).map_err(&mut told).ok();
        let access = Access::new(&config.access()).map_err(&mut told).ok();
        let mut tell = |table: &str, error: credentials::Error| {
            problems.0.push(format!("{table}: {error}"));
        };
        let load = |listener, files: Option<ServerFiles>| {
            files.map(|files| server::tls(listener, files)).transpose()
        };
        let logins = config.login.as_ref();
        let logins = logins.map(|settings| Logins::open(settings, &config.public_url()));
        let logins = logins
            .transpose()
            .map_err(|error| tell("login", error))
            .ok();
        let files = config.listen.credentials();
        let tls = files.and_then(|files| load("listen", files));
        let tls = tls.map_err(|error| tell("listen", error)).ok();
        let files = config
            .gateway_listen
            .as_ref()
            .map(|listen| listen.credentials());
        let gateway_tls = load("gateway_listen", files);
        let gateway_tls = gateway_tls
            .map_err(|error| tell("gateway_listen", error))
            .ok();
        Some(Self {
            registry: registry?,
            access: access?.with_logins(logins?),
            tls: tls?,
            gateway_tls: gateway_tls?,
        })
    }
}

/// Bound sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) public: TcpListener,
    pub(crate) gateways: Option<TcpListener>,
    pub(crate) operator: TcpListener,
}

/// Binds every listener, and replaces port 0 in the settings by the assigned port.
pub(crate) fn listen(config: &mut Config) -> Result<Sockets, Failure> {
    let bind = |key: &str, address| {
        bind(address).map_err(|error| Failure(format!("{key}: {address}: {error}")))
    };
    let sockets = Sockets {
        public: bind("listen.address", config.listen.address)?,
        operator: bind("listen.operator_address", config.listen.operator_address)?,
        gateways: match &config.gateway_listen {
            Some(listen) => Some(bind("gateway_listen.address", listen.address)?),
            None => None,
        },
    };
    let bound = |socket: &TcpListener| socket.local_addr().map_err(Failure::new);
    config.listen.address = bound(&sockets.public)?;
    config.listen.operator_address = bound(&sockets.operator)?;
    if let Some((listen, socket)) = config
        .gateway_listen
        .as_mut()
        .zip(sockets.gateways.as_ref())
    {
        listen.address = bound(socket)?;
    }
    Ok(sockets)
}

/// A listening socket that does not block.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
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

/// Logs SIGHUP: operators send it to reload settings, and it must not end the process.
pub(crate) fn survive_hang_up() -> Result<(), Failure> {
    let mut hang_up = signal(SignalKind::hangup()).map_err(Failure::new)?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!("new credentials are used by themselves; other settings need a restart");
        }
    });
    Ok(())
}

/// Runs an asynchronous command. A gateway serves connections on runtimes of their own
/// ([`Cores`]).
pub(crate) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::new)?
        .block_on(command)
}
