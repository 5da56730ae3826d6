//! The gateway closes idle connections and those of clients that read nothing; neither keeps other
//! clients out.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::rig::authority::Authority;
use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::tls_client::TlsClient;
use crate::rig::{AS_STORED, Rig, Stream, open, request};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const BETWEEN: Duration = Duration::from_millis(50);
const IMPATIENT: &str = "[listen]\nrequest_head_seconds = 1\n";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Without a setting (RFC 9113 6.5).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// RFC 9113 6.7.
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// What a client says before it falls silent.
const BEGINNINGS: [(&str, &[u8]); 7] = [
    ("nothing", b""),
    ("one byte of a method", b"G"),
    ("half a request", b"GET /manifests HTTP/1.1\r\nHost: local"),
    ("one byte of a preface", b"P"),
    ("half a preface", b"PRI * HTTP/2.0\r\n"),
    ("a preface", PREFACE),
    (
        "a whole request",
        b"GET /manifests HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
];

/// Waits until the other side closes.
async fn closed(mut socket: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = socket.read_to_end(&mut rest).await;
}

async fn silent_after(mut socket: impl AsyncRead + AsyncWrite + Unpin, beginning: &[u8]) {
    socket.write_all(beginning).await.expect("sent");
    socket.flush().await.expect("sent");
    closed(socket).await;
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(BETWEEN).await;
        }
    };
    let waited = timeout(LONG, waiting).await;
    waited.unwrap_or_else(|_elapsed| panic!("{what}: not in time"));
}

/// A connection from another address of this machine.
async fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(from).expect("an address of this machine");
    socket.connect(to).await.expect("a connection")
}

/// Whether a request from there is answered.
async fn is_served(from: u8, to: SocketAddr, path: &str) -> bool {
    let mut socket = connect_from(from, to).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut head = [0; 12];
    let _ = socket.write_all(request.as_bytes()).await;
    socket.read_exact(&mut head).await.is_ok() && head.ends_with(b"200")
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_cut_whatever_it_has_said() {
    let rig = Rig::start(IMPATIENT);
    for address in [rig.public, rig.operator] {
        let silent = BEGINNINGS.map(|(what, said)| {
            tokio::spawn(async move {
                let socket = TcpStream::connect(address).await.expect("a connection");
                let cut = timeout(LONG, silent_after(socket, said)).await;
                cut.unwrap_or_else(|_elapsed| panic!("{what} is not cut"));
            })
        });
        for silent in silent {
            assert_eq!(rig.get("/manifests", &[]).await.status, 200);
            assert_eq!(rig.operator("/metrics").await.status, 200);
            silent.await.expect("it is cut");
        }
    }
    let cut = "xcwado_closed_connections_total{listener=\"public\",reason=\"idle\"}";
    assert!(rig.metric(cut).await >= 4.0);
}

#[tokio::test]
async fn over_tls_it_is_cut_too_and_so_is_a_handshake_that_does_not_come() {
    let authority = Authority::new();
    let server = authority.issue("127.0.0.1").settings();
    let rig = Rig::start(&format!("{IMPATIENT}{server}"));
    let client = TlsClient::new(rig.public, &authority, None);
    for (what, said) in BEGINNINGS {
        let socket = client.connect().await.expect("a handshake");
        let cut = timeout(LONG, silent_after(socket, said)).await;
        cut.unwrap_or_else(|_elapsed| panic!("{what} is not cut"));
    }
    // The beginning of a ClientHello.
    for said in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1]] {
        let socket = TcpStream::connect(rig.public).await.expect("a connection");
        let cut = timeout(LONG, silent_after(socket, said)).await;
        cut.expect("it is cut in time");
    }
    assert_eq!(
        client
            .get("/manifests", &[])
            .await
            .expect("an answer")
            .status,
        200
    );
}

/// Sends pings and answers none until the other side closes.
async fn only_pings(socket: TcpStream) {
    let (reading, mut writing) = socket.into_split();
    let pinging = async {
        while writing.write_all(&PING).await.is_ok() {
            sleep(BETWEEN).await;
        }
    };
    tokio::select! {
        () = closed(reading) => {}
        () = pinging => {}
    }
}

