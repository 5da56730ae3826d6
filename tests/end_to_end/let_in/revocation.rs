//! Revoked certificates: of clients, on new and on open connections, and of sources.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::let_in::certificates::{Listening, are_cut};
use crate::rig::authority::{Authority, replace, with_tls};
use crate::rig::origin::Origin;
use crate::rig::program::Program;
use crate::rig::study::{Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const BETWEEN: Duration = Duration::from_millis(50);

async fn reloaded(rig: &Rig, credentials: &str, outcome: &str) {
    let name = format!(
        "xcwado_credential_reloads_total{{credentials=\"{credentials}\",outcome=\"{outcome}\"}}"
    );
    let reloaded = async {
        while rig.metric(&name).await < 1.0 {
            sleep(BETWEEN).await;
        }
    };
    timeout(LONG, reloaded).await.expect("it is reloaded");
}

#[tokio::test]
async fn a_revoked_client_is_refused_and_its_open_connections_end() {
    let (authority, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().expect("a directory");
    let trusted = directory.path().join("partners.pem");
    replace(&trusted, &(authority.pem() + &other.pem()));
    let list = directory.path().join("partners.crl");
    let early = authority.issue("b.example");
    replace(&list, &authority.revoke(&[&early], 30));
    let further = format!("revocation_lists = [{list:?}]\n");
    let listening = Listening::with(&authority, &trusted, &further).await;

    // It is revoked from the start.
    let client = listening.client(&authority, &early);
    assert!(client.get("/", &[]).await.is_err());
    // The list says nothing about the certificates of the other authority.
    let lasting = other.issue("c.example");
    let lasting = listening.under_way(&authority, &lasting).await;
    let late = authority.issue("b.example");
    let streams = listening.under_way(&authority, &late).await;

    // What is no list leaves the old one in force, and cuts nobody off.
    replace(&list, "rubbish");
    reloaded(&listening.rig, "gateway_listen", "refused").await;
    assert!(
        listening
            .client(&authority, &early)
            .get("/", &[])
            .await
            .is_err()
    );

    replace(&list, &authority.revoke(&[&early, &late], 30));
    listening.closed(2.0).await;
    are_cut(streams).await;
    for revoked in [&early, &late] {
        for protocol in ["http/1.1", "h2"] {
            let client = listening.client(&authority, revoked);
            let answer = client.offering(&[protocol]).get("/", &[]).await;
            assert!(answer.is_err());
        }
    }
    listening.gate.open();
    for stream in lasting {
        assert_eq!(stream.read().await.instances(), listening.study.bytes());
    }
}

#[tokio::test]
async fn a_source_with_a_revoked_certificate_gets_no_request() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let authority = Authority::new();
    let shown = authority.issue("127.0.0.1");
    let address = with_tls(origin.address, shown.server()).await;
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("sources.crl");
    replace(&list, &authority.revoke(&[], 30));
    let http = format!(
        "authorities = {:?}\nrevocation_lists = [{list:?}]",
        authority.file()
    );
    let location = origin.location_with(10, &http);
    let location = location.replace(&origin.url(), &format!("https://{address}/rs/"));
    let rig = Rig::start(&format!(
        "[cache]\nmemory = \"0\"\ndisk = \"0\"\n{location}"
    ));
    let path = rad_160(HERE, &location_uid(10), &study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.instances(), study.bytes());
    let asked = origin.asked().len();

    replace(&list, &authority.revoke(&[&shown], 30));
    reloaded(&rig, "origin-10", "replaced").await;
    assert_eq!(rig.get(&path, &[AS_STORED]).await.status, 502);
    assert_eq!(origin.asked().len(), asked);
}

#[tokio::test]
async fn an_expired_list_still_revokes_and_is_told() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("partners.crl");
    let revoked = authority.issue("b.example");
    replace(&list, &authority.revoke(&[&revoked], -1));
    let listen = authority.issue("127.0.0.1").gateway_listen(&authority);
    let mut program = Program::serve(&format!("{listen}revocation_lists = [{list:?}]\n")).await;
    let is_told =
        |line: &serde_json::Value| line["message"] == "a certificate revocation list has expired";
    let told = program.said(is_told).await;
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["credentials"], "gateway_listen");
    assert_eq!(told["hours"], 5 * 24);
    let address = program.gateways.expect("a listener for partners");
    for (shown, is_refused) in [(&revoked, true), (&authority.issue("c.example"), false)] {
        let client = crate::rig::tls_client::TlsClient::new(address, &authority, Some(shown));
        assert_eq!(client.get("/", &[]).await.is_err(), is_refused);
    }
}
