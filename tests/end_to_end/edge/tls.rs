//! TLS: the servers that the gateway trusts, and the versions that it accepts.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rig::authority::{Authority, Validity, with_tls};
use crate::rig::origin::{Origin, honest_below};
use crate::rig::study::{Study, at, location_uid};
use crate::rig::tls_client::TlsClient;
use crate::rig::{AS_STORED, Rig, rad_160};

/// Another community.
const THERE: &str = "1.3.6.1.4.1.99999.2";
/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);

/// A gateway that trusts `trusted`, before a source whose certificate `issued` gave to `name`.
async fn status(trusted: &Authority, issued: &Authority, name: &str) -> (u16, usize) {
    let study = Study::new(1).with(3, at(1));
    let origin = Origin::of(&study).await;
    let address = with_tls(origin.address, issued.issue(name).server()).await;
    let path = origin.url();
    let path = path
        .rsplit_once(&origin.address.to_string())
        .expect("a path")
        .1;
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"{}\"\nwado_rs_url = \"https://{address}{path}\"\n\
         [location.http]\nauthorities = \"{}\"\n",
        location_uid(1),
        trusted.file().display(),
    ));
    let manifest = rig.register(study.fhir()).await;
    let answer = rig
        .get(&format!("{}{}", manifest.root, study.path()), &[AS_STORED])
        .await;
    (answer.status.as_u16(), origin.asked().len())
}

#[tokio::test]
async fn a_source_with_a_certificate_of_a_trusted_authority_is_asked() {
    let authority = Authority::new();
    assert_eq!(status(&authority, &authority, "127.0.0.1").await, (200, 1));
}

#[tokio::test]
async fn a_source_of_another_authority_or_name_is_never_asked() {
    let (authority, other) = (Authority::new(), Authority::new());
    assert_eq!(status(&authority, &other, "127.0.0.1").await, (502, 0));
    assert_eq!(
        status(&authority, &authority, "elsewhere.example").await,
        (502, 0)
    );
}

