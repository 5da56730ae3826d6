//! The gateway and nginx, set up alike and put under the same load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustls::ClientConfig;

use crate::rig::authority::{Authority, Issued};
use crate::rig::client::Connection;
use crate::rig::nginx::Nginx;
use crate::rig::pair::rad_160;
use crate::rig::process::Server;
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::servers::origin;
use crate::study::{self, Shape, manifest};
use crate::yardstick::client::Client;
use crate::yardstick::contest::{Round, Spent};
use crate::yardstick::trace;

/// What is in front of which source.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) upstream: SocketAddr,
    pub(crate) shape: Shape,
    pub(crate) tls: Option<&'a Tls>,
}

/// The certificate of the listeners, and who trusts it.
pub(crate) struct Tls {
    pub(crate) authority: Authority,
    issued: Issued,
}

/// Where the gateway keeps instances.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kept {
    Nothing,
    Memory,
    /// In memory that holds a quarter of a study of 1 GB, and is full.
    FullMemory,
    Files,
}

/// Which way a client asks the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entrance {
    Manifests,
    Rad160,
}

/// One that runs.
pub(crate) struct Peer {
    pub(crate) server: Server,
    /// The path of its DICOMweb root.
    root: String,
    tls: Option<Arc<ClientConfig>>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) paths: &'a [String],
    /// Connections, each of which asks for the next path as soon as it has read one.
    pub(crate) lanes: usize,
    pub(crate) accept: &'a str,
}

/// One instance as it is stored.
pub(crate) const DICOM: &str = "application/dicom; transfer-syntax=*";
pub(crate) const JSON: &str = "application/dicom+json";

impl Tls {
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let issued = authority.issue("yardstick.example");
        Self { authority, issued }
    }
}

impl Kept {
    fn settings(self) -> &'static str {
        match self {
            Self::Nothing => "memory = \"0\"\ndisk = \"0\"\nlook_ahead = \"off\"",
            Self::Memory => "memory = \"4 GiB\"\ndisk = \"0\"",
            Self::FullMemory => "memory = \"256 MiB\"\ndisk = \"0\"",
            Self::Files => "memory = \"4 GiB\"\ndisk = \"20 GiB\"",
        }
    }
}

impl Setup<'_> {
    /// Without TLS.
    pub(crate) fn plain(upstream: SocketAddr, shape: Shape) -> Self {
        Self {
            upstream,
            shape,
            tls: None,
        }
    }

    pub(crate) fn gateway(&self, kept: Kept, entrance: Entrance) -> Peer {
        self.gateway_with(kept, entrance, "")
    }

    /// The gateway with these tables more.
    pub(crate) fn gateway_with(&self, kept: Kept, entrance: Entrance, tables: &str) -> Peer {
        let tls = self.tls.map_or(String::new(), |tls| {
            let Issued {
                certificate,
                private_key,
            } = &tls.issued;
            format!("certificate = {certificate:?}\nprivate_key = {private_key:?}\n")
        });
        let listen = format!("connections = 16384\nrequest_head_seconds = 300\n{tls}");
        let root = origin::root(self.upstream, "length", 0, self.shape);
        let settings = Settings::keeping(THEIRS, &listen, kept.settings())
            .location(LOCATION, &root)
            .number("connections", 128)
            .number("queue", 4096)
            .line(tables);
        let peer = Peer {
            server: Server::quiet_gateway(&settings),
            root: match entrance {
                Entrance::Manifests => "/dicomweb".to_owned(),
                Entrance::Rad160 => rad_160(THEIRS),
            },
            tls: self.tls.map(|tls| tls.authority.client()),
        };
        let manifest = manifest::fhir(self.shape, &[LOCATION]);
        let over = peer.connect();
        peer.server
            .register_over(over, "application/fhir+json", &manifest);
        peer
    }

    /// nginx, as a `proxy_cache` or as a `proxy_pass`; `None` if it is not installed.
    pub(crate) fn nginx(&self, is_cache: bool) -> Option<Peer> {
        let nginx = Nginx {
            upstream: self.upstream,
            is_cache,
            shown: self.tls.map(|tls| &tls.issued),
        };
        Some(Peer {
            server: nginx.start()?,
            root: format!("/length/0/{}", self.shape.name()),
            tls: self.tls.map(|tls| tls.authority.client()),
        })
    }
}

impl Peer {
    fn connect(&self) -> Connection {
        Connection::to(self.server.address, 64 << 10, self.tls.as_ref())
    }

    pub(crate) fn study(&self) -> String {
        study::path(&self.root)
    }

    pub(crate) fn series(&self, series: usize) -> String {
        study::series_path(&self.root, series)
    }

    pub(crate) fn instance(&self, series: usize, instance: usize) -> String {
        study::instance_path(&self.root, series, instance)
    }

    /// So many instances of a series.
    pub(crate) fn instances(&self, series: usize, count: usize) -> Vec<String> {
        (0..count).map(|at| self.instance(series, at)).collect()
    }

    /// The cost of a load.
    pub(crate) fn spend(&self, round: Round, load: Load<'_>) -> Spent {
        self.spend_on(round, load.paths.len(), || self.fetch(load))
    }

    /// The cost of work that reads so many answers, and tells how many bytes they had.
    pub(crate) fn spend_on(
        &self,
        round: Round,
        requests: usize,
        work: impl FnOnce() -> u64,
    ) -> Spent {
        let (before, began, mut bytes) = (self.server.usage(), Instant::now(), 0);
        let wakes = match round.is_traced {
            true => trace::count_wakes(&self.server, || bytes = work()),
            false => {
                bytes = work();
                None
            }
        };
        Spent {
            time: began.elapsed(),
            used: self.server.usage().since(&before),
            bytes,
            requests,
            upstream: 0,
            wakes,
        }
    }

    /// Reads everything; how many bytes there were.
    pub(crate) fn fetch(&self, load: Load<'_>) -> u64 {
        load.fetch(&mut self.open(load.lanes))
    }

    /// So many new connections.
    pub(crate) fn open(&self, lanes: usize) -> Vec<Lane> {
        (0..lanes).map(|_| Lane::open(self)).collect()
    }
}

impl Load<'_> {
    /// Reads everything over these connections; how many bytes there were.
    pub(crate) fn fetch(&self, lanes: &mut [Lane]) -> u64 {
        let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for lane in lanes {
                scope.spawn(|| {
                    while let Some(path) = self.paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let length = lane.get(path, self.accept);
                        bytes.fetch_add(length, Ordering::Relaxed);
                    }
                });
            }
        });
        bytes.into_inner()
    }
}

/// A connection of a client.
pub(crate) enum Lane {
    Plain(Client),
    Tls(Connection),
}

impl Lane {
    fn open(peer: &Peer) -> Self {
        match peer.tls {
            Some(_) => Self::Tls(peer.connect()),
            None => Self::Plain(Client::open(peer.server.address)),
        }
    }

    /// Reads an answer, which has to be whole; the length of its body.
    pub(crate) fn get(&mut self, path: &str, accept: &str) -> u64 {
        match self {
            Self::Plain(client) => client.get(path, accept),
            Self::Tls(connection) => {
                let answer = connection.get(path, accept);
                assert_eq!(answer.status, 200, "{path}");
                answer.drain()
            }
        }
    }
}
