//! The gateway and nginx as caches: the same requests to both.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustls::ClientConfig;

use crate::rig::authority::{Authority, Issued};
use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::Server;
use crate::rig::report::milliseconds;
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::servers::origin;
use crate::study::{self, STUDY, Shape, manifest};

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
        let write =
            |address, directory: &Path| settings(address, origin, shown.as_ref(), directory);
        let Some(server) = Server::nginx_with(write) else {
            assert!(std::env::var_os("CI").is_none(), "nginx is not installed");
            println!("  left out: nginx is not installed");
            return None;
        };
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
        let settings = Settings::keeping(THEIRS, &listen, cache).location(LOCATION, &root);
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
        let (address, buffer) = (self.server.address, 256 << 10);
        match &self.tls {
            Some(tls) => Connection::open_tls(address, buffer, tls),
            None => Connection::open(address, buffer),
        }
    }

    pub(crate) fn study(&self) -> String {
        format!("{}/studies/{STUDY}", self.root)
    }

    pub(crate) fn series(&self, series: usize) -> String {
        format!("{}/series/{}", self.study(), study::series_uid(series))
    }

    pub(crate) fn instance(&self, series: usize, instance: usize) -> String {
        let uid = study::instance_uid(series, instance);
        format!("{}/instances/{uid}", self.series(series))
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

// As somebody would set it up for images, with as many workers as there are cores.
fn settings(
    address: SocketAddr,
    origin: SocketAddr,
    shown: Option<&Issued>,
    directory: &Path,
) -> String {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let (ssl, tls) = match shown {
        Some(Issued {
            certificate,
            private_key,
        }) => (
            " ssl",
            format!("ssl_certificate {certificate:?};\n    ssl_certificate_key {private_key:?};\n"),
        ),
        None => ("", String::new()),
    };
    let kept = directory.join("kept");
    format!(
        "daemon off;\nworker_processes {workers};\npid nginx.pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000;\n  \
         client_body_temp_path body;\n  proxy_temp_path temp;\n  fastcgi_temp_path fastcgi;\n  \
         uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  \
         proxy_cache_path {kept:?} levels=1:2 keys_zone=images:64m max_size=8g inactive=1d \
         use_temp_path=off;\n  \
         upstream origin {{ server {origin}; keepalive 64; }}\n  \
         server {{\n    listen {address}{ssl} backlog=1024;\n    {tls}    location / {{\n      \
         proxy_pass http://origin;\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_buffer_size 64k;\n      \
         proxy_buffers 16 64k;\n      proxy_busy_buffers_size 256k;\n      \
         proxy_cache images;\n      proxy_cache_valid 200 1d;\n      proxy_cache_lock on;\n      \
         proxy_cache_key $uri;\n    }}\n  }}\n}}\n"
    )
}
