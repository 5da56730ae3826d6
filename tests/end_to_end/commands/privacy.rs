//! The log and the metrics of `xcwado serve` name no patient.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use tempfile::TempDir;

use crate::commands::process::{Running, command, file};
use crate::rig::origin::{End, Framing, Origin, Reply, honest};
use crate::rig::study::{Instance, PATIENT_ID, Study, at};
use crate::rig::{AS_STORED, Answer, open, request};

/// `xcwado serve`, as it is run.
struct Served {
    running: Running,
    log: String,
    public: SocketAddr,
    operator: SocketAddr,
}

impl Served {
    fn start(directory: &TempDir, locations: &str) -> Self {
        let settings = format!(
            "home_community_id = \"1.2.3\"\n[listen]\naddress = \"127.0.0.1:0\"\n\
             operator_address = \"127.0.0.1:0\"\n{locations}"
        );
        let config = file(directory, "config.toml", settings);
        let mut serve = command(["serve", "--config", &config]);
        serve.env("RUST_LOG", "debug,xcwado=trace");
        let mut running = Running::on_stderr(serve);
        let log = running.until("listening");
        let address = |name: &str| {
            let (_, rest) = log.split_once(&format!(" {name}=")).expect("its address");
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest[..end].parse().expect("an address")
        };
        let (public, operator) = (address("public"), address("operator"));
        Self {
            running,
            log,
            public,
            operator,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = request(method, path, &[AS_STORED], self.public, body.into());
        open(self.public, request).await.read().await
    }

    /// Registers a manifest, and retrieves what it selects and what it does not; its id.
    async fn register_and_retrieve(&self, study: &Study, manifest: Vec<u8>) -> String {
        let fields = [("content-type", "application/dicom")];
        let (method, path) = (Method::POST, "/manifests");
        let post = request(method, path, &fields, self.public, manifest.into());
        let registered = open(self.public, post).await.read().await.json();
        let id = registered["id"].as_str().expect("an id").to_owned();
        let root = format!("/manifests/{id}/dicomweb/");
        let mut paths = vec![
            study.path(),
            study.path(),
            "studies/2.25.4242".into(),
            "studies/x".into(),
        ];
        paths.extend((0..4).map(|at| study.series_path(at)));
        paths.extend(study.instances().iter().map(Instance::path));
        for path in &paths {
            self.ask(Method::GET, &format!("{root}{path}"), "").await;
        }
        let summary = format!("/manifests/{id}?instances=true");
        self.ask(Method::GET, &summary, "").await;
        id
    }
}

#[tokio::test]
async fn neither_logs_nor_metrics_tell_whose_images_they_were() {
    let study = Study::new(8)
        .with(3, at(10))
        .with(2, at(11))
        .with(1, at(12))
        .with(1, vec![]);
    let good = Origin::of(&study).await;
    let held = study.instances();
    let bad = Origin::start(move |asked| match asked.is_instance() {
        true => Reply::status(404),
        false => honest(&held, asked)
            .framed(Framing::Chunked)
            .cut(3700)
            .ending(End::Close),
    })
    .await;
    let failing = Origin::start(|_asked| Reply::status(500)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let locations = [good.location(10), bad.location(11), failing.location(12)].concat();
    let served = Served::start(&directory, &locations);

    let mut ids = Vec::new();
    for manifest in [study.fhir(), study.kos()] {
        ids.push(served.register_and_retrieve(&study, manifest).await);
    }
    let refused = request(
        Method::POST,
        "/manifests",
        &[],
        served.public,
        Study::new(8).kos().into(),
    );
    open(served.public, refused).await.read().await;
    served
        .ask(Method::DELETE, &format!("/manifests/{}", ids[0]), "")
        .await;
    let scrape = request(Method::GET, "/metrics", &[], served.operator, Bytes::new());
    let metrics = open(served.operator, scrape).await.read().await.text();

    let Served {
        running, mut log, ..
    } = served;
    let (code, rest) = tokio::task::spawn_blocking(|| running.end("-TERM"))
        .await
        .expect("no panic");
    assert_eq!(code, Some(0));
    log.push_str(&rest);
    assert!(
        log.contains("retrieve_study") && log.contains("broke off"),
        "{log}"
    );
    assert!(metrics.contains("xcwado_answers_total"), "{metrics}");
    names_no_patient(&log, &ids);
    names_no_patient(&metrics, &ids);
}

/// Checks that a text has neither patient data, nor UIDs of instances, nor ids of manifests.
fn names_no_patient(text: &str, ids: &[String]) {
    let secrets = ["2.25.", PATIENT_ID, "Quetzalcoatl", "Philomena"].into_iter();
    let secrets: Vec<&str> = secrets.chain(ids.iter().map(String::as_str)).collect();
    for line in text.lines() {
        for secret in &secrets {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}
