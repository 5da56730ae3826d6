//! Partners: authentication by certificate, trust in their header fields, and what they may request.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use rustls::version::{TLS12, TLS13};
use tokio::time::timeout;

use crate::rig::authority::{Authority, Validity};
use crate::rig::origin::Origin;
use crate::rig::program::Program;
use crate::rig::study::{Study, at, location_uid};
use crate::rig::tls_client::TlsClient;
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

const THERE: &str = "1.3.6.1.4.1.99999.2";
/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);

/// A study at a source of ours, and an authority whose certificates our partners have.
struct Ours {
    study: Study,
    origin: Origin,
    authority: Authority,
}

impl Ours {
    async fn new() -> Self {
        let study = Study::new(1).with(3, at(10));
        Self {
            origin: Origin::of(&study).await,
            study,
            authority: Authority::new(),
        }
    }

    /// The settings of a listener for partners, with one partner whom `listed` tells.
    fn settings(&self, listed: &str) -> String {
        let server = self.authority.issue("127.0.0.1");
        format!(
            "{}[[community]]\nalias = \"b\"\nhome_community_id = \"{THERE}\"\n{listed}\n{}",
            server.gateway_listen(&self.authority),
            self.origin.location(10)
        )
    }

    /// As [`Ours::settings`], on the listener that viewers use too.
    fn on_one_listener(&self, listed: &str) -> String {
        let server = self.authority.issue("127.0.0.1");
        format!(
            "[listen]\nclient_authorities = {:?}\n{}\
             [[community]]\nalias = \"b\"\nhome_community_id = \"{THERE}\"\n{listed}\n{}",
            self.authority.file(),
            server.settings(),
            self.origin.location(10)
        )
    }

    /// The path of the study, as partners ask for it.
    fn path(&self) -> String {
        rad_160(HERE, &location_uid(10), &self.study.path())
    }
}

fn gateways(rig: &Rig) -> SocketAddr {
    rig.gateways.expect("a listener for partners")
}

#[tokio::test]
async fn a_partner_is_known_by_a_name_or_the_fingerprint_of_its_certificate() {
    let ours = Ours::new().await;
    let (dns, uri) = ("gateway.b.example", "urn:oid:1.3.6.1.4.1.99999.2");
    let by_fingerprint = ours.authority.issue("unnamed.example");
    let digits = by_fingerprint.fingerprint().to_uppercase();
    let pairs: Vec<_> = digits
        .as_bytes()
        .chunks(2)
        .map(String::from_utf8_lossy)
        .collect();
    let rig = Rig::start(&ours.settings(&format!(
        "certificate_names = [{dns:?}, {uri:?}, \"10.1.2.3\"]\ncertificate_fingerprints = [{:?}]",
        pairs.join(":")
    )));
    let by_name = [dns, uri, "10.1.2.3"].map(|name| ours.authority.issue(name));
    for shown in by_name.iter().chain([&by_fingerprint]) {
        for protocol in ["http/1.1", "h2"] {
            let client = TlsClient::new(gateways(&rig), &ours.authority, Some(shown));
            let client = client.offering(&[protocol]);
            let answer = client.get(&ours.path(), &[AS_STORED]).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 200);
            assert_eq!(answer.instances(), ours.study.bytes());
        }
    }
    let count = rig.metric("xcwado_partner_requests_total{community=\"b\",status_class=\"2xx\"}");
    assert_eq!(count.await, 8.0);
}

#[tokio::test]
async fn a_certificate_of_the_same_authority_that_is_not_listed_is_refused_and_told() {
    let ours = Ours::new().await;
    let listed = "certificate_names = [\"gateway.b.example\"]";
    let mut program = Program::serve(&ours.settings(listed)).await;
    let address = program.gateways.expect("a listener for partners");
    // What only looks alike is not listed either.
    let names = [
        "gateway.c.example",
        "*.b.example",
        "b.example",
        "x.gateway.b.example",
    ];
    for name in names {
        let shown = ours.authority.issue(name);
        let client = TlsClient::new(address, &ours.authority, Some(&shown));
        for path in [&ours.path(), "/manifests", "/", "/wado-rs/x"] {
            let answer = client.get(path, &[AS_STORED]).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name} {path}");
            answer.problem();
        }
    }
    assert!(ours.origin.asked().is_empty());
    let is_event = |line: &serde_json::Value| {
        line["target"] == "xcwado::security" && line["event"] == "partner_not_listed"
    };
    let event = program.said(is_event).await;
    assert_eq!(event["level"], "WARN");
    let fingerprint = event["certificate"].as_str().expect("whose it was");
    assert_eq!(fingerprint.len(), 64);
    let count = program.metric("xcwado_security_events_total{event=\"partner_not_listed\"}");
    assert_eq!(count.await, 16.0);
}

#[tokio::test]
async fn a_certificate_that_is_not_listed_gets_nothing_of_ours_on_the_listener_of_viewers_either() {
    let ours = Ours::new().await;
    let listed = "certificate_names = [\"gateway.b.example\"]";
    let rig = Rig::start(&ours.on_one_listener(listed));
    let shown = ours.authority.issue("viewer.example");
    let client = TlsClient::new(rig.public, &ours.authority, Some(&shown));
    let answer = client
        .get(&ours.path(), &[AS_STORED])
        .await
        .expect("an answer");
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(ours.origin.asked().is_empty());
    let count = rig.metric("xcwado_security_events_total{event=\"partner_not_listed\"}");
    assert_eq!(count.await, 1.0);
}

