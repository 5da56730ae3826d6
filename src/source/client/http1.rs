//! HTTP/1.1 connections. Nothing drives them but the task that reads the answer, so a stream is
//! one task from socket to socket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use hyper::client::conn::http1;
use tokio::time::Instant;

use super::connector::{Connector, Stream};
use super::error::Error;
use super::shelves::{IDLE, Perishable, Place, Shelves};
use super::spares::{Opener, Spare, Spares};

/// The largest read.
const READ_BUFFER: usize = 256 << 10;
/// The largest head of a response, in bytes.
const LARGEST_HEAD: usize = 128 << 10;
const MOST_HEADER_FIELDS: usize = 64;
const MOST_IDLE: usize = 32;
/// The most bytes of an abandoned body that are read to keep its connection.
const MOST_LEFT: usize = 16 << 10;

/// The connections of a client.
#[derive(Debug)]
pub(super) struct Pool(Arc<Spares<Lines>>);

/// What connections are opened with, and those that wait.
#[derive(Debug)]
struct Lines {
    connector: Connector,
    idle: Arc<Shelves<Idle>>,
}

/// A connection that answers one request at a time.
#[derive(Debug)]
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection is closed. It is boxed because it is two kilobytes that move from
    /// place to place.
    driver: Option<Box<http1::Connection<Stream, Full<Bytes>>>>,
}

/// A connection without a request.
#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Perishable for Idle {
    fn perishes(&mut self, _now: Instant) -> Instant {
        self.since + IDLE
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, keeps_spare: bool) -> Self {
        let idle = Shelves::new();
        Self(Spares::new(Lines { connector, idle }, keeps_spare))
    }

    /// Sends a request; over a new connection, if it must have been opened since some time.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        since: Option<Instant>,
    ) -> Result<Response<Incoming>, Error> {
        let place = Place::of(request.uri());
        let lines = self.0.opener();
        let idle = match since {
            None => lines.take(&place),
            Some(_) => None,
        };
        if lines.are_taken(&place) {
            self.0.taken(&place);
        }
        let connection = match idle {
            Some(connection) => connection,
            // It is boxed because every request has a place for it, and few connect.
            None => Box::pin(lines.connect(request.uri())).await?,
        };
        let home = Home {
            idle: Arc::clone(&lines.idle),
            place: place.clone(),
        };
        let uri = request.uri().clone();
        let response = connection.send(request, home).await?;
        self.0.answered(&uri, &place);
        Ok(response)
    }
}

impl Lines {
    async fn connect(&self, uri: &Uri) -> Result<Connection, Error> {
        let stream = self.connector.connect(uri).await;
        let stream = stream.map_err(Error::Connect)?;
        Ok(Connection::open(stream).await?)
    }

    /// Whether no connection is idle.
    fn are_taken(&self, place: &Place) -> bool {
        self.idle
            .with(place, |shelf| shelf.is_empty())
            .unwrap_or(true)
    }

    /// An idle connection that the server has not closed.
    fn take(&self, place: &Place) -> Option<Connection> {
        while let Some(Some(mut idle)) = self.idle.with(place, Vec::pop) {
            if idle.connection.is_ready() {
                return Some(idle.connection);
            }
        }
        None
    }
}

impl Opener for Lines {
    fn look(&self, place: &Place) -> Spare {
        let Some(mut idle) = self.idle.with(place, Vec::pop).flatten() else {
            return Spare::Taken;
        };
        if !idle.connection.is_ready() {
            return Spare::Closed;
        }
        self.idle.put(place, idle, MOST_IDLE);
        Spare::Waits
    }

    async fn open(&self, uri: &Uri, place: &Place) -> bool {
        let Ok(connection) = self.connect(uri).await else {
            return false;
        };
        let since = Instant::now();
        self.idle.put(place, Idle { connection, since }, MOST_IDLE);
        true
    }
}

impl Connection {
    async fn open(stream: Stream) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        builder
            .max_buf_size(READ_BUFFER)
            .max_header_size(LARGEST_HEAD)
            .max_headers(MOST_HEADER_FIELDS);
        let (sender, driver) = builder.handshake(stream).await?;
        Ok(Self {
            sender,
            driver: Some(Box::new(driver)),
        })
    }

    /// Whether it is open, and waits for a request.
    fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(context).is_ready()
        {
            // If it has failed, the request or the body has the error.
            self.driver = None;
        }
    }

    /// Sends a request. The connection returns to its shelf when the body has been read.
    async fn send(
        mut self,
        request: Request<Full<Bytes>>,
        home: Home,
    ) -> hyper::Result<Response<Incoming>> {
        let mut answer = Box::pin(self.sender.send_request(to_origin_form(request)));
        let response = std::future::poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(&mut unwoken())
        })
        .await?;
        Ok(response.map(|body| Incoming::new(body, self, home)))
    }
}

/// A context for futures that only a connection wakes which the same task polls before them.
fn unwoken() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The shelf of a connection.
#[derive(Debug)]
struct Home {
    idle: Arc<Shelves<Idle>>,
    place: Place,
}

/// The body of a response, with the connection that it arrives on.
#[derive(Debug)]
pub(super) struct Incoming {
    body: hyper::body::Incoming,
    /// `None` after the end.
    connection: Option<Connection>,
    home: Home,
}

impl Incoming {
    fn new(body: hyper::body::Incoming, connection: Connection, home: Home) -> Self {
        let is_empty = body.is_end_stream();
        let mut incoming = Self {
            body,
            connection: Some(connection),
            home,
        };
        if is_empty {
            incoming.release();
        }
        incoming
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // The reader drops a chunk before it asks for the next one, so the connection reads into
        // the same memory again. The task need not wake itself for a chunk that it reads itself:
        // its waker is registered only if there is nothing to read.
        let mut next = self.poll_body();
        for waker in [Waker::noop(), context.waker()] {
            if next.is_pending()
                && let Some(connection) = &mut self.connection
            {
                connection.drive(&mut Context::from_waker(waker));
                next = self.poll_body();
            }
        }
        if matches!(next, Poll::Ready(None)) {
            self.release();
        }
        next
    }

    fn poll_body(&mut self) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(&mut unwoken())
    }

    /// Puts the connection on its shelf, if it can be used again.
    fn release(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_ready()
        {
            let since = Instant::now();
            let idle = Idle { connection, since };
            self.home.idle.put(&self.home.place, idle, MOST_IDLE);
        }
    }
}

impl Drop for Incoming {
    /// Closes the connection, unless the rest of the body is short and there.
    fn drop(&mut self) {
        let mut left = 0;
        while self.connection.is_some() && left <= MOST_LEFT {
            match self.poll_frame(&mut unwoken()) {
                Poll::Ready(Some(Ok(frame))) => left += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => return,
            }
        }
    }
}

/// RFC 9112 3.2.1: path and query, and the server in `Host`.
fn to_origin_form(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let uri = std::mem::take(request.uri_mut());
    if let Some(host) = host(&uri) {
        request.headers_mut().insert(HOST, host);
    }
    let path = uri.into_parts().path_and_query;
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request
}

/// The server, with the port unless it is that of the scheme.
fn host(uri: &Uri) -> Option<HeaderValue> {
    let host = uri.host()?;
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        Some(_) | None => 80,
    };
    let host = match uri.port_u16() {
        Some(port) if port != usual => format!("{host}:{port}"),
        Some(_) | None => host.to_owned(),
    };
    host.try_into().ok()
}
