//! HTTP/2 connections. Requests share them, so each has a task of its own, on the core that opened
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout};

use super::connector::{Connector, Stream};
use super::error::Error;
use super::shelves::{IDLE, Perishable, Place, Shelves};

// Windows: the defaults are too small for bulk data. A window bounds the bytes of one round trip,
// and the cost of a stalled client.
const STREAM_WINDOW: u32 = 2 << 20;
// Space for all streams: streams of stalled clients must not block the others.
const CONNECTION_WINDOW: u32 = 128 * STREAM_WINDOW;
const FRAME: u32 = 64 << 10;
const HEADER_LIST: u32 = 64 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The most streams of a connection.
const MOST_STREAMS: usize = 100;
const MOST_CONNECTIONS: usize = 32;

/// The connections of a client.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    open: Arc<Shelves<Connection>>,
    turns: Turns,
    /// The time for which a request waits while another one connects.
    patience: Duration,
}

/// At each place, one request connects at a time: the others then share its connection.
type Turns = Mutex<HashMap<Place, Arc<tokio::sync::Mutex<()>>>>;

/// A connection that answers several requests at a time.
#[derive(Debug, Clone)]
struct Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    /// One reference for the connection, and one for each stream.
    streams: Arc<()>,
    opened: Instant,
    used: Instant,
}

impl Perishable for Connection {
    fn perishes(&mut self, now: Instant) -> Instant {
        if self.sender.is_closed() {
            return now;
        }
        if self.streams() > 0 {
            self.used = now;
        }
        self.used + IDLE
    }
}

/// The body of a response.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) body: hyper::body::Incoming,
    _stream: Arc<()>,
}

impl Pool {
    pub(super) fn new(connector: Connector, patience: Duration) -> Self {
        Self {
            connector,
            open: Shelves::new(),
            turns: Turns::default(),
            patience,
        }
    }

    /// Sends a request, over a connection that was opened no earlier than `since`.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        since: Option<Instant>,
    ) -> Result<Response<Incoming>, Error> {
        let place = Place::of(request.uri());
        let mut connection = self.reserve(&place, since);
        if connection.is_none() {
            let turn = self.turn(&place);
            // Should the other request take too long, this one connects too.
            let _turn = timeout(self.patience, turn.lock()).await;
            connection = self.reserve(&place, since);
            if connection.is_none() {
                connection = Some(self.connect(&request, &place).await?);
            }
        }
        let connection = connection.expect("it has been opened");
        Ok(connection.send(request).await?)
    }

    /// The connection with the fewest streams, with one more.
    fn reserve(&self, place: &Place, since: Option<Instant>) -> Option<Connection> {
        let reserve = |shelf: &mut Vec<Connection>| {
            let open = shelf.iter_mut().filter(|connection| {
                !connection.sender.is_closed()
                    && since.is_none_or(|since| connection.opened >= since)
            });
            let least = open.min_by_key(|connection| connection.streams())?;
            least.used = Instant::now();
            (least.streams() < MOST_STREAMS).then(|| least.clone())
        };
        self.open.with(place, reserve).flatten()
    }

    fn turn(&self, place: &Place) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(place.clone()).or_default())
    }

    async fn connect(
        &self,
        request: &Request<Full<Bytes>>,
        place: &Place,
    ) -> Result<Connection, Error> {
        let stream = self.connector.connect(request.uri()).await;
        let connection = Connection::open(stream.map_err(Error::Connect)?).await?;
        self.open.put(place, connection.clone(), MOST_CONNECTIONS);
        Ok(connection)
    }
}

impl Connection {
    async fn open(stream: Stream) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(HEADER_LIST)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let (sender, driver) = builder.handshake(stream).await?;
        // If it fails, its requests and bodies have the error.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        let now = Instant::now();
        Ok(Self {
            sender,
            streams: Arc::new(()),
            opened: now,
            used: now,
        })
    }

    fn streams(&self) -> usize {
        // One reference is the connection's.
        Arc::strong_count(&self.streams) - 1
    }

    async fn send(mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let response = self.sender.send_request(request).await?;
        Ok(response.map(|body| Incoming {
            body,
            _stream: self.streams,
        }))
    }
}
