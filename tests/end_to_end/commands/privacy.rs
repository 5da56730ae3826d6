//! The log and the metrics of `xcwado serve` name no patient.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use tempfile::TempDir;

use crate::commands::process::{Running, command, file};
use crate::rig::origin::{End, Framing, Origin, Reply, honest};
use crate::rig::study::{PATIENT_ID, Study, at};
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
        let fields = [("content-type", "application/dicom")];
        let post = request(
            Method::POST,
            "/manifests",
            &fields,
            served.public,
            manifest.into(),
        );
        let registered = open(served.public, post).await.read().await.json();
        let id = registered["id"].as_str().expect("an id").to_owned();
        let root = format!("/manifests/{id}/dicomweb/");
        let mut paths = vec![
            study.path(),
            study.path(),
            "studies/2.25.4242".into(),
            "studies/x".into(),
        ];
        paths.extend((0..4).map(|at| study.series_path(at)));
        paths.extend(
            study
                .instances()
                .iter()
                .map(crate::rig::study::Instance::path),
        );
        for path in &paths {
            served.ask(Method::GET, &format!("{root}{path}"), "").await;
        }
        served
            .ask(Method::GET, &format!("/manifests/{id}?instances=true"), "")
            .await;
        ids.push(id);
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
    let secrets = [
        "2.25.",
        PATIENT_ID,
        "Quetzalcoatl",
        "Philomena",
        &ids[0],
        &ids[1],
    ];
    for line in log.lines().chain(metrics.lines()) {
        for secret in secrets {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}
