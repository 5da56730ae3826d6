//! Instances are immutable in practice, not by the standard: the gateway revalidates cached ones, and
//! operators purge them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::rig::communities::{Communities, Difference};
use crate::rig::origin::{Asked, Gate, Origin, Reply, honest};
use crate::rig::study::{EXPLICIT, Instance, Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, Registered, Rig, open, request, sorted};

const ETAG: &str = "\"version 1\"";

/// A gateway in front of a server that can be told to answer otherwise.
struct Case {
    rig: Rig,
    origin: Origin,
    root: String,
    registered: Registered,
    study: Study,
    says: Arc<Mutex<Script>>,
}

type Script = Box<dyn Fn(&[Instance], &Asked) -> Reply + Send>;

impl Case {
    async fn new(of_location: &str, script: fn(&[Instance], &Asked) -> Reply) -> Self {
        let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 9_000); 12]);
        let says: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let (script, held) = (Arc::clone(&says), study.instances());
        let origin = Origin::start(move |asked| script.lock().expect("no panic")(&held, asked));
        let origin = origin.await;
        let location = origin.location(10);
        let settings =
            location.replace("[location.http]", &format!("{of_location}[location.http]"));
        let rig = Rig::start(&settings);
        let registered = rig.register(study.fhir()).await;
        Self {
            rig,
            origin,
            root: registered.root.clone(),
            registered,
            study,
            says,
        }
    }

    fn changes(&self, script: impl Fn(&[Instance], &Asked) -> Reply + Send + 'static) {
        *self.says.lock().expect("no panic") = Box::new(script);
    }

    async fn get(&self, path: &str) -> Answer {
        self.rig
            .get(&format!("{}{path}", self.root), &[AS_STORED])
            .await
    }

    /// Of one instance that is there.
    async fn one(&self) -> Bytes {
        let instances = self.get(&self.path()).await.instances();
        instances.into_iter().next().expect("it is there")
    }

    fn path(&self) -> String {
        self.study.instances()[0].path()
    }

    async fn forget(&self, query: &str) -> Answer {
        let path = format!("/cache{query}");
        let request = request(Method::DELETE, &path, &[], self.rig.operator, Bytes::new());
        open(self.rig.operator, request).await.read().await
    }
}

/// It has no body, by its status.
fn not_modified() -> Reply {
    let mut reply = Reply::status(304);
    reply.body.clear();
    reply
}

/// As a server that names what it gives.
fn named(held: &[Instance], asked: &Asked) -> Reply {
    if asked.field("if-none-match").contains(ETAG) {
        return not_modified();
    }
    honest(held, asked).with_field("etag", ETAG)
}

