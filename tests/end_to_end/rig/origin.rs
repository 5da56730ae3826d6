//! A DICOMweb server whose answers a test scripts, down to the bytes of HTTP.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::rig::study::{EXPLICIT, Instance, Study, location_uid};

pub(crate) const BOUNDARY: &str = "=_the (origin's) boundary";

/// A server that runs until it is dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    listening: AbortHandle,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    fields: Vec<(String, String)>,
}

/// The answer to a request.
#[derive(Clone)]
pub(crate) struct Reply {
    /// 0: there is no head.
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<Step>,
    pub(crate) framing: Framing,
    pub(crate) end: End,
}

/// A step in sending a body.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Bytes),
    /// Waits until the gate is open.
    Wait(Gate),
    /// Pauses.
    Pause(Duration),
}

/// How the answer declares the end of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Framing {
    Length,
    /// A `Content-Length` that is this much more than the body.
    LengthAnd(usize),
    Chunked,
    /// As Orthanc does for more than one instance.
    UntilClose,
}

/// The end of the connection or body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The proper end of the framing.
    Well,
    /// The connection is closed without it.
    Close,
    /// The connection is reset.
    Reset,
    /// Silence until the client closes.
    Silence,
}

/// A gate that a test opens and a script waits for, or the reverse.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

#[derive(Debug, Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    connections: AtomicU64,
    sent: AtomicU64,
    /// The number of answers that clients aborted.
    left: watch::Sender<usize>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&self) {
        let mut opened = self.0.subscribe();
        // It cannot be closed while this one is here.
        let _ = opened.wait_for(|is_open| *is_open).await;
    }
}

