//! A client that speaks HTTP/2 over TLS.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use http::header::ACCEPT;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::rig::authority::Authority;
use crate::yardstick::peer::DICOM;

/// How many connections there are, and how many requests at once on each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    connections: usize,
    each: usize,
}

impl Streams {
    pub(crate) const fn of(connections: usize, each: usize) -> Self {
        Self { connections, each }
    }
}

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} streams", self.connections, self.each)
    }
}

/// What all streams take from and add to.
struct Work {
    paths: Vec<String>,
    next: AtomicUsize,
    bytes: AtomicU64,
}

/// Open connections.
pub(crate) struct Session {
    runtime: Runtime,
    connections: Vec<SendRequest<Empty<Bytes>>>,
    streams: Streams,
}

impl Session {
    pub(crate) fn open(address: SocketAddr, authority: &Authority, streams: Streams) -> Self {
        let mut tls = (*authority.client()).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tls = Arc::new(tls);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let connect = |_| runtime.block_on(connect(address, Arc::clone(&tls)));
        let connections = (0..streams.connections).map(connect).collect();
        Self {
            runtime,
            connections,
            streams,
        }
    }

    /// Reads everything; how many bytes there were.
    pub(crate) fn fetch(&self, paths: &[String]) -> u64 {
        let work = Arc::new(Work {
            paths: paths.to_vec(),
            next: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        });
        self.runtime.block_on(async {
            let mut all = JoinSet::new();
            for connection in &self.connections {
                for _ in 0..self.streams.each {
                    all.spawn(read(connection.clone(), Arc::clone(&work)));
                }
            }
            all.join_all().await;
        });
        work.bytes.load(Ordering::Relaxed)
    }
}

async fn connect(address: SocketAddr, tls: Arc<ClientConfig>) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a listener");
    stream.set_nodelay(true).expect("an option");
    let connector = TlsConnector::from(tls);
    let stream = connector.connect(address.ip().into(), stream).await;
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream.expect("a session")))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn read(mut connection: SendRequest<Empty<Bytes>>, work: Arc<Work>) {
    while let Some(path) = work.paths.get(work.next.fetch_add(1, Ordering::Relaxed)) {
        let request = Request::get(format!("https://localhost{path}"))
            .header(ACCEPT, DICOM)
            .body(Empty::new())
            .expect("a request");
        connection.ready().await.expect("a connection");
        let answer = connection.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.expect("a whole answer");
            let length = frame.data_ref().map_or(0, Bytes::len);
            work.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
}

const WINDOW: u32 = 8 << 20;
