//! Requests for a foreign host, as in DNS rebinding, and requests with ambiguous hosts.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::rig::authority::Authority;
use crate::rig::program::Program;
use crate::rig::tls_client::TlsClient;
use crate::rig::{Rig, raw_status};

const NAMED: &str = "[listen]\nnames = [\"pacs.example\"]\n";
const THERE: &str = "1.3.6.1.4.1.99999.2";

async fn asked(address: SocketAddr, path: &str, fields: &str) -> Option<u16> {
    raw_status(
        address,
        format!("GET {path} HTTP/1.1\r\n{fields}\r\n").as_bytes(),
    )
    .await
}

/// Both listeners of a gateway, each with a path that it answers.
fn listeners(rig: &Rig) -> [(SocketAddr, &'static str); 2] {
    [(rig.public, "/manifests"), (rig.operator, "/metrics")]
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_misdirected_on_every_listener() {
    let rig = Rig::start(NAMED);
    for (address, path) in listeners(&rig) {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "x.pacs.example",
            "127.0.0.1.evil.example",
        ] {
            let status = asked(address, path, &format!("Host: {host}\r\n")).await;
            assert_eq!(status, Some(421), "{host} {path}");
        }
        for host in [
            "pacs.example",
            "PACS.example.:80",
            "localhost",
            "LOCALHOST:9",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]:8080",
            &address.to_string(),
        ] {
            let status = asked(address, path, &format!("Host: {host}\r\n")).await;
            assert_eq!(status, Some(200), "{host} {path}");
        }
    }
    let told = "xcwado_security_events_total{event=\"foreign_host\"}";
    assert_eq!(rig.metric(told).await, 10.0);
}

#[tokio::test]
async fn a_host_that_is_missing_repeated_or_invalid_is_a_bad_request() {
    let rig = Rig::start("");
    for (address, path) in listeners(&rig) {
        for fields in [
            "",
            "Host:\r\n",
            "Host: localhost\r\nHost: localhost\r\n",
            "Host: localhost\r\nHost: evil.example\r\n",
            "Host: a b\r\n",
            "Host: localhost, evil.example\r\n",
            "Host: localhost:x\r\n",
            "Host: localhost/\r\n",
            "Host: user@localhost\r\n",
            "Host: [::1\r\n",
        ] {
            assert_eq!(
                asked(address, path, fields).await,
                Some(400),
                "{fields:?} {path}"
            );
        }
        // HTTP/1.0 need not name it.
        let old = format!("GET {path} HTTP/1.0\r\n\r\n");
        assert_eq!(raw_status(address, old.as_bytes()).await, Some(200));
    }
}

#[tokio::test]
async fn an_absolute_target_counts_and_not_the_host_field() {
    let rig = Rig::start("");
    for (address, path) in listeners(&rig) {
        let ask = |target: &'static str, host: &'static str| {
            let target = format!("{target}{path}");
            async move { asked(address, &target, &format!("Host: {host}\r\n")).await }
        };
        assert_eq!(ask("http://evil.example", "localhost").await, Some(421));
        assert_eq!(ask("http://localhost", "evil.example").await, Some(200));
        for target in [
            "http://user:pw@localhost",
            "http://user@localhost",
            "http://@localhost",
        ] {
            assert_eq!(ask(target, "localhost").await, Some(400), "{target}");
        }
    }
}

/// The status over HTTP/2 with this `:authority`, and perhaps a `Host` beside it.
async fn over_http2(address: SocketAddr, uri: &str, host: Option<&str>) -> u16 {
    let socket = TcpStream::connect(address).await.expect("a connection");
    let shaking = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = shaking.await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request = Request::get(uri);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn the_authority_of_http_2_is_checked_like_a_host() {
    let rig = Rig::start(NAMED);
    for (address, path) in listeners(&rig) {
        for (authority, host, status) in [
            ("localhost:1", None, 200),
            ("pacs.example", None, 200),
            ("pacs.example", Some("pacs.example"), 200),
            ("evil.example", None, 421),
            ("pacs.example", Some("evil.example"), 400),
            ("evil.example", Some("pacs.example"), 400),
        ] {
            let uri = format!("http://{authority}{path}");
            let got = over_http2(address, &uri, host).await;
            assert_eq!(got, status, "{uri} {host:?}");
        }
    }
}

#[tokio::test]
async fn the_names_in_the_public_url_and_in_our_certificate_are_ours() {
    let mut program = Program::serve("").await;
    let host = "Host: pacs.example\r\n";
    assert_eq!(asked(program.public, "/manifests", host).await, Some(421));
    drop(program);
    program = Program::serve_as("1.2.3\"\npublic_url = \"https://pacs.example/x", "").await;
    assert_eq!(asked(program.public, "/manifests", host).await, Some(200));

    let authority = Authority::new();
    let rig = Rig::start(&format!(
        "{}[[community]]\nhome_community_id = \"{THERE}\"\ncertificate_names = [\"b.example\"]\n",
        authority
            .issue_to(&["127.0.0.1", "gateway.a.example"])
            .gateway_listen(&authority)
    ));
    let shown = authority.issue("b.example");
    let partners = rig.gateways.expect("a listener for partners");
    let client = TlsClient::new(partners, &authority, Some(&shown));
    for (host, status) in [
        ("gateway.a.example", 404),
        ("127.0.0.1", 404),
        ("evil.example", 421),
    ] {
        let answer = client
            .get("/nothing", &[("host", host)])
            .await
            .expect("an answer");
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_names_the_clients_host_may_call_us_as_it_likes() {
    let proxies = "[listen]\nproxies = [\"127.0.0.1\"]\n";
    let host = "Host: upstream\r\n";
    for (settings, more, status) in [
        (proxies, "Forwarded: host=pacs.example\r\n", 200),
        (proxies, "X-Forwarded-Host: pacs.example\r\n", 200),
        // It does not say for whom.
        (proxies, "", 421),
        (proxies, "X-Forwarded-Proto: https\r\n", 421),
        (proxies, "X-Forwarded-Host: a/b\r\n", 421),
        // It is nobody's business to say so.
        ("", "X-Forwarded-Host: pacs.example\r\n", 421),
    ] {
        let rig = Rig::start(settings);
        let got = asked(rig.public, "/manifests", &format!("{host}{more}")).await;
        assert_eq!(got, Some(status), "{settings} {more}");
    }
}

#[tokio::test]
async fn links_follow_the_address_that_the_system_gave() {
    let program = Program::serve("").await;
    let study = crate::rig::study::Study::new(1).with(1, crate::rig::study::at(10));
    let summary = program.register("", study.fhir()).await.summary;
    let link = summary["links"]["manifest"].as_str().expect("a link");
    let root = format!("http://{}/manifests/", program.public);
    assert!(link.starts_with(&root), "{link}");
}
