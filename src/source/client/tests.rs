use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::body;
use crate::network::Network;

/// Sends a request to a server by name; returns whether it connected.
async fn dials(name: &str, allowed: &[&str]) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let allowed: Vec<_> = allowed
        .iter()
        .map(|text| Network::try_from((*text).to_owned()).expect("a network"))
        .collect();
    let here = vec![IpAddr::from([127, 0, 0, 1])];
    let resolver = Resolver::fixed(here, &allowed);
    let settings = Settings {
        first_byte_seconds: 0,
        ..Settings::default()
    };
    let client = Client::resolving(resolver, "x", &settings, HttpVersion::Http1, None);
    let client = client.expect("a client");
    let uri = format!("http://{name}:{port}/").parse().expect("a URI");
    let accept = HeaderValue::from_static("*/*");
    let asking = tokio::spawn(async move { client.get(&uri, &accept, None, None).await });
    tokio::select! {
        _ = listener.accept() => true,
        _ = asking => false,
    }
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_dialled_unless_settings_allow_it() {
    assert!(!dials("pacs.example", &[]).await);
    assert!(!dials("pacs.example", &["10.0.0.0/8"]).await);
    assert!(dials("pacs.example", &["127.0.0.0/8"]).await);
    assert!(dials("localhost", &[]).await);
    assert!(dials("127.0.0.1", &[]).await);
}
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server on this machine, and a client for it.
struct Pair {
    listener: TcpListener,
    client: Client,
}

/// A connection of the server.
struct Peer(TcpStream);

impl Pair {
    async fn new() -> Self {
        Self::keeping(false).await
    }

    async fn keeping(keeps_spare: bool) -> Self {
        let settings = Settings {
            keeps_spare,
            silence_seconds: 1,
            slowest_bytes_per_second: 1024,
            ..Settings::default()
        };
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            client: Client::new("x", &settings).expect("a client"),
        }
    }

    fn ask(&self) -> JoinHandle<Result<Response, Error>> {
        let address = self.listener.local_addr().expect("an address");
        let uri = format!("http://{address}/x").parse().expect("a URI");
        let client = self.client.clone();
        let accept = HeaderValue::from_static("*/*");
        tokio::spawn(async move { client.get(&uri, &accept, None, None).await })
    }

    async fn accept(&self) -> Peer {
        Peer(self.listener.accept().await.expect("a connection").0)
    }

    /// Whether the client opens another connection within some time.
    async fn is_dialled(&self) -> bool {
        let accepted = timeout(Duration::from_millis(100), self.listener.accept());
        accepted.await.is_ok()
    }
}

impl Peer {
    /// The head of a request.
    async fn request(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("a request"));
        }
        String::from_utf8(head).expect("a text")
    }

    async fn write(&mut self, text: &str) {
        // The client may have left.
        let _ = self.0.write_all(text.as_bytes()).await;
    }

    async fn answer(&mut self, text: &str) {
        self.request().await;
        self.write(text).await;
    }

    /// Whether the client closes the connection.
    async fn is_closed(&mut self) -> bool {
        let read = timeout(Duration::from_secs(1), self.0.read_u8());
        matches!(read.await, Ok(Err(_)))
    }
}

async fn answered(asking: JoinHandle<Result<Response, Error>>) -> Response {
    asking.await.expect("a task").expect("a response")
}

async fn text(asking: JoinHandle<Result<Response, Error>>) -> String {
    let body = answered(asking).await.body.collect(1 << 20).await;
    String::from_utf8(body.expect("a body")).expect("a text")
}

#[tokio::test]
async fn a_connection_answers_one_request_after_the_other() {
    let pair = Pair::new().await;
    let asking = pair.ask();
    let mut peer = pair.accept().await;
    let request = peer.request().await;
    assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
    let host = format!("host: {}\r\n", peer.0.local_addr().expect("an address"));
    assert!(request.contains(&host), "{request}");
    peer.write(OK).await;
    assert_eq!(text(asking).await, "ok");
    let empty = "HTTP/1.1 304 Not Modified\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for answer in [empty, chunked, OK, OK] {
        let asking = pair.ask();
        peer.answer(answer).await;
        // A short body need not be read.
        drop(answered(asking).await);
    }
    assert!(!pair.is_dialled().await);
}

