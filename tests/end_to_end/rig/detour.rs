//! A forwarder to a server that may start later; it records the requests that pass.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
    listening: AbortHandle,
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let leads_to = watch::Sender::new(None);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (end, all) = (leads_to.subscribe(), Arc::clone(&seen));
        let listening = tokio::spawn(async move {
            while let Ok((client, _peer)) = listener.accept().await {
                tokio::spawn(lead(client, end.clone(), Arc::clone(&all)));
            }
        });
        Self {
            address,
            leads_to,
            seen,
            listening: listening.abort_handle(),
        }
    }

    /// Sets the server.
    pub(crate) fn leads_to(&self, server: SocketAddr) {
        self.leads_to.send_replace(Some(server));
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

async fn lead(client: TcpStream, mut end: watch::Receiver<Option<SocketAddr>>, seen: Seen) {
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
        copy(from_client, to_server, |bytes| record(
            &seen, connection, bytes
        )),
        copy(from_server, to_client, |_bytes| {})
    );
}

/// Copies until either side closes, then closes the other.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, watch: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        watch(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
