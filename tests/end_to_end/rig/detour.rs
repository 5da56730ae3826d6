//! A forwarder to a server that may start later; it records the requests that pass, counts the bytes
//! that come back, and may be slow.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A forwarder, which stops when this is dropped.
pub(crate) struct Detour {
    pub(crate) address: SocketAddr,
    leads_to: watch::Sender<Option<SocketAddr>>,
    /// The bytes of each connection towards the server.
    seen: Seen,
    /// Bytes from the server.
    crossed: Arc<AtomicU64>,
    listening: AbortHandle,
}

/// What a connection is led to, and what is recorded of it.
#[derive(Clone)]
struct Way {
    end: watch::Receiver<Option<SocketAddr>>,
    seen: Seen,
    crossed: Arc<AtomicU64>,
    /// The time that bytes need in either direction.
    delay: Duration,
}

/// What came over each connection, in the order of the heads.
type Seen = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

/// The head of a request as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Without the version of HTTP.
    pub(crate) line: String,
    /// The header fields, names in lower case, sorted.
    pub(crate) fields: Vec<(String, String)>,
}

impl Detour {
    /// A forwarder whose server is set later.
    pub(crate) async fn start() -> Self {
        Self::slow(Duration::ZERO).await
    }

    /// A forwarder that holds back everything for some time.
    pub(crate) async fn slow(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let leads_to = watch::Sender::new(None);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let crossed = Arc::new(AtomicU64::new(0));
        let way = Way {
            end: leads_to.subscribe(),
            seen: Arc::clone(&seen),
            crossed: Arc::clone(&crossed),
            delay,
        };
        let listening = tokio::spawn(async move {
            while let Ok((client, _peer)) = listener.accept().await {
                tokio::spawn(lead(client, way.clone()));
            }
        });
        Self {
            address,
            leads_to,
            seen,
            crossed,
            listening: listening.abort_handle(),
        }
    }

    /// Sets the server.
    pub(crate) fn leads_to(&self, server: SocketAddr) {
        self.leads_to.send_replace(Some(server));
    }

    /// The bytes that have come from the server.
    pub(crate) fn crossed(&self) -> u64 {
        self.crossed.load(Ordering::Relaxed)
    }

    /// The heads of all requests, in the order in which they came over all connections; requests with bodies or TLS are not supported.
    pub(crate) fn heads(&self) -> Vec<Head> {
        let seen = lock(&self.seen).clone();
        let texts = seen.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes));
        texts.flat_map(|text| heads(&text)).collect()
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Head {
    /// The value of a header field; empty if it is not there.
    pub(crate) fn field(&self, named: &str) -> &str {
        let mut fields = self.fields.iter();
        fields
            .find(|(name, _)| name == named)
            .map_or("", |(_, value)| value)
    }

    pub(crate) fn field_names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn heads(text: &str) -> Vec<Head> {
    let heads = text.split("\r\n\r\n").filter(|head| !head.is_empty());
    let heads = heads.map(|head| {
        let (line, fields) = head.split_once("\r\n").expect("header fields");
        let fields = fields.split("\r\n").map(|field| {
            let (name, value) = field.split_once(':').expect("a header field");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        let mut fields: Vec<_> = fields.collect();
        fields.sort();
        let line = line.strip_suffix(" HTTP/1.1").expect("HTTP/1.1").to_owned();
        Head { line, fields }
    });
    heads.collect()
}

/// Adds bytes to the head that its connection has begun, or begins one.
fn record(seen: &Seen, connection: SocketAddr, bytes: &[u8]) {
    let mut seen = lock(seen);
    let mut of_connection = seen.iter_mut().filter(|(of, _)| *of == connection);
    match of_connection.next_back() {
        Some((_, head)) if !head.ends_with(b"\r\n\r\n") => head.extend_from_slice(bytes),
        Some(_) | None => seen.push((connection, bytes.to_vec())),
    }
}

async fn lead(client: TcpStream, way: Way) {
    let Way {
        mut end,
        seen,
        crossed,
        delay,
    } = way;
    let connection = client.peer_addr().expect("a client");
    // The test may end before it sets the server.
    let Ok(server) = end.wait_for(Option::is_some).await.map(|end| *end) else {
        return;
    };
    let Ok(server) = TcpStream::connect(server.expect("it was waited for")).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        copy(from_client, to_server, delay, |bytes| record(
            &seen, connection, bytes
        )),
        copy(from_server, to_client, delay, |bytes| {
            crossed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        })
    );
}

/// Copies until either side closes, then closes the other.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    watch: impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        watch(&buffer[..count]);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
