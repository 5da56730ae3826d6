//! Links to manifests: what they open, for whom, and how they end.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::access::tokens::{Issuer, Shown as Told};
use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{Study, at};
use crate::rig::{AS_STORED, Answer, Registered, Rig, open_as, request};

/// A second, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(3);
/// Whoever is not identified may register manifests and make links, and see nothing else.
const RULES: &str = r#"
[[rule]]
anyone = true
transactions = ["register", "list", "link"]
"#;

struct Shown {
    rig: Rig,
    study: Study,
    registered: Registered,
    _origin: Origin,
}

impl Shown {
    async fn new() -> Self {
        let study = Study::new(1).with(2, at(10)).with(3, at(10));
        let held = study.instances();
        Self::of(study, move |asked| honest(&held, asked)).await
    }

    async fn of(
        study: Study,
        script: impl Fn(&crate::rig::origin::Asked) -> crate::rig::origin::Reply + Send + Sync + 'static,
    ) -> Self {
        let origin = Origin::start(script).await;
        let rig = Rig::start(&format!("{}{RULES}", origin.location(10)));
        let registered = rig.register(study.fhir()).await;
        Self {
            rig,
            study,
            registered,
            _origin: origin,
        }
    }

    fn links(&self) -> String {
        format!("/manifests/{}/links", self.registered.id)
    }

