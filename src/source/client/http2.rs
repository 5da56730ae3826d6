//! HTTP/2 connections. Requests share them, so each has a task of its own, on the core that opened
//! it.
//!
//! Over a far border at most a window is on its way in a round trip, and a reader that stalls costs
//! its window. Therefore the first few streams of a client have wide windows, and each a connection
//! of its own, where it blocks nobody; further ones share connections, and the more there are, the
//! smaller are their windows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::connector::{Connector, Stream};
use super::error::Error;
use super::shelves::{IDLE, Perishable, Place, Shelves};
use super::spares::{Opener, Spare, Spares};

/// 64 MiB are 13 Gbit/s at a round trip of 40 ms. A stream whose sender has to wait for more of the
/// window takes a round trip longer than over HTTP/1.1.
const WIDE: Lane = Lane {
    stream_window: 64 << 20,
    connection_window: 64 << 20,
    most_streams: 1,
};
/// The window of the connection has space for all streams: those of stalled clients must not block
/// the others.
const SHARED: Lane = Lane {
    stream_window: 2 << 20,
    connection_window: 256 << 20,
    most_streams: 100,
};
/// What is left for a crowd: 50 Mbit/s for each at a round trip of 40 ms.
const NARROW: Lane = Lane {
    stream_window: 256 << 10,
    connection_window: 32 << 20,
    most_streams: 100,
};
/// The streams of a client that have wide windows, and those that have windows of the next size, on
/// all cores together. If 512 streams stall, they cost 2 · 64 + 98 · 2 + 412 / 4 = 427 MiB.
const MOST_WIDE: usize = 2;
const MOST_SHARED: usize = 98;
const FRAME: u32 = 64 << 10;
const HEADER_LIST: u32 = 64 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const MOST_CONNECTIONS: usize = 32;

/// A kind of connections.
#[derive(Debug)]
struct Lane {
    stream_window: u32,
    connection_window: u32,
    most_streams: usize,
}

/// The connections of a client.
#[derive(Debug)]
pub(super) struct Pool {
    wide: Arc<Spares<Lanes>>,
    shared: Lanes,
    narrow: Lanes,
    /// One for each stream that may have a wide window.
    wide_permits: Arc<Semaphore>,
    shared_permits: Arc<Semaphore>,
}

/// The connections of one kind.
#[derive(Debug)]
struct Lanes {
    lane: Lane,
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
    /// The most streams that the server allows.
    allowed: Arc<AtomicUsize>,
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
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pool {
    pub(super) fn new(connector: Connector, patience: Duration, keeps_spare: bool) -> Self {
        let lanes = |lane, connector| Lanes {
            lane,
            connector,
            open: Shelves::new(),
            turns: Turns::default(),
            patience,
        };
        Self {
            wide: Spares::new(lanes(WIDE, connector.clone()), keeps_spare),
            shared: lanes(SHARED, connector.clone()),
            narrow: lanes(NARROW, connector),
            wide_permits: Arc::new(Semaphore::new(MOST_WIDE)),
            shared_permits: Arc::new(Semaphore::new(MOST_SHARED)),
        }
    }

    /// Sends a request, over a connection that was opened no earlier than `since`.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        since: Option<Instant>,
    ) -> Result<Response<Incoming>, Error> {
        let of = |permits: &Arc<Semaphore>| Arc::clone(permits).try_acquire_owned().ok();
        let wide = of(&self.wide_permits);
        // A spare one is of use if another stream may have a wide window.
        let is_spared = wide.is_some() && self.wide_permits.available_permits() > 0;
        let (lanes, permit) = match wide {
            Some(permit) => (self.wide.opener(), Some(permit)),
            None => match of(&self.shared_permits) {
                Some(permit) => (&self.shared, Some(permit)),
                None => (&self.narrow, None),
            },
        };
        if is_spared {
            self.wide.taken(&Place::of(request.uri()));
        }
        let mut connection = lanes.connection(&request, since).await?;
        let uri = request.uri().clone();
        let response = connection.sender.send_request(request).await?;
        if is_spared {
            self.wide.answered(&uri, &Place::of(&uri));
        }
        Ok(response.map(|body| Incoming {
            body,
            _stream: connection.streams,
            _permit: permit,
        }))
    }
}