/// The status of a request to another community, whose gateway has `server`, and how many requests
/// got there.
async fn asked_of_gateway(
    trusted: &Authority,
    server: rustls::ServerConfig,
    shown: &str,
) -> (u16, usize) {
    let study = Study::new(2).with(1, at(20));
    let (root, held) = (rad_160(THERE, &location_uid(20), ""), study.instances());
    let gateway = Origin::start(move |asked| honest_below(&root, &held, asked)).await;
    let address = with_tls(gateway.address, server).await;
    let rig = Rig::start(&format!(
        "[[community]]\nhome_community_id = \"{THERE}\"\n\
         gateway_url = \"https://{address}/wado-rs/\"\n\
         [community.http]\nauthorities = {:?}\n{shown}",
        trusted.file()
    ));
    let path = rad_160(THERE, &location_uid(20), &study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    (answer.status.as_u16(), gateway.asked().len())
}

#[tokio::test]
async fn a_gateway_that_is_not_who_it_should_be_is_never_asked() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (certificate, expected) in [
        (authority.issue("127.0.0.1"), (200, 1)),
        (authority.issue("elsewhere.example"), (502, 0)),
        (other.issue("127.0.0.1"), (502, 0)),
        (authority.issue_valid("127.0.0.1", Validity::Past), (502, 0)),
        (
            authority.issue_valid("127.0.0.1", Validity::Future),
            (502, 0),
        ),
    ] {
        let asked = asked_of_gateway(&authority, certificate.server(), "").await;
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn a_gateway_that_wants_a_certificate_is_shown_ours_and_says_no_without_one() {
    let authority = Authority::new();
    let server = || authority.issue("127.0.0.1").server_for(&authority);
    let shown = authority.issue("a.example").settings();
    let asked = asked_of_gateway(&authority, server(), &shown).await;
    assert_eq!(asked, (200, 1));
    assert_eq!(asked_of_gateway(&authority, server(), "").await, (502, 0));
}

/// A gateway with TLS on both of its listeners; the addresses of both.
fn with_two_listeners(authority: &Authority) -> (Rig, [SocketAddr; 2]) {
    let server = authority.issue("127.0.0.1");
    let rig = Rig::start(&format!(
        "{}[listen]\n{}[[community]]\nhome_community_id = \"{THERE}\"\n\
         certificate_names = [\"b.example\"]\n",
        server.gateway_listen(authority),
        server.settings()
    ));
    let addresses = [rig.public, rig.gateways.expect("a listener for partners")];
    (rig, addresses)
}

#[tokio::test]
async fn tls_1_2_and_1_3_with_http_2_and_1_1_are_spoken() {
    let authority = Authority::new();
    let shown = authority.issue("b.example");
    let (_rig, addresses) = with_two_listeners(&authority);
    for address in addresses {
        for version in [&TLS12, &TLS13] {
            for (offered, chosen) in [
                (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
                (&["http/1.1", "h2"], Some(b"h2")),
                (&["http/1.1"], Some(b"http/1.1")),
                (&[], None),
            ] {
                let client = TlsClient::of_versions(&[version], address, &authority, Some(&shown));
                let client = client.offering(offered);
                let stream = client.connect().await.expect("a handshake");
                let agreed = stream.get_ref().1;
                assert_eq!(agreed.protocol_version(), Some(version.version));
                assert_eq!(agreed.alpn_protocol(), chosen);
                let answer = client.get("/nothing", &[]).await.expect("an answer");
                assert_eq!(answer.status, 404);
            }
        }
    }
}

#[tokio::test]
async fn tls_1_1_and_plain_http_are_refused() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const FATAL: u8 = 2;
    const PROTOCOL_VERSION: u8 = 70;
    let authority = Authority::new();
    let (_rig, addresses) = with_two_listeners(&authority);
    for address in addresses {
        for minor in [1, 2] {
            let said = said_to(address, &client_hello(minor)).await;
            let [ALERT, 3, _, 0, 2, FATAL, PROTOCOL_VERSION] = said[..] else {
                panic!("TLS 1.{} is answered with {said:?}", minor - 1);
            };
        }
        // The same in a version that is spoken begins a handshake.
        let said = said_to(address, &client_hello(3)).await;
        assert_eq!(said.first(), Some(&HANDSHAKE), "{said:?}");
        let said = said_to(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    }
}

/// What a server says to some bytes until it closes.
async fn said_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.write_all(bytes).await.expect("sent");
    // What still waits for us is told that no more comes.
    socket.shutdown().await.expect("a socket");
    let mut said = Vec::new();
    let reading = socket.read_to_end(&mut said);
    // A reset is an end too.
    let _ = timeout(LONG, reading).await.expect("it is closed in time");
    said
}

/// A ClientHello of TLS 1.0, 1.1 or 1.2 (minor 1, 2, 3; RFC 4346 7.4.1.2), with suites that are
/// known in each of them and in 1.2.
fn client_hello(minor: u8) -> Vec<u8> {
    const SUITES: [u8; 8] = [0xC0, 0x2F, 0xC0, 0x2B, 0xC0, 0x13, 0x00, 0x2F];
    // supported_groups: x25519, secp256r1; ec_point_formats: uncompressed; signature_algorithms:
    // ECDSA and RSA-PSS with SHA-256.
    const EXTENSIONS: [u8; 26] = [
        0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4,
    ];
    let version = [3, minor];
    let mut hello = [&version[..], &[7; 32], &[0], &[0, 8], &SUITES, &[1, 0]].concat();
    hello.extend([0, 26]);
    hello.extend(EXTENSIONS);
    let length = u8::try_from(hello.len()).expect("a short hello");
    let message = [&[1, 0, 0, length][..], &hello].concat();
    [&[22, 3, 1, 0, length + 4][..], &message].concat()
}