#[tokio::test]
async fn a_connection_that_only_pings_is_idle() {
    let settings = format!("{IMPATIENT}[retrieve]\nclient_silence_seconds = 2\n");
    let rig = Rig::start(&settings);
    // HEADERS of a GET of /manifests with :authority localhost (RFC 7541 6.1 and 6.2.2).
    let fields = [
        &[0x82, 0x86, 0x04, 10][..],
        b"/manifests",
        &[0x01, 9],
        b"localhost",
    ]
    .concat();
    let length = u8::try_from(fields.len()).expect("a short head");
    let asking = [&[0, 0, length, 1, 5, 0, 0, 0, 1][..], &fields].concat();
    for asked in [&[][..], &asking] {
        let mut socket = TcpStream::connect(rig.public).await.expect("a connection");
        let said = [PREFACE, &SETTINGS, asked].concat();
        socket.write_all(&said).await.expect("sent");
        let cut = timeout(LONG, only_pings(socket)).await;
        cut.expect("it is cut in time");
    }
    // A client that plays by the rules is told to go, and has nothing to complain of.
    let socket = TcpStream::connect(rig.public).await.expect("a connection");
    let shaking = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = shaking.await.expect("HTTP/2");
    let ended = tokio::spawn(connection);
    let uri = format!("http://{}/manifests", rig.public);
    let asked = request(Method::GET, &uri, &[], rig.public, Bytes::new());
    let answer = sender.send_request(asked).await.expect("an answer");
    assert_eq!(Stream::new(answer).read().await.status, 200);
    let ended = timeout(LONG, ended).await.expect("it ends in time");
    assert!(ended.expect("it runs").is_ok());
}

/// A study that no buffer between source and client holds.
async fn large() -> (Study, Origin) {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 64 << 20)]);
    let origin = Origin::of(&study).await;
    (study, origin)
}

const OPEN: &str = "xcwado_open_connections{listener=\"public\"}";
const STALLED: &str = "xcwado_closed_connections_total{listener=\"public\",reason=\"stalled\"}";

async fn until_nobody_is_connected(rig: &Rig) {
    let is_so = async || rig.metric(OPEN).await == 0.0;
    until("nobody is connected", is_so).await;
}

#[tokio::test]
async fn a_connection_whose_client_reads_nothing_is_closed() {
    let (study, origin) = large().await;
    let rig = Rig::start(&format!(
        "[retrieve]\nclient_silence_seconds = 1\n{}",
        origin.location(10)
    ));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    until_nobody_is_connected(&rig).await;

    let over_http1 = rig.open(&path, &[AS_STORED]).await;
    assert_eq!(over_http1.status, StatusCode::OK);
    until("HTTP/1.1", async || rig.metric(STALLED).await >= 1.0).await;
    until("HTTP/1.1", async || rig.metric(OPEN).await == 0.0).await;
    assert!(!over_http1.read().await.is_whole());

    // Its client acknowledges pings, and opens no window.
    let socket = TcpStream::connect(rig.public).await.expect("a connection");
    let shaking = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = shaking.await.expect("HTTP/2");
    tokio::spawn(connection);
    let uri = format!("http://{}{path}", rig.public);
    let asked = request(Method::GET, &uri, &[AS_STORED], rig.public, Bytes::new());
    let over_http2 = sender.send_request(asked).await.expect("an answer");
    assert_eq!(over_http2.status(), StatusCode::OK);
    until("HTTP/2", async || rig.metric(STALLED).await >= 2.0).await;
    until("HTTP/2", async || rig.metric(OPEN).await == 0.0).await;
    assert_eq!(rig.get("/manifests", &[]).await.status, 200);
}

#[tokio::test]
async fn a_connection_with_one_stream_that_is_not_read_takes_no_more_requests() {
    let (study, origin) = large().await;
    let rig = Rig::start(&format!(
        "[retrieve]\nclient_silence_seconds = 1\n{}",
        origin.location(10)
    ));
    let root = rig.register(study.fhir()).await.root;
    let socket = TcpStream::connect(rig.public).await.expect("a connection");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20);
    let shaking = builder.handshake::<_, Full<Bytes>>(TokioIo::new(socket));
    let (mut sender, connection) = shaking.await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut ask = async |path: &str| {
        let uri = format!("http://{}{path}", rig.public);
        let asked = request(Method::GET, &uri, &[AS_STORED], rig.public, Bytes::new());
        sender.send_request(asked).await
    };
    let unread = ask(&format!("{root}{}", study.path())).await;
    let unread = unread.expect("an answer");
    assert_eq!(unread.status(), StatusCode::OK);
    // What others ask for on it is answered, until it is told to go.
    let told = async {
        while let Ok(answer) = ask("/manifests/x").await {
            assert_eq!(Stream::new(answer).read().await.status, 404);
            sleep(BETWEEN).await;
        }
    };
    timeout(LONG, told).await.expect("it is told in time");
    until("it is closed", async || rig.metric(OPEN).await == 0.0).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_it() {
    let (study, origin) = large().await;
    let rig = Rig::start(&format!(
        "{IMPATIENT}[retrieve]\nclient_silence_seconds = 3\n{}",
        origin.location(10)
    ));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    // Longer than a connection may be idle, with pauses that are shorter than a client may be silent.
    for step in 1..=4 {
        stream.read_at_least(step * (8 << 20)).await;
        sleep(Duration::from_millis(700)).await;
    }
    let answer = stream.read().await;
    assert!(answer.is_whole());
    assert_eq!(answer.instances(), study.bytes());
}

