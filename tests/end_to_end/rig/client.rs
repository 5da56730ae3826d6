//! An HTTP client that reports how each answer ends.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use xcwado::dicom::MediaType;
use xcwado::multipart::{Boundary, Event, Limits, PartHead, Splitter};

/// The `Accept` field of a client that wants instances as they are stored.
pub(crate) const AS_STORED: (&str, &str) = (
    "accept",
    r#"multipart/related; type="application/dicom"; transfer-syntax=*"#,
);

pub(crate) fn request(
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
    host: SocketAddr,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !fields.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", host.to_string());
    }
    if method_has_body(request.method_ref())
        && !fields.iter().any(|(name, _)| *name == "content-type")
    {
        request = request.header("content-type", "application/octet-stream");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).expect("a request")
}

/// The status of the answer to raw bytes; `None` if the connection ends without an answer.
pub(crate) async fn raw_status(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    // The gateway may refuse a request before it has read all of it.
    let _ = socket.write_all(request).await;
    let mut line = [0; 12];
    socket.read_exact(&mut line).await.ok()?;
    String::from_utf8_lossy(&line[9..]).parse().ok()
}

fn method_has_body(method: Option<&Method>) -> bool {
    method == Some(&Method::POST)
}

/// Sends a request as the client 127.0.0.`last`.
pub(crate) async fn open_as(
    last: u8,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Stream {
    let socket = connect_as(last, address).await;
    try_open(socket, request).await.expect("an answer")
}

/// A connection of the client 127.0.0.`last`.
pub(crate) async fn connect_as(last: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let own = SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(own).expect("an address of this machine");
    socket.connect(address).await.expect("a connection")
}

/// Sends a request over a connection of its own.
pub(crate) async fn open(address: SocketAddr, request: Request<Full<Bytes>>) -> Stream {
    let socket = TcpStream::connect(address).await.expect("a connection");
    try_open(socket, request).await.expect("an answer")
}

/// Sends a request; `None` if the connection ends without an answer.
pub(crate) async fn try_open(socket: TcpStream, request: Request<Full<Bytes>>) -> Option<Stream> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .expect("HTTP/1.1");
    tokio::spawn(connection);
    Some(Stream::new(sender.send_request(request).await.ok()?))
}

/// An answer whose body is still to be read.
pub(crate) struct Stream {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    read: BytesMut,
}

impl Stream {
    pub(crate) fn new(response: http::Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            read: BytesMut::new(),
        }
    }

    /// Reads until at least `length` bytes of the body have arrived.
    pub(crate) async fn read_at_least(&mut self, length: usize) -> &[u8] {
        while self.read.len() < length {
            let frame = self.body.frame().await.expect("more bytes");
            let frame = frame.expect("a whole stream so far");
            self.read
                .extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        &self.read
    }

    /// Reads to the end of the body, whole or broken.
    pub(crate) async fn read(mut self) -> Answer {
        let end = loop {
            match self.body.frame().await {
                None => break End::Whole,
                Some(Err(error)) => break End::BrokeOff(Broken::of(&error)),
                Some(Ok(frame)) => self
                    .read
                    .extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        };
        Answer {
            status: self.status,
            headers: self.headers,
            body: self.read.freeze(),
            end,
        }
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) end: End,
}

/// How HTTP says that a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    BrokeOff(Broken),
}

/// How HTTP says that a body is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// HTTP/1.1: the connection ended before the body did.
    ConnectionClosed,
    /// HTTP/2: the stream was reset.
    StreamReset,
}

impl Broken {
    fn of(error: &hyper::Error) -> Self {
        if error.is_incomplete_message() || error.is_closed() || is_io(error) {
            Self::ConnectionClosed
        } else {
            Self::StreamReset
        }
    }
}

fn is_io(error: &hyper::Error) -> bool {
    use std::error::Error;
    error
        .source()
        .is_some_and(|cause| cause.is::<std::io::Error>())
}

/// One part of a multipart answer.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) head: PartHead,
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The value of a header field; empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("text")
    }

    /// The value of a metric in the text of `/metrics`, 0 if it is missing.
    pub(crate) fn metric(&self, named: &str) -> f64 {
        let text = self.text();
        text.lines()
            .find_map(|line| line.strip_prefix(named)?.strip_prefix(' '))
            .map_or(0.0, |value| value.parse().expect("a number"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether the body is complete.
    pub(crate) fn is_whole(&self) -> bool {
        self.end == End::Whole
    }

    /// The parts of an answer that must be a whole `multipart/related`.
    pub(crate) fn parts(&self) -> Vec<Part> {
        assert_eq!(self.end, End::Whole, "the answer broke off");
        let (parts, is_closed) = self.split();
        assert!(is_closed, "the closing boundary is missing");
        parts
    }

    /// The complete parts, and whether the closing boundary arrived.
    pub(crate) fn split(&self) -> (Vec<Part>, bool) {
        let content_type = self.field("content-type");
        let media_type = MediaType::parse(content_type).expect("a media type");
        assert_eq!(media_type.essence(), "multipart/related", "{self:?}");
        let boundary = media_type.parameter("boundary").expect("a boundary");
        let boundary = Boundary::parse(boundary).expect("a valid boundary");
        let mut splitter = Splitter::new(&boundary, Limits::default());
        splitter.push(self.body.clone());
        let (mut parts, mut open) = (Vec::new(), None);
        while let Some(event) = splitter.next().expect("the gateway writes good multipart") {
            match event {
                Event::Part(head) => open = Some((head, BytesMut::new())),
                Event::Data(bytes) => {
                    let (_, data) = open.as_mut().expect("data belongs to a part");
                    data.extend_from_slice(&bytes);
                }
                Event::PartEnd => {
                    let (head, data) = open.take().expect("a part that ends has begun");
                    let bytes = data.freeze();
                    parts.push(Part { head, bytes });
                }
            }
        }
        (parts, splitter.is_closed())
    }

    /// The bytes of the parts, sorted: the order of parts is not specified.
    pub(crate) fn instances(&self) -> Vec<Bytes> {
        sorted(self.parts().into_iter().map(|part| part.bytes))
    }

    /// The detail of a problem document, after checks of its other members.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.field("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let detail = problem["detail"].as_str().expect("a sentence").to_owned();
        assert!(!detail.is_empty() && detail.len() < 200, "{detail}");
        detail
    }
}

/// The path of something at a location of a community, as RAD-160 asks for it.
pub(crate) fn rad_160(community: &str, location: &str, path: &str) -> String {
    format!("/wado-rs/homeCommunityId/{community}/RetrieveLocationUID/{location}/{path}")
}

pub(crate) fn sorted(instances: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    let mut instances: Vec<_> = instances.into_iter().collect();
    instances.sort();
    instances
}