    async fn make(&self, terms: Value) -> Value {
        let body = terms.to_string();
        let answer = self.rig.post(&self.links(), &[], body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// The path of an address of the gateway.
    fn path(&self, url: &Value) -> String {
        let url = url.as_str().expect("an address");
        let root = format!("http://{}", self.rig.public);
        url.strip_prefix(&root).expect("one of ours").to_owned()
    }

    async fn get(&self, path: &str) -> Answer {
        self.rig.get(path, &[AS_STORED]).await
    }

    async fn revoke(&self, link: &Value) {
        let path = format!("{}/{}", self.links(), link["id"].as_str().expect("an id"));
        assert_eq!(self.rig.delete(&path).await.status, 204);
        assert_eq!(self.rig.delete(&path).await.status, 404);
    }
}

#[tokio::test]
async fn a_link_opens_everything_of_its_manifest_and_nothing_else() {
    let shown = Shown::new().await;
    let link = shown.make(json!({})).await;
    let path = shown.path(&link["url"]);
    let study = shown.study.path();
    let instance = shown.study.instances()[0].path();
    for below in [
        String::new(),
        "/dicomweb".into(),
        "/dicomweb/studies".into(),
        format!("/dicomweb/{study}"),
        format!("/dicomweb/{study}/metadata"),
        format!("/dicomweb/{instance}"),
        "/viewers".into(),
        "/viewers/ohif-dicomwebproxy.json".into(),
        "/viewers/ohif-dicomjson.json".into(),
        "/viewers/weasis.xml".into(),
    ] {
        let accept = [("accept", "*/*")];
        let answer = shown.rig.get(&format!("{path}{below}"), &accept).await;
        assert_eq!(answer.status, 200, "{below}: {answer:?}");
        // Every address in it stays below the link.
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains(&shown.registered.id), "{below}: {text}");
        let plain = format!("/manifests/{}{below}", shown.registered.id);
        let refused = shown.rig.get(&plain, &accept).await.status;
        assert_eq!(refused, if below.is_empty() { 200 } else { 401 }, "{below}");
    }
    for below in ["/links", "/links/0000000000000000", "/unknown"] {
        assert_eq!(
            shown.get(&format!("{path}{below}")).await.status,
            404,
            "{below}"
        );
    }
    let deleted = shown.rig.delete(&path).await;
    assert_eq!(deleted.status, 404);
    assert_eq!(shown.rig.get(&path, &[]).await.status, 200);
}

#[tokio::test]
async fn a_link_that_is_unknown_expired_or_revoked_is_one_answer() {
    let shown = Shown::new().await;
    let revoked = shown.make(json!({})).await;
    let expired = shown.make(json!({ "expires": 1 })).await;
    let below = |link: &Value, rest: &str| format!("{}{rest}", shown.path(&link["url"]));
    let study = format!("/dicomweb/{}", shown.study.path());
    // What is kept is not a way in.
    assert_eq!(shown.get(&below(&revoked, &study)).await.status, 200);
    shown.revoke(&revoked).await;
    sleep(Duration::from_millis(1100)).await;
    let guessed = format!("/link/{}", "A".repeat(43));
    for rest in ["", "/dicomweb/studies", &study] {
        let unknown = Told::of(&shown.get(&format!("{guessed}{rest}")).await);
        assert_eq!(unknown.status, 404);
        for link in [&revoked, &expired] {
            let path = below(link, rest);
            let conditional = [AS_STORED, ("if-none-match", "*")];
            let gone = shown.rig.get(&path, &conditional).await;
            assert_eq!(Told::of(&gone), unknown, "{rest}");
            assert_eq!(
                Told::of(&shown.get(&below(link, rest)).await),
                unknown,
                "{rest}"
            );
        }
    }
}

#[tokio::test]
async fn a_revoked_link_ends_what_is_under_way() {
    let study = Study::new(1).with(3, at(10));
    let (held, gate) = (study.instances(), Gate::new());
    let waits = gate.clone();
    let shown = Shown::of(study, move |asked| {
        let reply = honest(&held, asked);
        let length = reply.whole_body().len();
        reply.held_at(length * 2 / 3, &waits)
    })
    .await;
    let link = shown.make(json!({})).await;
    let path = format!(
        "{}/dicomweb/{}",
        shown.path(&link["url"]),
        shown.study.path()
    );
    let series = format!("{path}/metadata");
    let mut streams = Vec::new();
    for path in [&path, &series] {
        let waiting = shown.rig.open(path, &[("accept", "*/*")]);
        // Metadata begins with its first instance.
        if let Ok(stream) = timeout(Duration::from_secs(5), waiting).await {
            streams.push(stream);
        }
    }
    assert!(!streams.is_empty());
    shown.revoke(&link).await;
    for stream in streams {
        let answer = timeout(SOON, stream.read()).await;
        assert!(!answer.expect("it ends within a second").is_whole());
    }
    gate.open();
}

#[tokio::test]
async fn a_narrowed_link_shows_its_series_only() {
    let shown = Shown::new().await;
    let studies = shown.registered.summary["studies"]
        .as_array()
        .expect("studies");
    let series = studies[0]["series"].as_array().expect("series");
    let uid = |at: usize| series[at]["series_instance_uid"].as_str().expect("a UID");
    let link = shown.make(json!({ "series": [uid(0)] })).await;
    let root = shown.path(&link["links"]["dicomweb"]);
    let found = shown.rig.get(&format!("{root}/series"), &[]).await.json();
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let study = shown.get(&format!("{root}/{}", shown.study.path())).await;
    assert_eq!(study.instances().len(), 2);
    let other = format!("{root}/{}/series/{}", shown.study.path(), uid(1));
    for path in [
        other.clone(),
        format!("{other}/metadata"),
        format!("{other}/thumbnail"),
    ] {
        assert_eq!(shown.get(&path).await.status, 404, "{path}");
    }
    // The document lists the other series.
    let manifest = shown.path(&link["url"]);
    for accept in ["application/fhir+json", "application/dicom"] {
        let document = shown.rig.get(&manifest, &[("accept", accept)]).await;
        assert_eq!(document.status, 406, "{accept}");
    }
    let summary = shown.rig.get(&manifest, &[]).await.text();
    assert!(
        summary.contains(uid(0)) && !summary.contains(uid(1)),
        "{summary}"
    );
    let whole = shown.make(json!({})).await;
    let fhir = [("accept", "application/fhir+json")];
    let document = shown.rig.get(&shown.path(&whole["url"]), &fhir).await;
    assert_eq!(document.status, 200);
    let refused = json!({ "series": ["1.2.3.4"] }).to_string();
    let refused = shown.rig.post(&shown.links(), &[], refused).await;
    assert_eq!(refused.status, 422);
}

#[tokio::test]
async fn a_link_with_uses_is_for_its_first_clients() {
    let shown = Shown::new().await;
    let link = shown.make(json!({ "uses": 1 })).await;
    let path = format!("{}/dicomweb/studies", shown.path(&link["url"]));
    let as_client = async |last| {
        let request = request(Method::GET, &path, &[], shown.rig.public, Bytes::new());
        open_as(last, shown.rig.public, request)
            .await
            .read()
            .await
            .status
    };
    for (last, expected) in [(2, 200), (3, 404), (2, 200)] {
        assert_eq!(as_client(last).await, expected, "{last}");
    }
}

#[tokio::test]
async fn a_link_with_a_code_opens_once_it_has_been_entered() {
    let shown = Shown::new().await;
    let link = shown.make(json!({ "one_time_code": true })).await;
    let path = shown.path(&link["url"]);
    let locked = shown.get(&path).await;
    assert_eq!(locked.status, 403);
    assert!(locked.problem().contains("one-time code"));
    let enter = async |code: &str| {
        let body = json!({ "code": code }).to_string();
        shown
            .rig
            .post(&format!("{path}/unlock"), &[], body)
            .await
            .status
    };
    assert_eq!(enter("1").await, 404);
    assert_eq!(
        enter(link["one_time_code"].as_str().expect("a code")).await,
        204
    );
    assert_eq!(shown.rig.get(&path, &[]).await.status, 200);
    let listed = shown.rig.get(&shown.links(), &[]).await.json();
    assert_eq!(listed["links"][0]["locked"], false);
    assert!(listed["links"][0].get("one_time_code").is_none());
}

#[tokio::test]
async fn what_leads_nowhere_is_refused() {
    let shown = Shown::new().await;
    for body in [
        "[]",
        "{\"uses\": 0}",
        "{\"expires\": -5}",
        "{\"colour\": 1}",
        "{",
    ] {
        let refused = shown.rig.post(&shown.links(), &[], body).await;
        assert_eq!(refused.status, 400, "{body}");
    }
    let unknown = format!("/manifests/{}/links", "0".repeat(32));
    assert_eq!(shown.rig.post(&unknown, &[], "{}").await.status, 401);
    // A page of another origin makes no links.
    let foreign = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "http://evil.example"),
    ];
    let refused = shown.rig.post(&shown.links(), &foreign, "{}").await;
    assert_eq!(refused.status, 403);
    let listed = shown.rig.get(&shown.links(), &[]).await.json();
    assert_eq!(listed["links"].as_array().map(Vec::len), Some(0));
    // A deleted manifest takes its links along.
    let link = shown.make(json!({})).await;
    let path = format!("/manifests/{}", shown.registered.id);
    assert_eq!(shown.rig.delete(&path).await.status, 204);
    assert_eq!(shown.get(&shown.path(&link["url"])).await.status, 404);
}