impl Lanes {
    /// A connection that takes one more stream, reserved for it.
    async fn connection(
        &self,
        request: &Request<Full<Bytes>>,
        since: Option<Instant>,
    ) -> Result<Connection, Error> {
        let place = Place::of(request.uri());
        if let Some(reserved) = self.reserve(&place, since) {
            return Ok(reserved);
        }
        // It is boxed because every request has a place for it, and few connect.
        Box::pin(self.further(request, &place, since)).await
    }

    /// A new connection, or one that another request opens meanwhile.
    async fn further(
        &self,
        request: &Request<Full<Bytes>>,
        place: &Place,
        since: Option<Instant>,
    ) -> Result<Connection, Error> {
        if self.lane.most_streams == 1 {
            return self.connect(request.uri(), place).await;
        }
        let turn = self.turn(place);
        // Should the other request take too long, this one connects too.
        let _turn = timeout(self.patience, turn.lock()).await;
        match self.reserve(place, since) {
            Some(reserved) => Ok(reserved),
            None => self.connect(request.uri(), place).await,
        }
    }

    /// The connection with the fewest streams, with one more.
    fn reserve(&self, place: &Place, since: Option<Instant>) -> Option<Connection> {
        let is_new = |opened| since.is_none_or(|since| opened >= since);
        let reserve = |shelf: &mut Vec<Connection>| {
            let open = shelf.iter_mut().filter(|connection| {
                let most = connection.allowed.load(Ordering::Relaxed);
                connection.streams() < most.min(self.lane.most_streams)
                    && !connection.sender.is_closed()
                    && is_new(connection.opened)
            });
            let least = open.min_by_key(|connection| connection.streams())?;
            least.used = Instant::now();
            Some(least.clone())
        };
        self.open.with(place, reserve).flatten()
    }

    fn turn(&self, place: &Place) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(place.clone()).or_default())
    }

    async fn connect(&self, uri: &Uri, place: &Place) -> Result<Connection, Error> {
        let stream = self.connector.connect(uri).await;
        let stream = stream.map_err(Error::Connect)?;
        let connection = Connection::open(stream, &self.lane).await?;
        self.open.put(place, connection.clone(), MOST_CONNECTIONS);
        Ok(connection)
    }
}

impl Opener for Lanes {
    fn look(&self, place: &Place) -> Spare {
        let look = |shelf: &mut Vec<Connection>| {
            let mut waiting = shelf.iter().filter(|connection| connection.streams() == 0);
            match waiting.next() {
                None => Spare::Taken,
                Some(one) if one.sender.is_closed() => Spare::Closed,
                Some(_) => Spare::Waits,
            }
        };
        self.open.with(place, look).unwrap_or(Spare::Taken)
    }

    async fn open(&self, uri: &Uri, place: &Place) -> bool {
        self.connect(uri, place).await.is_ok()
    }
}

impl Connection {
    async fn open(stream: Stream, lane: &Lane) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(lane.stream_window)
            .initial_connection_window_size(lane.connection_window)
            .max_frame_size(FRAME)
            .max_header_list_size(HEADER_LIST)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let (sender, driver) = builder.handshake(stream).await?;
        let now = Instant::now();
        let connection = Self {
            sender,
            streams: Arc::new(()),
            allowed: Arc::new(AtomicUsize::new(lane.most_streams)),
            opened: now,
            used: now,
        };
        let allowed = Arc::clone(&connection.allowed);
        let mut driver = Box::pin(driver);
        tokio::spawn(std::future::poll_fn(move |context| {
            let end = driver.as_mut().poll(context);
            allowed.store(driver.current_max_send_streams(), Ordering::Relaxed);
            // If it has failed, its requests and bodies have the error.
            end.map(drop)
        }));
        Ok(connection)
    }

    fn streams(&self) -> usize {
        // One reference is the connection's.
        Arc::strong_count(&self.streams) - 1
    }
}