#[tokio::test]
async fn who_proves_nothing_is_refused_in_the_handshake() {
    let ours = Ours::new().await;
    let other = Authority::new();
    let name = "gateway.b.example";
    let listed = format!("certificate_names = [{name:?}]");
    let rig = Rig::start(&ours.settings(&listed));
    let expired = ours.authority.issue_valid(name, Validity::Past);
    let too_early = ours.authority.issue_valid(name, Validity::Future);
    let of_another = other.issue(name);
    for version in [&TLS12, &TLS13] {
        for shown in [Some(&expired), Some(&too_early), Some(&of_another), None] {
            let (address, authority) = (gateways(&rig), &ours.authority);
            let client = TlsClient::of_versions(&[version], address, authority, shown);
            assert!(client.get(&ours.path(), &[AS_STORED]).await.is_err());
        }
    }
    assert!(ours.origin.asked().is_empty());
    // The client may know of it before it is counted.
    let failed = "xcwado_failed_handshakes_total{listener=\"gateway\"}";
    let counted = async { while rig.metric(failed).await < 8.0 {} };
    timeout(LONG, counted).await.expect("each is counted");
    // The same, with a certificate that proves something.
    let shown = ours.authority.issue(name);
    let client = TlsClient::new(gateways(&rig), &ours.authority, Some(&shown));
    let answer = client
        .get(&ours.path(), &[AS_STORED])
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_partner_sends_the_token_that_was_agreed_on() {
    let ours = Ours::new().await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "agreed-on\n").expect("written");
    let rig = Rig::start(&ours.settings(&format!(
        "certificate_names = [\"b.example\"]\ntheir_token = {{ file = {file:?} }}"
    )));
    let shown = ours.authority.issue("b.example");
    let client = TlsClient::new(gateways(&rig), &ours.authority, Some(&shown));
    let path = ours.path();
    let right = [AS_STORED, ("authorization", "Bearer agreed-on")];
    assert_eq!(
        client.get(&path, &right).await.expect("an answer").status,
        200
    );
    let asked = ours.origin.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.field("authorization").is_empty())
    );
    for wrong in ["Bearer agreed", "Basic agreed-on", "Bearer"] {
        let fields = [AS_STORED, ("authorization", wrong)];
        let answer = client.get(&path, &fields).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(answer.field("www-authenticate"), "Bearer");
        answer.problem();
    }
    let answer = client.get(&path, &[AS_STORED]).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ours.origin.asked().len(), asked.len());
    let count = rig.metric("xcwado_security_events_total{event=\"wrong_token\"}");
    assert_eq!(count.await, 4.0);
}

#[tokio::test]
async fn a_partner_gets_what_is_ours_and_nothing_else() {
    let ours = Ours::new().await;
    let listed = "certificate_names = [\"b.example\"]\n\
                  gateway_url = \"http://127.0.0.1:9/wado-rs/\"\n\
                  [[community]]\nalias = \"c\"\nhome_community_id = \"1.3.6.1.4.1.99999.3\"\n\
                  gateway_url = \"http://127.0.0.1:9/wado-rs/\"\n";
    let shown = ours.authority.issue("b.example");
    let separate = Rig::start(&ours.settings(listed));
    let shared = Rig::start(&ours.on_one_listener(listed));
    let id = separate.register(ours.study.fhir()).await.id;
    let doors = [
        (gateways(&separate), StatusCode::NOT_FOUND),
        (shared.public, StatusCode::FORBIDDEN),
    ];
    for (address, refused) in doors {
        let client = TlsClient::new(address, &ours.authority, Some(&shown));
        let status = async |method: Method, path: &str| {
            let answer = client.open(method, path, &[AS_STORED]).await;
            let answer = answer.expect("an answer").read().await;
            answer.problem();
            answer.status
        };
        assert_eq!(status(Method::GET, "/manifests").await, refused);
        assert_eq!(status(Method::POST, "/manifests").await, refused);
        for path in [
            format!("/manifests/{id}"),
            format!("/manifests/{id}/dicomweb/{}", ours.study.path()),
        ] {
            assert_eq!(status(Method::GET, &path).await, refused, "{path}");
            assert_eq!(
                status(Method::DELETE, &format!("/manifests/{id}")).await,
                refused
            );
        }
        for path in ["/metrics", "/health/live", "/version", "/"] {
            assert_eq!(
                status(Method::GET, path).await,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        // Nobody passes through us to a third community, nor back to their own.
        for community in [THERE, "1.3.6.1.4.1.99999.3", "1.3.6.1.4.1.99999.4"] {
            let path = rad_160(community, &location_uid(10), &ours.study.path());
            assert_eq!(
                status(Method::GET, &path).await,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        let answer = client
            .get(&ours.path(), &[AS_STORED])
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(
        separate.get(&format!("/manifests/{id}"), &[]).await.status,
        200
    );
}

#[tokio::test]
async fn links_in_answers_to_partners_lead_to_the_listener_they_asked() {
    let ours = Ours::new().await;
    let listed = "certificate_names = [\"b.example\"]";
    let rig = Rig::start(&ours.settings(listed));
    let shown = ours.authority.issue("b.example");
    let client = TlsClient::new(gateways(&rig), &ours.authority, Some(&shown));
    let answer = client
        .get(&ours.path(), &[AS_STORED])
        .await
        .expect("an answer");
    let root = format!("https://{}", gateways(&rig));
    assert_eq!(
        answer.field("content-location"),
        format!("{root}{}", ours.path())
    );
    assert_eq!(answer.parts().len(), 3);
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(
        body.matches(&format!("Content-Location: {root}/wado-rs/"))
            .count(),
        3
    );
    for other in [rig.public, ours.origin.address] {
        assert!(!body.contains(&other.to_string()));
    }
}
