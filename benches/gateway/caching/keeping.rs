//! The gateway and nginx as caches: the same requests to both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustls::ClientConfig;

use crate::rig::authority::{Authority, Issued};
use crate::rig::client::{Connection, INSTANCES};
use crate::rig::nginx::Nginx;
use crate::rig::process::Server;
use crate::rig::report::milliseconds;
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::servers::origin;
use crate::study::{self, Shape, manifest};

/// One that keeps what it fetches.
pub(crate) struct Keeper {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    /// The path of its DICOMweb root.
    root: String,
    tls: Option<Arc<ClientConfig>>,
    /// Keeps the files that it looks at.
    _authority: Option<Authority>,
}

/// When the first byte of an answer came, and the last one, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) first: f64,
    pub(crate) last: f64,
}

impl Keeper {
    /// nginx before the origin, with everything kept in memory; `None` if it is not installed.
    pub(crate) fn nginx(origin: SocketAddr, shape: Shape, has_tls: bool) -> Option<Self> {
        let (authority, shown) = shown(has_tls);
        let nginx = Nginx {
            upstream: origin,
            is_cache: true,
            shown: shown.as_ref(),
        };
        let server = nginx.start()?;
        Some(Self {
            name: "nginx",
            server,
            root: format!("/length/0/{}", shape.name()),
            tls: authority.as_ref().map(Authority::client),
            _authority: authority,
        })
    }

    /// The gateway before the origin, with these settings of its cache.
    pub(crate) fn gateway(origin: SocketAddr, shape: Shape, has_tls: bool, cache: &str) -> Self {
        let (authority, shown) = shown(has_tls);
        let listen = shown.map_or(String::new(), |shown| {
            let Issued {
                certificate,
                private_key,
            } = shown;
            format!("certificate = {certificate:?}\nprivate_key = {private_key:?}\n")
        });
        let root = origin::root(origin, "length", 0, shape);
        let settings = Settings::keeping(THEIRS, &listen, cache)
            .location(LOCATION, &root)
            .instances_only();
        let server = Server::quiet_gateway(&settings);
        let mut keeper = Self {
            name: "xcwado",
            server,
            root: String::new(),
            tls: authority.as_ref().map(Authority::client),
            _authority: authority,
        };
        keeper.root = keeper.register(shape);
        keeper
    }

    /// Registers the study once more; the path of its root.
    pub(crate) fn register(&self, shape: Shape) -> String {
        let manifest = manifest::fhir(shape, &[LOCATION]);
        let over = self.open();
        self.server
            .register_over(over, "application/fhir+json", &manifest)
    }

    pub(crate) fn open(&self) -> Connection {
        Connection::to(self.server.address, 256 << 10, self.tls.as_ref())
    }

    pub(crate) fn series(&self, series: usize) -> String {
        study::series_path(&self.root, series)
    }

    pub(crate) fn instance(&self, series: usize, instance: usize) -> String {
        study::instance_path(&self.root, series, instance)
    }

    /// Asks for everything over so many connections, each for the next one as soon as it has read
    /// one. Seconds until all is there.
    pub(crate) fn fetch(&self, paths: &[String], lanes: usize) -> f64 {
        let next = AtomicUsize::new(0);
        let mut connections: Vec<_> = (0..lanes).map(|_| self.open()).collect();
        let began = Instant::now();
        thread::scope(|scope| {
            for connection in &mut connections {
                scope.spawn(|| {
                    while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                        read(connection, path);
                    }
                });
            }
        });
        began.elapsed().as_secs_f64()
    }

    /// Asks for the same from so many clients at once.
    pub(crate) fn together(&self, path: &str, clients: usize) -> Vec<Times> {
        let connections: Vec<_> = (0..clients).map(|_| self.open()).collect();
        thread::scope(|scope| {
            let all: Vec<_> = connections
                .into_iter()
                .map(|mut connection| scope.spawn(move || read(&mut connection, path)))
                .collect();
            all.into_iter()
                .map(|one| one.join().expect("read"))
                .collect()
        })
    }
}

/// Reads an answer.
pub(crate) fn read(connection: &mut Connection, path: &str) -> Times {
    let began = Instant::now();
    let mut answer = connection.get(path, INSTANCES);
    assert_eq!(answer.status, 200, "{path}");
    answer.next(|_| {}).expect("a body");
    let first = milliseconds(began.elapsed());
    answer.drain();
    Times {
        first,
        last: milliseconds(began.elapsed()),
    }
}

fn shown(has_tls: bool) -> (Option<Authority>, Option<Issued>) {
    let authority = has_tls.then(Authority::new);
    let issued = authority.as_ref().map(|a| a.issue("keeper.example"));
    (authority, issued)
}