#[tokio::test]
async fn an_old_instance_is_asked_for_and_not_sent_again() {
    let case = Case::new("fresh_hours = 0\n", named).await;
    let bytes = case.study.instances()[0].bytes.clone();
    for _ in 0..3 {
        assert_eq!(case.one().await, bytes);
    }
    let asked = case.origin.asked();
    assert_eq!(asked.len(), 3, "{asked:#?}");
    assert!(!asked[0].field_names().contains(&"if-none-match"));
    // Its own tag, and ours.
    assert!(
        asked[2]
            .field("if-none-match")
            .starts_with("\"version 1\", \"")
    );
    let fetched = case
        .rig
        .metric(r#"xcwado_fetched_instances_total{location="origin-10"}"#);
    assert_eq!(fetched.await, 1.0);
}

#[tokio::test]
async fn an_old_series_is_asked_for_one_by_one_if_its_source_can_tell() {
    let case = Case::new("fresh_hours = 0\n", named).await;
    for instance in case.study.instances() {
        case.get(&instance.path()).await.instances();
    }
    let before = case.origin.sent();
    let answer = case.get(&case.study.path()).await;
    assert_eq!(sorted(answer.instances()), sorted(case.study.bytes()));
    assert!(case.origin.sent() - before < 9_000, "nothing is sent again");
}

#[tokio::test]
async fn what_has_changed_is_what_is_given_and_kept() {
    for named_by in [None, Some("\"version 2\"")] {
        let case = Case::new("fresh_hours = 0\n", named).await;
        let old = case.one().await;
        case.changes(move |held, asked| {
            let mut held = held.to_vec();
            for instance in &mut held {
                let mut bytes = instance.bytes.to_vec();
                *bytes.last_mut().expect("pixels") ^= 0xff;
                instance.bytes = bytes.into();
            }
            let reply = honest(&held, asked);
            match named_by {
                Some(_) if asked.field("if-none-match").contains("version 2") => not_modified(),
                Some(tag) => reply.with_field("etag", tag),
                None => reply,
            }
        });
        let new = case.one().await;
        assert_ne!(new, old);
        assert_eq!(case.one().await, new);
        // As a whole too.
        let answer = case.get(&case.study.path()).await;
        assert!(answer.instances().contains(&new) && !answer.instances().contains(&old));
    }
}

#[tokio::test]
async fn what_a_source_has_no_more_is_not_kept() {
    for status in [404, 410] {
        let case = Case::new("fresh_hours = 0\n", named).await;
        case.one().await;
        case.changes(move |_, _| Reply::status(status));
        assert_eq!(case.get(&case.path()).await.status.as_u16(), status);
        let entries = r#"xcwado_cache_entries{tier="memory"}"#;
        assert_eq!(case.rig.metric(entries).await, 0.0);
        case.changes(|_, _| Reply::status(500));
        assert_eq!(case.get(&case.path()).await.status, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_is_not_taken_to_agree() {
    let case = Case::new("fresh_hours = 0\n", named).await;
    let bytes = case.one().await;
    case.changes(|_, _| Reply::status(500));
    assert_eq!(case.get(&case.path()).await.status, StatusCode::BAD_GATEWAY);
    case.changes(named);
    assert_eq!(case.one().await, bytes);
    let fetched = case
        .rig
        .metric(r#"xcwado_fetched_instances_total{location="origin-10"}"#);
    assert_eq!(fetched.await, 1.0, "it was kept all the time");
}

#[tokio::test]
async fn what_must_not_be_kept_is_not_unless_settings_say_otherwise() {
    let script = |held: &[Instance], asked: &Asked| {
        honest(held, asked).with_field("cache-control", "private, No-Store")
    };
    let strict = Case::new("", script).await;
    let lax = Case::new("ignore_no_store = true\n", script).await;
    for _ in 0..3 {
        assert_eq!(strict.one().await, lax.one().await);
    }
    let answer = strict.get(&strict.study.path()).await;
    assert_eq!(sorted(answer.instances()), sorted(strict.study.bytes()));
    assert_eq!(
        (strict.origin.asked().len(), lax.origin.asked().len()),
        (4, 1)
    );
    let entries = r#"xcwado_cache_entries{tier="memory"}"#;
    assert_eq!(strict.rig.metric(entries).await, 0.0);
    let status = strict.get(&strict.path()).await;
    assert_eq!(status.field("cache-status"), "xcwado; fwd=miss");
}

#[tokio::test]
async fn operators_can_have_it_forgotten() {
    let case = Case::new("", honest).await;
    let all = case.study.instances().len();
    let (study, id) = (case.study.uid.clone(), case.registered.id.clone());
    for (query, forgotten) in [
        (String::new(), all),
        (format!("?study={study}"), all),
        (format!("?manifest={id}"), all),
        ("?study=1.2.3".to_owned(), 0),
    ] {
        case.get(&case.study.path()).await.instances();
        let before = case.origin.asked().len();
        let answer = case.forget(&query).await;
        assert_eq!(answer.json()["forgotten"], forgotten, "{query}");
        case.get(&case.study.path()).await.instances();
        let asked = case.origin.asked().len() - before;
        assert_eq!(asked, usize::from(forgotten > 0), "{query}");
    }
    for (query, status) in [
        ("?manifest=00112233445566778899aabbccddeeff", 404),
        ("?manifest=1", 400),
        ("?study=1.2.3;", 400),
        ("?everything=1", 400),
        ("?study", 400),
    ] {
        assert_eq!(case.forget(query).await.status.as_u16(), status, "{query}");
    }
    let answer = case.rig.operator("/cache").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_is_forgotten_while_it_arrives_is_delivered_and_not_kept() {
    let case = Case::new("", honest).await;
    let gate = Gate::new();
    let shut = gate.clone();
    case.changes(move |held, asked| honest(held, asked).held_at(5_000, &shut));
    let path = format!("{}{}", case.root, case.path());
    let stream = case.rig.open(&path, &[AS_STORED]).await;
    assert_eq!(case.forget("").await.json()["forgotten"], 1);
    gate.open();
    let bytes = case.study.instances()[0].bytes.clone();
    assert_eq!(
        stream.read().await.instances(),
        std::slice::from_ref(&bytes)
    );
    assert_eq!(case.one().await, bytes);
    assert_eq!(case.origin.asked().len(), 2, "it was not kept");
}

#[tokio::test]
async fn between_gateways_nothing_crosses_the_border_twice_though_it_is_old() {
    let study = Study::new(1).with_series(at(20), vec![(EXPLICIT, 9_000); 12]);
    let origin = Origin::of(&study).await;
    let two = Communities::new(Difference {
        there: &origin.location(20),
        of_there: "fresh_hours = 0",
        theirs: &[&location_uid(20)],
        ..Difference::default()
    })
    .await;
    let root = two.here.register("", study.kos()).await.root;
    let path = format!("{root}{}", study.path());
    for _ in 0..3 {
        let answer = two.here.get(&path, &[AS_STORED]).await;
        assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
    }
    // The series once; then whether each instance has changed.
    let fetched = two
        .here
        .metric(r#"xcwado_fetched_instances_total{location="b"}"#);
    assert_eq!(fetched.await, 12.0);
    assert_eq!(origin.asked().len(), 1);
}
