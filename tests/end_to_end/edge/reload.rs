//! Certificate renewal while the gateway runs.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::rig::authority::{Authority, Issued, gateway_listen, replace, settings};
use crate::rig::origin::{Framing, Gate, Origin, honest};
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Study, at, location_uid};
use crate::rig::tls_client::TlsClient;
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

const THERE: &str = "1.3.6.1.4.1.99999.2";
/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const BETWEEN: Duration = Duration::from_millis(20);

/// A file that holds a certificate and its key, and can be replaced.
struct Renewable {
    file: PathBuf,
    _directory: TempDir,
}

impl Renewable {
    fn new(first: &Issued) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("certificate.pem");
        first.replace(&file);
        Self {
            file,
            _directory: directory,
        }
    }
}

/// A listener for partners, and one of those.
struct Listening {
    rig: Rig,
    server: Renewable,
    client: TlsClient,
}

impl Listening {
    fn new(authority: &Authority, first: &Issued, more: &str) -> Self {
        let server = Renewable::new(first);
        let rig = Rig::start(&format!(
            "{}[[community]]\nhome_community_id = \"{THERE}\"\n\
             certificate_names = [\"b.example\"]\n{more}",
            gateway_listen(&server.file, authority)
        ));
        let address = rig.gateways.expect("a listener for partners");
        let shown = authority.issue("b.example");
        Self {
            client: TlsClient::new(address, authority, Some(&shown)),
            rig,
            server,
        }
    }

    /// Waits until new connections are shown a certificate.
    async fn shows(&self, expected: &CertificateDer<'static>) {
        let shown = async {
            while self.client.server_certificate().await != *expected {
                sleep(BETWEEN).await;
            }
        };
        timeout(LONG, shown).await.expect("it is shown in time");
    }

    /// Waits until so many changes of the certificate had this outcome.
    async fn reloaded(&self, outcome: &str, times: f64) {
        reloaded(&self.rig, "gateway_listen", outcome, times).await;
    }
}

async fn reloaded(rig: &Rig, credentials: &str, outcome: &str, times: f64) {
    let name = format!(
        "xcwado_credential_reloads_total{{credentials=\"{credentials}\",outcome=\"{outcome}\"}}"
    );
    let counted = async {
        while rig.metric(&name).await < times {
            sleep(BETWEEN).await;
        }
    };
    timeout(LONG, counted).await.expect("it is counted in time");
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_then_on_and_cuts_nothing_off() {
    let authority = Authority::new();
    let (first, second) = (authority.issue("127.0.0.1"), authority.issue("127.0.0.1"));
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 200_000); 4]);
    let (held, gate) = (study.instances(), Gate::new());
    let held_back = gate.clone();
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked).framed(Framing::Chunked);
        reply.held_at(300_000, &held_back)
    })
    .await;
    let listening = Listening::new(&authority, &first, &origin.location(10));
    let path = rad_160(HERE, &location_uid(10), &study.path());
    let mut slow = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        let shown = authority.issue("b.example");
        let address = listening.rig.gateways.expect("a listener for partners");
        let client = TlsClient::new(address, &authority, Some(&shown)).offering(&[protocol]);
        let opened = client.open(Method::GET, &path, &[AS_STORED]).await;
        let mut stream = opened.expect("an answer");
        stream.read_at_least(200_000).await;
        slow.push(stream);
    }
    listening.shows(&first.certificate).await;
    second.replace(&listening.server.file);
    listening.shows(&second.certificate).await;
    listening.reloaded("replaced", 1.0).await;

    gate.open();
    for stream in slow {
        let answer = stream.read().await;
        assert!(answer.is_whole());
        assert_eq!(answer.instances(), study.bytes());
    }
}

#[tokio::test]
async fn what_is_no_certificate_leaves_the_old_one_and_is_counted() {
    let authority = Authority::new();
    let first = authority.issue("127.0.0.1");
    let listening = Listening::new(&authority, &first, "");
    replace(&listening.server.file, "rubbish");
    listening.reloaded("refused", 1.0).await;
    listening.shows(&first.certificate).await;
    assert_eq!(
        listening
            .client
            .get("/", &[])
            .await
            .expect("an answer")
            .status,
        404
    );

    std::fs::remove_file(&listening.server.file).expect("removed");
    listening.reloaded("refused", 2.0).await;
    listening.shows(&first.certificate).await;

    let second = authority.issue("127.0.0.1");
    second.replace(&listening.server.file);
    listening.shows(&second.certificate).await;
    listening.reloaded("replaced", 1.0).await;
}

#[tokio::test]
async fn a_partner_is_shown_our_new_certificate() {
    let authority = Authority::new();
    let (first, second) = (
        authority.issue("first.example"),
        authority.issue("second.example"),
    );
    let study = Study::new(2).with(2, at(10));
    let origin = Origin::of(&study).await;
    // The other side takes the two certificates for two communities, and so tells which it saw.
    let community = |alias: &str, last: u32| {
        format!(
            "[[community]]\nalias = \"{alias}\"\nhome_community_id = \"1.3.6.1.4.1.99999.{last}\"\n\
             certificate_names = [\"{alias}.example\"]\n"
        )
    };
    let there = Rig::start_as(
        THERE,
        &format!(
            "{}{}{}{}",
            authority.issue("127.0.0.1").gateway_listen(&authority),
            community("first", 3),
            community("second", 4),
            origin.location(10)
        ),
    );
    let ours = Renewable::new(&first);
    let here = Rig::start(&format!(
        "[[community]]\nalias = \"there\"\nhome_community_id = \"{THERE}\"\n\
         gateway_url = \"https://{}/wado-rs/\"\n[community.http]\nauthorities = {:?}\n{}",
        there.gateways.expect("a listener for partners"),
        authority.file(),
        settings(&ours.file)
    ));
    let path = rad_160(THERE, &location_uid(10), &study.path());
    let ask = async || {
        let answer = here.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.instances(), study.bytes());
    };
    let seen = async |alias: &str| {
        let labels = format!("{{community=\"{alias}\",status_class=\"2xx\"}}");
        there
            .metric(&format!("xcwado_partner_requests_total{labels}"))
            .await
    };
    ask().await;
    assert_eq!((seen("first").await, seen("second").await), (1.0, 0.0));

    replace(&ours.file, "rubbish");
    reloaded(&here, "there", "refused", 1.0).await;
    ask().await;
    assert_eq!((seen("first").await, seen("second").await), (2.0, 0.0));

    second.replace(&ours.file);
    reloaded(&here, "there", "replaced", 1.0).await;
    ask().await;
    assert_eq!((seen("first").await, seen("second").await), (2.0, 1.0));
}

#[tokio::test]
async fn a_hang_up_ends_nothing() {
    let study = Study::new(3).with_series(at(10), vec![(EXPLICIT, 200_000); 2]);
    let (held, gate) = (study.instances(), Gate::new());
    let held_back = gate.clone();
    let origin =
        Origin::start(move |asked| honest(&held, asked).held_at(100_000, &held_back)).await;
    let mut program = Program::serve(&origin.location(10)).await;
    let path = rad_160(HERE, &location_uid(10), &study.path());
    let mut stream = program.open(&path, &[AS_STORED]).await;
    stream.read_at_least(50_000).await;
    program.signal("-HUP");
    let is_told = |line: &serde_json::Value| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.contains("credentials"))
    };
    program.said(is_told).await;
    gate.open();
    assert_eq!(stream.read().await.instances(), study.bytes());
    assert_eq!(program.get("/manifests", &[]).await.status, 200);
}