impl Origin {
    /// A server that answers every request with the reply of `script`.
    pub(crate) async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let (script, watching) = (Arc::new(script), Arc::clone(&seen));
        let listening = tokio::spawn(async move {
            while let Ok((socket, _peer)) = listener.accept().await {
                watching.connections.fetch_add(1, Ordering::Relaxed);
                let (script, seen) = (Arc::clone(&script), Arc::clone(&watching));
                tokio::spawn(async move { connection(socket, &*script, &seen).await });
            }
        });
        Self {
            address,
            seen,
            listening: listening.abort_handle(),
        }
    }

    /// A correct server with the instances of `study`.
    pub(crate) async fn of(study: &Study) -> Self {
        let held = study.instances();
        Self::start(move |asked| honest(&held, asked)).await
    }

    /// The `[[location]]` of this server, with the Retrieve Location UID `…{last}`.
    pub(crate) fn location(&self, last: u32) -> String {
        self.location_with(last, "")
    }

    /// As [`Origin::location`], with settings of `[location.http]`.
    pub(crate) fn location_with(&self, last: u32, http: &str) -> String {
        format!(
            "[[location]]\n\
             alias = \"origin-{last}\"\n\
             retrieve_location_uid = \"{}\"\n\
             wado_rs_url = \"{}\"\n\
             [location.http]\n{http}\n",
            location_uid(last),
            self.url(),
        )
    }

    /// Its DICOMweb root.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/rs/", self.address)
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.seen.asked).clone()
    }

    /// The paths of every request so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    /// Connections that were made to it.
    pub(crate) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Bytes of bodies written to sockets.
    pub(crate) fn sent(&self) -> u64 {
        self.seen.sent.load(Ordering::Relaxed)
    }

    /// Waits until a client aborts an answer.
    pub(crate) async fn left(&self) {
        let mut left = self.seen.left.subscribe();
        let _ = left.wait_for(|count| *count > 0).await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Asked {
    /// The value of a header field; empty if it is not there.
    pub(crate) fn field(&self, named: &str) -> &str {
        let named = |(name, _): &&(String, String)| name == named;
        self.fields
            .iter()
            .find(named)
            .map_or("", |(_, value)| value)
    }

    /// The names of all header fields, in lower case, sorted.
    pub(crate) fn field_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// All header fields, names in lower case, sorted.
    pub(crate) fn fields_sorted(&self) -> Vec<(String, String)> {
        let mut fields = self.fields.clone();
        fields.sort();
        fields
    }

    /// Whether the request is for a single instance.
    pub(crate) fn is_instance(&self) -> bool {
        self.path.contains("/instances/")
    }
}

impl Reply {
    /// A status and a short text.
    pub(crate) fn status(status: u16) -> Self {
        Self::text(status, "text/plain", "no")
    }

    /// A text of some media type.
    pub(crate) fn text(status: u16, media_type: &str, text: &str) -> Self {
        Self::bytes(media_type, text.as_bytes().to_vec()).with_status(status)
    }

    /// One body of some media type.
    pub(crate) fn bytes(media_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            fields: vec![("Content-Type".into(), media_type.into())],
            body: vec![Step::Send(body.into())],
            framing: Framing::Length,
            end: End::Well,
        }
    }

    /// These instances as `multipart/related`.
    pub(crate) fn multipart<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Self {
        let parts = instances.into_iter().map(|instance| &instance.bytes);
        Self::bytes(&multipart_type(BOUNDARY), join(parts))
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub(crate) fn with_type(mut self, media_type: &str) -> Self {
        self.fields[0].1 = media_type.into();
        self
    }

    pub(crate) fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub(crate) fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Truncates the body to `length` bytes; the framing still declares all of it.
    pub(crate) fn cut(mut self, length: usize) -> Self {
        let body = self.whole_body();
        let length = length.min(body.len());
        if let Framing::Length = self.framing {
            self.framing = Framing::LengthAnd(body.len() - length);
        }
        self.body = vec![Step::Send(body.slice(..length))];
        self
    }

    /// Waits at `gate` once the first `length` bytes of the body are sent.
    pub(crate) fn held_at(mut self, length: usize, gate: &Gate) -> Self {
        let mut head = self.whole_body();
        let rest = head.split_off(length.min(head.len()));
        self.body = vec![Step::Send(head), Step::Wait(gate.clone()), Step::Send(rest)];
        self
    }

    /// The bytes of the body.
    pub(crate) fn whole_body(&self) -> Bytes {
        let sent = self.body.iter().map(|step| match step {
            Step::Send(bytes) => bytes.clone(),
            Step::Wait(_) | Step::Pause(_) => Bytes::new(),
        });
        sent.collect::<Vec<_>>().concat().into()
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Whatever\r\n", self.status);
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = match self.framing {
            Framing::Length => write!(head, "Content-Length: {}\r\n", self.length()),
            Framing::LengthAnd(more) => {
                write!(head, "Content-Length: {}\r\n", self.length() + more)
            }
            Framing::Chunked => write!(head, "Transfer-Encoding: chunked\r\n"),
            Framing::UntilClose => write!(head, "Connection: close\r\n"),
        };
        head + "\r\n"
    }

    fn length(&self) -> usize {
        let lengths = self.body.iter().map(|step| match step {
            Step::Send(bytes) => bytes.len(),
            Step::Wait(_) | Step::Pause(_) => 0,
        });
        lengths.sum()
    }
}

/// The reply of a correct server: its instances of the study, series or instance, or 404.
pub(crate) fn honest(held: &[Instance], asked: &Asked) -> Reply {
    honest_below("/rs/", held, asked)
}

/// As [`honest`], below another root. Ignores the query.
pub(crate) fn honest_below(root: &str, held: &[Instance], asked: &Asked) -> Reply {
    let decoded = asked
        .field("accept")
        .contains(&format!("transfer-syntax={EXPLICIT}"));
    let path = asked.path.strip_prefix(root).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let is_asked = |instance: &&Instance| {
        let own = instance.path();
        own == path || own.starts_with(&format!("{path}/"))
    };
    let found = held.iter().filter(is_asked);
    let found: Vec<Instance> = match decoded {
        true => found.map(Instance::decoded).collect(),
        false => found.cloned().collect(),
    };
    if found.is_empty() {
        return Reply::status(404);
    }
    Reply::multipart(&found)
}

pub(crate) fn multipart_type(boundary: &str) -> String {
    format!(r#"multipart/related; type="application/dicom"; boundary="{boundary}""#)
}

/// A multipart body of these parts.
pub(crate) fn join<'a>(parts: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {}\r\nMIME-Version: 1.0\r\n\r\n",
            part.len()
        );
        body.extend(head.as_bytes());
        body.extend(part);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

async fn connection(mut socket: TcpStream, script: &(dyn Fn(&Asked) -> Reply + Sync), seen: &Seen) {
    let mut read = Vec::new();
    while let Some(asked) = request(&mut socket, &mut read).await {
        lock(&seen.asked).push(asked.clone());
        let reply = script(&asked);
        if answer(&mut socket, &reply, seen).await.is_err() {
            seen.left.send_modify(|count| *count += 1);
            return;
        }
        match (reply.end, reply.framing) {
            (End::Well, Framing::Length | Framing::Chunked) => {}
            (End::Well, Framing::LengthAnd(_) | Framing::UntilClose) | (End::Close, _) => return,
            (End::Reset, _) => return socket.set_zero_linger().expect("a socket"),
            (End::Silence, _) => {
                let _ = socket.read(&mut [0]).await;
                return seen.left.send_modify(|count| *count += 1);
            }
        }
    }
}

async fn request(socket: &mut TcpStream, read: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(read).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<u8> = read.drain(..end + 4).collect();
    let head = String::from_utf8_lossy(&head[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Some(Asked {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        fields: fields.collect(),
    })
}

async fn answer(socket: &mut TcpStream, reply: &Reply, seen: &Seen) -> std::io::Result<()> {
    if reply.status > 0 {
        socket.write_all(reply.head().as_bytes()).await?;
    }
    for step in &reply.body {
        match step {
            Step::Send(bytes) => send(socket, bytes, reply.framing, seen).await?,
            Step::Pause(time) => tokio::time::sleep(*time).await,
            Step::Wait(gate) => tokio::select! {
                () = gate.wait() => {}
                // Nothing is sent to us meanwhile: the other side is gone.
                _ = socket.readable() => return Err(std::io::ErrorKind::BrokenPipe.into()),
            },
        }
    }
    if let (Framing::Chunked, End::Well) = (reply.framing, reply.end) {
        socket.write_all(b"0\r\n\r\n").await?;
    }
    socket.flush().await
}

async fn send(
    socket: &mut TcpStream,
    bytes: &[u8],
    framing: Framing,
    seen: &Seen,
) -> std::io::Result<()> {
    for chunk in bytes.chunks(64 << 10) {
        if let Framing::Chunked = framing {
            let head = format!("{:x}\r\n", chunk.len());
            socket.write_all(head.as_bytes()).await?;
        }
        socket.write_all(chunk).await?;
        seen.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        if let Framing::Chunked = framing {
            socket.write_all(b"\r\n").await?;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