/// The server's ends of two connections that have answered and are idle.
async fn two_idle(pair: &Pair) -> (Peer, Peer) {
    let (first, second) = (pair.ask(), pair.ask());
    let (mut one, mut other) = (pair.accept().await, pair.accept().await);
    one.answer(OK).await;
    other.answer(OK).await;
    assert_eq!(
        (text(first).await, text(second).await),
        ("ok".into(), "ok".into())
    );
    (one, other)
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_used_again() {
    let pair = Pair::new().await;
    drop(two_idle(&pair).await);
    let asking = pair.ask();
    pair.accept().await.answer(OK).await;
    assert_eq!(text(asking).await, "ok");
}

#[tokio::test]
async fn a_server_that_closes_a_connection_at_a_request_is_asked_once_more() {
    let pair = Pair::new().await;
    let (mut one, mut other) = two_idle(&pair).await;
    let asking = pair.ask();
    tokio::select! {
        _request = one.request() => {}
        _request = other.request() => {}
    }
    // Neither of the idle connections would answer.
    drop((one, other));
    let mut fresh = pair.accept().await;
    fresh.request().await;
    drop(fresh);
    assert_eq!(asking.await.expect("a task").err(), Some(Error::HungUp));
    assert!(!pair.is_dialled().await);
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_closes_its_connection() {
    let pair = Pair::new().await;
    let asking = pair.ask();
    let mut peer = pair.accept().await;
    peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin")
        .await;
    let mut response = answered(asking).await;
    assert_eq!(response.body.chunk().await, Ok(Some("begin".into())));
    drop(response);
    assert!(peer.is_closed().await);
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let pair = Pair::new().await;
    let asking = pair.ask();
    let mut peer = pair.accept().await;
    peer.request().await;
    asking.abort();
    assert!(peer.is_closed().await);
}

#[tokio::test]
async fn so_many_idle_connections_are_kept_and_not_for_ever() {
    let pair = Pair::new().await;
    let many: Vec<_> = (0..40).map(|_| pair.ask()).collect();
    let mut peers = Vec::new();
    for _ in &many {
        peers.push(pair.accept().await);
    }
    for peer in &mut peers {
        peer.answer(OK).await;
    }
    for asking in many {
        assert_eq!(text(asking).await, "ok");
    }
    let closed = async |peers: &mut Vec<Peer>| {
        let mut closed = 0;
        for peer in peers {
            let read = timeout(Duration::from_millis(10), peer.0.read_u8()).await;
            closed += usize::from(matches!(read, Ok(Err(_))));
        }
        closed
    };
    assert_eq!(closed(&mut peers).await, 8);
    tokio::time::pause();
    sleep(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert_eq!(closed(&mut peers).await, 40);
}

#[test]
fn a_connection_stays_on_its_core() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let (server, one, other) = (runtime(), runtime(), runtime());
    let pair = server.block_on(Pair::new());
    let address = pair.listener.local_addr().expect("an address");
    let (accepted, dialled) = std::sync::mpsc::channel();
    let client = pair.client.clone();
    let server = std::thread::spawn(move || {
        server.block_on(async move {
            loop {
                let mut peer = pair.accept().await;
                let _ = accepted.send(());
                tokio::spawn(async move {
                    loop {
                        peer.answer(OK).await;
                    }
                });
            }
        })
    });
    let ask = async || {
        let uri = format!("http://{address}/").parse().expect("a URI");
        let accept = HeaderValue::from_static("*/*");
        client
            .get(&uri, &accept, None, None)
            .await
            .expect("a response")
    };
    for core in [&one, &other, &one, &other] {
        let body = core.block_on(async { ask().await.body.collect(9).await });
        assert_eq!(body, Ok(b"ok".to_vec()));
    }
    assert_eq!(dialled.try_iter().count(), 2);
    // A body that ends elsewhere takes its connection with it.
    let response = one.block_on(ask());
    let body = other.block_on(response.body.collect(9));
    assert_eq!(body, Ok(b"ok".to_vec()));
    one.block_on(ask());
    assert_eq!(dialled.try_iter().count(), 1);
    drop(server);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let pair = Pair::new().await;
    let asking = pair.ask();
    let mut peer = pair.accept().await;
    peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegin")
        .await;
    let mut body = answered(asking).await.body;
    assert_eq!(body.chunk().await, Ok(Some("begin".into())));
    // The time that the reader takes does not count.
    sleep(Duration::from_millis(1500)).await;
    let began = Instant::now();
    assert_eq!(body.chunk().await, Err(body::Error::Silent));
    assert!(began.elapsed() > Duration::from_millis(900));
}

#[tokio::test]
async fn a_trickle_is_given_up() {
    let pair = Pair::new().await;
    let asking = pair.ask();
    let mut peer = pair.accept().await;
    peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        .await;
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(100)).await;
            peer.write("x").await;
        }
    });
    let mut body = answered(asking).await.body;
    let began = Instant::now();
    let ended = loop {
        match body.chunk().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(ended, Err(body::Error::TooSlow));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let pair = Pair::new().await;
    for (bytes, is_accepted) in [(100 << 10, true), (200 << 10, false)] {
        let asking = pair.ask();
        let head = format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(bytes)
        );
        let answering = async {
            loop {
                pair.accept().await.answer(&head).await;
            }
        };
        let outcome = tokio::select! {
            outcome = asking => outcome.expect("a task"),
            () = answering => unreachable!("it goes on"),
        };
        let status = outcome.map(|response| response.status);
        let expected = if is_accepted {
            Ok(StatusCode::OK)
        } else {
            Err(Error::HungUp)
        };
        assert_eq!(status, expected, "{bytes}");
    }
}