/// A source whose answers stop in the middle until the gate opens, and the settings that name it.
async fn held_up() -> (Study, Gate, Origin) {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 200_000); 2]);
    let (held, gate) = (study.instances(), Gate::new());
    let shut = gate.clone();
    let origin = Origin::start(move |asked| honest(&held, asked).held_at(100_000, &shut));
    (study, gate, origin.await)
}

#[tokio::test]
async fn silent_connections_of_one_client_keep_nobody_out() {
    let (study, gate, origin) = held_up().await;
    let rig = Rig::start(&format!(
        "[listen]\nconnections = 64\nconnections_per_client = 16\n{}",
        origin.location(10)
    ));
    let root = rig.register(study.fhir()).await.root;
    let mut good = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    good.read_at_least(50_000).await;
    for (address, path) in [(rig.public, "/manifests"), (rig.operator, "/metrics")] {
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(TcpStream::connect(address).await.expect("a connection"));
        }
        until("others", async || is_served(2, address, path).await).await;
        until("the same client", async || {
            is_served(1, address, path).await
        })
        .await;
        // From many addresses.
        for last in 10..40 {
            for _ in 0..10 {
                silent.push(connect_from(last, address).await);
            }
        }
        until("everybody", async || is_served(2, address, path).await).await;
        until("operators", async || {
            is_served(3, rig.operator, "/health/live").await
        })
        .await;
    }
    gate.open();
    assert_eq!(good.read().await.instances().len(), 2);
    let displaced = "xcwado_closed_connections_total{listener=\"public\",reason=\"displaced\"}";
    assert!(rig.metric(displaced).await > 0.0);
}

#[tokio::test]
async fn connections_in_use_are_limited_for_each_client_but_a_proxy() {
    for (more, is_limited) in [("", true), ("proxies = [\"127.0.0.1\"]\n", false)] {
        let (study, gate, origin) = held_up().await;
        let rig = Rig::start(&format!(
            "[listen]\nconnections_per_client = 2\n{more}{}",
            origin.location(10)
        ));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        until_nobody_is_connected(&rig).await;
        let mut in_use = Vec::new();
        for _ in 0..2 {
            let mut stream = rig.open(&path, &[AS_STORED]).await;
            stream.read_at_least(50_000).await;
            in_use.push(stream);
        }
        assert_eq!(is_served(1, rig.public, "/manifests").await, !is_limited);
        assert!(is_served(2, rig.public, "/manifests").await);
        gate.open();
        for stream in in_use {
            assert_eq!(stream.read().await.instances().len(), 2);
        }
        until("a seat", async || {
            is_served(1, rig.public, "/manifests").await
        })
        .await;
    }
}

#[tokio::test]
async fn connections_of_clients_leave_file_descriptors_to_operators() {
    let settings = "connections = 1000\nconnections_per_client = 0\n";
    let mut program = Program::serve_with_open_files("-n 160", settings).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(
            TcpStream::connect(program.public)
                .await
                .expect("a connection"),
        );
    }
    let refused = "xcwado_refused_connections_total{listener=\"public\"}";
    until("some are refused", async || {
        program.metric(refused).await > 100.0
    })
    .await;
    for _ in 0..20 {
        let asked = request(Method::GET, "/metrics", &[], program.operator, Bytes::new());
        assert_eq!(open(program.operator, asked).await.read().await.status, 200);
    }
    drop(silent);
    until("clients", async || {
        is_served(1, program.public, "/manifests").await
    })
    .await;
    // What the system allows is made use of.
    program = Program::serve_with_open_files("-S -n 64", "").await;
    let told = program.said(|line| line["message"] == "open files").await;
    assert!(
        told["limit"].as_u64().is_none_or(|limit| limit > 64),
        "{told}"
    );
}
