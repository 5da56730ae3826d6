//! A connection closes once its client's certificate is no longer accepted.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use crate::rig::authority::{Authority, Issued, replace};
use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{EXPLICIT, Study, at, location_uid};
use crate::rig::tls_client::TlsClient;
use crate::rig::{AS_STORED, HERE, Rig, Stream, rad_160};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const BETWEEN: Duration = Duration::from_millis(50);

/// A listener for two partners, and a source whose answers stop in the middle until the gate opens.
pub(super) struct Listening {
    pub(super) rig: Rig,
    pub(super) study: Study,
    pub(super) gate: Gate,
    _origin: Origin,
}

impl Listening {
    async fn new(authority: &Authority, client_authorities: &std::path::Path) -> Self {
        Self::with(authority, client_authorities, "").await
    }

    /// As [`Listening::new`], with further keys of the listener.
    pub(super) async fn with(
        authority: &Authority,
        client_authorities: &std::path::Path,
        further: &str,
    ) -> Self {
        let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 200_000); 2]);
        let (held, gate) = (study.instances(), Gate::new());
        let shut = gate.clone();
        let origin = Origin::start(move |asked| honest(&held, asked).held_at(300_000, &shut)).await;
        let partner = |last: u32, name: &str| {
            format!(
                "[[community]]\nalias = \"partner-{last}\"\nhome_community_id = \"1.3.6.1.4.1.99999.{last}\"\n\
                 certificate_names = [\"{name}\"]\n"
            )
        };
        let rig = Rig::start(&format!(
            "[gateway_listen]\naddress = \"127.0.0.1:0\"\nclient_authorities = {client_authorities:?}\n\
             {further}{}{}{}{}",
            authority.issue("127.0.0.1").settings(),
            partner(2, "b.example"),
            partner(3, "c.example"),
            origin.location_with(10, "silence_seconds = 600")
        ));
        Self {
            rig,
            study,
            gate,
            _origin: origin,
        }
    }

    fn address(&self) -> SocketAddr {
        self.rig.gateways.expect("a listener for partners")
    }

    pub(super) fn client(&self, server: &Authority, shown: &Issued) -> TlsClient {
        TlsClient::new(self.address(), server, Some(shown))
    }

    /// A stream that is under way in each version of HTTP.
    pub(super) async fn under_way(&self, server: &Authority, shown: &Issued) -> Vec<Stream> {
        let path = rad_160(HERE, &location_uid(10), &self.study.path());
        let mut streams = Vec::new();
        for protocol in ["http/1.1", "h2"] {
            let client = self.client(server, shown).offering(&[protocol]);
            let opened = client.open(Method::GET, &path, &[AS_STORED]).await;
            let mut stream = opened.expect("an answer");
            stream.read_at_least(100_000).await;
            streams.push(stream);
        }
        streams
    }

    /// Waits until so many connections were closed for their certificates.
    pub(super) async fn closed(&self, count: f64) {
        let name = "xcwado_closed_connections_total{listener=\"gateway\",reason=\"certificate\"}";
        let closed = async {
            while self.rig.metric(name).await < count {
                sleep(BETWEEN).await;
            }
        };
        timeout(LONG, closed)
            .await
            .expect("they are closed in time");
    }
}

pub(super) async fn are_cut(streams: Vec<Stream>) {
    for stream in streams {
        let answer = timeout(LONG, stream.read()).await.expect("it ends");
        assert!(!answer.is_whole());
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate_whatever_is_under_way() {
    let authority = Authority::new();
    let listening = Listening::new(&authority, &authority.file()).await;
    let shown = authority.issue_for("b.example", 15);
    let streams = listening.under_way(&authority, &shown).await;
    let client = listening.client(&authority, &shown);
    let mut idle = client.connect().await.expect("a handshake");
    let lasting = listening
        .under_way(&authority, &authority.issue("c.example"))
        .await;

    // An HTTP/1.1 connection without a request may have gone before that.
    listening.closed(2.0).await;
    are_cut(streams).await;
    let mut rest = Vec::new();
    let ended = timeout(LONG, idle.read_to_end(&mut rest)).await;
    let _ = ended.expect("it is closed");
    assert!(client.get("/", &[]).await.is_err());

    listening.gate.open();
    for stream in lasting {
        assert_eq!(stream.read().await.instances(), listening.study.bytes());
    }
}

#[tokio::test]
async fn a_connection_ends_when_its_authority_is_taken_out() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().expect("a directory");
    let trusted = directory.path().join("partners.pem");
    replace(&trusted, &(ours.pem() + &theirs.pem()));
    let listening = Listening::new(&ours, &trusted).await;
    let (lasting, other) = (ours.issue("b.example"), theirs.issue("c.example"));
    let lasting = listening.under_way(&ours, &lasting).await;
    let streams = listening.under_way(&ours, &other).await;

    replace(&trusted, &ours.pem());
    listening.closed(2.0).await;
    are_cut(streams).await;
    let client = listening.client(&ours, &other);
    assert!(client.get("/", &[]).await.is_err());

    listening.gate.open();
    for stream in lasting {
        assert_eq!(stream.read().await.instances(), listening.study.bytes());
    }
}