#[tokio::test]
async fn hand_offs_give_out_links_where_clients_have_to_identify_themselves() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let issuer = Issuer::new();
    let rules = "[[rule]]\ntransactions = [\"register\", \"link\", \"retrieve\"]\n";
    let settings = format!("{}{rules}{}", origin.location(10), issuer.settings());
    let rig = Rig::start(&settings);
    let field = format!("Bearer {}", issuer.token("anna", json!({})));
    let fields = [("authorization", field.as_str())];
    let registered = rig.post("/manifests", &fields, study.fhir()).await;
    let registered = Registered::of(&registered);
    let viewers = format!("/manifests/{}/viewers", registered.id);
    let document = rig.get(&viewers, &fields).await.json();
    let text = document.to_string();
    assert!(
        text.contains("/link/") && !text.contains(&registered.id),
        "{text}"
    );
    let root = document["dicomweb"].as_str().expect("a root");
    let root = root
        .strip_prefix(&format!("http://{}", rig.public))
        .expect("ours");
    let found = rig.get(&format!("{root}/studies"), &[]).await;
    assert_eq!(found.status, 200);
    // Asking what a hand-off would be makes no link.
    let links = format!("/manifests/{}/links", registered.id);
    let count = async || {
        let listed = rig.get(&links, &fields).await.json();
        listed["links"].as_array().map(Vec::len)
    };
    assert_eq!(count().await, Some(1));
    rig.head(&viewers, &fields).await;
    assert_eq!(count().await, Some(1));
}