/// A server of HTTP/2 that allows so many streams for each connection. Its answers are longer than
/// a narrow window. Counts its connections, and the requests that it has received.
struct Http2Server {
    client: Client,
    uri: Uri,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Http2Server {
    const LENGTH: usize = 5 << 20;

    async fn new(streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let settings = Settings {
            keeps_spare: false,
            ..Settings::default()
        };
        let client = Client::open("x", &settings, HttpVersion::Http2, None);
        let server = Self {
            client: client.expect("a client"),
            uri: format!("http://{address}/").parse().expect("a URI"),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                connections.fetch_add(1, Ordering::Relaxed);
                let requests = requests.clone();
                let service = service_fn(move |_request| {
                    requests.fetch_add(1, Ordering::Relaxed);
                    let body = Full::new(Bytes::from(vec![7; Self::LENGTH]));
                    async move { Ok::<_, Infallible>(http::Response::new(body)) }
                });
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(streams);
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    async fn get(&self) -> ResponseBody {
        let accept = HeaderValue::from_static("*/*");
        let asking = self.client.get(&self.uri, &accept, None, None);
        let answer = timeout(Duration::from_secs(5), asking).await;
        answer.expect("in time").expect("a response").body
    }

    async fn read(&self) {
        let body = self.get().await.collect(Self::LENGTH);
        let read = timeout(Duration::from_secs(5), body).await;
        assert_eq!(read.expect("in time").expect("a body").len(), Self::LENGTH);
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn streams_that_stall_do_not_block_the_others() {
    let server = Http2Server::new(1000).await;
    for _ in 0..3 {
        server.read().await;
    }
    assert_eq!(server.connections(), 1);
    let mut stalled = Vec::new();
    for _ in 0..90 {
        stalled.push(server.get().await);
    }
    // Two streams have a connection each, the others share one.
    assert_eq!(server.connections(), 3);
    for _ in 0..10 {
        server.read().await;
    }
    assert_eq!(server.connections(), 3);
    // A crowd has smaller windows, on a connection of its own.
    for _ in 0..90 {
        stalled.push(server.get().await);
    }
    server.read().await;
    assert_eq!(server.connections(), 4);
    for body in stalled {
        let whole = body.collect(Http2Server::LENGTH).await;
        assert_eq!(whole.map(|body| body.len()), Ok(Http2Server::LENGTH));
    }
}

#[tokio::test]
async fn where_a_connection_has_all_its_streams_another_one_is_opened() {
    let server = Http2Server::new(2).await;
    let mut stalled = Vec::new();
    for _ in 0..2 {
        stalled.push(server.get().await);
    }
    // The client learns the limit from the first answers over a connection that is shared.
    for _ in 0..2 {
        server.read().await;
    }
    for _ in 0..7 {
        stalled.push(server.get().await);
    }
    assert_eq!(server.connections(), 2 + 4);
    assert_eq!(server.requests.load(Ordering::Relaxed), 2 + 2 + 7);
}

impl Pair {
    /// A pair whose first request has been answered.
    async fn used() -> (Self, Peer) {
        let pair = Self::keeping(true).await;
        let asking = pair.ask();
        let mut peer = pair.accept().await;
        peer.answer(OK).await;
        assert_eq!(text(asking).await, "ok");
        (pair, peer)
    }

    /// A connection that the client opens by itself.
    async fn spare(&self) -> Peer {
        let accepting = timeout(Duration::from_secs(5), self.accept());
        accepting.await.expect("a spare connection")
    }
}

#[tokio::test]
async fn a_request_beside_others_finds_a_spare_connection() {
    let (pair, mut first) = Pair::used().await;
    assert!(!pair.is_dialled().await, "one waits already");
    let slow = pair.ask();
    first.request().await;
    let mut spare = pair.spare().await;
    let asking = pair.ask();
    spare.answer(OK).await;
    assert_eq!(text(asking).await, "ok");
    // It is back, so there is no need of another one.
    assert!(!pair.is_dialled().await);
    first.write(OK).await;
    assert_eq!(text(slow).await, "ok");
}
