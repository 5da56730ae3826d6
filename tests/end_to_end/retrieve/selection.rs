//! What a manifest selects, out of several sources at once, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::origin::{End, Framing, Gate, Origin, Reply, honest};
use crate::rig::study::{
    EXPLICIT, Instance, JPEG_2000, JPEG_LOSSLESS, Location, Study, at, at_url, location_uid,
};
use crate::rig::{AS_STORED, Rig, sorted};

fn folder(last: u32, path: &Path) -> String {
    format!(
        "[[location]]\nalias = \"folder-{last}\"\nretrieve_location_uid = \"{}\"\nfolder = {path:?}\n",
        location_uid(last)
    )
}

#[tokio::test]
async fn study_series_and_instance_come_byte_for_byte() {
    let study = Study::new(1).with(3, at(10)).with_series(
        at(10),
        vec![(JPEG_LOSSLESS, 5000), (JPEG_2000, 700_001), (EXPLICIT, 1)],
    );
    let directory = tempfile::tempdir().expect("a folder");
    study.write(0, directory.path());
    study.write(1, directory.path());
    let origin = Origin::of(&study).await;
    for location in [folder(10, directory.path()), origin.location(10)] {
        let rig = Rig::start(&location);
        for manifest in [study.fhir(), study.kos()] {
            let manifest = rig.register(manifest).await;
            let root = &manifest.root;
            let whole = rig
                .get(&format!("{root}{}", study.path()), &[AS_STORED])
                .await;
            assert_eq!(whole.status, 200);
            assert_eq!(whole.instances(), study.bytes());
            let series = rig
                .get(&format!("{root}{}", study.series_path(1)), &[AS_STORED])
                .await;
            let listed = study.series[1].instances.iter().map(|i| i.bytes.clone());
            assert_eq!(series.instances(), sorted(listed));
            for instance in study.instances() {
                let alone = rig
                    .get(&format!("{root}{}", instance.path()), &[AS_STORED])
                    .await;
                assert_eq!(alone.instances(), [instance.bytes]);
            }
        }
        rig.stopped().await;
    }
}

#[tokio::test]
async fn parts_say_what_they_are_and_where() {
    let study = Study::new(1).with_series(at(10), vec![(JPEG_LOSSLESS, 5000), (EXPLICIT, 600)]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    let base = format!("http://{}{root}", rig.public);
    assert_eq!(
        answer.field("content-location"),
        format!("{base}{}", study.path())
    );
    assert!(
        answer
            .field("content-type")
            .starts_with("multipart/related;")
    );
    assert!(
        answer
            .field("content-type")
            .contains("type=\"application/dicom\"")
    );
    assert_eq!(answer.field("cache-control"), "private, no-cache");
    for part in answer.parts() {
        let instances = study.instances();
        let instance = instances
            .iter()
            .find(|i| i.bytes == part.bytes)
            .expect("one of ours");
        let expected = format!(
            "application/dicom; transfer-syntax={}",
            instance.transfer_syntax
        );
        assert_eq!(
            part.head
                .content_type()
                .map(|t| t.replace(';', "; ").replace(";  ", "; ")),
            Some(expected)
        );
        assert_eq!(
            part.head.content_location(),
            Some(format!("{base}{}", instance.path()).as_str())
        );
    }
    // Two answers do not share a boundary.
    let again = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_ne!(again.field("content-type"), answer.field("content-type"));
}

#[tokio::test]
async fn head_says_what_get_would() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    for path in [
        study.path(),
        study.series_path(0),
        study.instances()[0].path(),
    ] {
        let head = rig.head(&format!("{root}{path}"), &[AS_STORED]).await;
        assert_eq!(
            (head.status, head.body.len()),
            (StatusCode::OK, 0),
            "{path}"
        );
        assert!(head.field("content-type").starts_with("multipart/related"));
        assert!(head.field("content-location").ends_with(&path));
    }
    let missing = rig
        .head(&format!("{root}studies/1.2.3"), &[AS_STORED])
        .await;
    assert_eq!(
        (missing.status, missing.body.len()),
        (StatusCode::NOT_FOUND, 0)
    );
}

#[tokio::test]
async fn what_is_not_selected_does_not_exist() {
    let held = Study::new(1).with(3, at(10)).with(2, at(10));
    let other = Study::new(9).with(1, at(10));
    let mut listed = held.clone();
    listed.series[0].instances.pop();
    listed.series.pop();
    let all = [held.instances(), other.instances()].concat();
    let origin = Origin::start(move |asked| honest(&all, asked)).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(listed.fhir()).await.root;
    let elsewhere = rig.register(other.fhir()).await.root;
    let [own, foreign] = [&held.series[0].instances[0], &other.instances()[0]];
    let mut bodies = BTreeSet::new();
    for path in [
        // There, and not listed: an instance, a series, a study.
        format!("{root}{}", held.series[0].instances[2].path()),
        format!("{root}{}", held.series_path(1)),
        format!("{root}{}", other.path()),
        // Listed, in another place.
        format!("{root}studies/{}/series/{}", own.study, foreign.series),
        format!(
            "{root}studies/{}/series/{}/instances/{}",
            own.study, held.series[1].uid, own.uid
        ),
        format!("{elsewhere}{}", own.path()),
        // Nowhere.
        format!("{root}studies/2.25.999"),
        format!("/manifests/{}/dicomweb/{}", "0".repeat(32), held.path()),
    ] {
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem();
        bodies.insert(answer.text());
    }
    assert_eq!(bodies.len(), 1, "they cannot be told apart");
    assert!(origin.asked().is_empty(), "nobody was asked for them");
    // The source's study has more than is listed.
    let whole = rig
        .get(&format!("{root}{}", held.path()), &[AS_STORED])
        .await;
    let selected = listed.series[0].instances.iter().map(|i| i.bytes.clone());
    assert_eq!(whole.instances(), sorted(selected));
    let dropped = "xcwado_dropped_instances_total{location=\"origin-10\",outcome=\"not_selected\"}";
    // The answer may be whole before the source has sent what nobody wants.
    for _ in 0..50 {
        if rig.metric(dropped).await == 1.0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing was dropped");
}

#[tokio::test]
async fn one_answer_comes_out_of_two_servers_and_a_folder() {
    let study = Study::new(1)
        .with(3, at(10))
        .with(2, at(11))
        .with(4, at(12))
        .with(1, at(10));
    let [first, second] = [Origin::of(&study).await, Origin::of(&study).await];
    let directory = tempfile::tempdir().expect("a folder");
    study.write(2, directory.path());
    let rig = Rig::start(
        &[
            first.location(10),
            second.location(11),
            folder(12, directory.path()),
        ]
        .concat(),
    );
    let root = rig.register(study.kos()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.instances(), study.bytes());
    let asked: BTreeSet<String> = first.paths().into_iter().collect();
    let expected = [0, 3].map(|at| format!("/rs/{}", study.series_path(at)));
    assert_eq!(asked, BTreeSet::from(expected), "only for what is there");
    assert_eq!(second.paths(), [format!("/rs/{}", study.series_path(1))]);
    for (location, instances) in [("origin-10", 4.0), ("origin-11", 2.0), ("folder-12", 4.0)] {
        let metric = format!("xcwado_delivered_instances_total{{location=\"{location}\"}}");
        assert_eq!(rig.metric(&metric).await, instances);
    }
    let complete = "xcwado_answers_total{outcome=\"complete\",transaction=\"retrieve_study\"}";
    assert_eq!(rig.metric(complete).await, 1.0);
}

#[tokio::test]
async fn sources_are_read_at_the_same_time() {
    let study = Study::new(1).with(2, at(10)).with(2, at(11));
    let gates = [Gate::new(), Gate::new()];
    let mut origins = Vec::new();
    for at in 0..2 {
        // Each goes on after its first instance only once the other was asked.
        let (held, own, other) = (study.instances(), gates[at].clone(), gates[1 - at].clone());
        origins.push(
            Origin::start(move |asked| {
                own.open();
                honest(&held, asked)
                    .framed(Framing::Chunked)
                    .held_at(3500, &other)
            })
            .await,
        );
    }
    let rig = Rig::start(&[origins[0].location(10), origins[1].location(11)].concat());
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let answer = rig.get(&path, &[AS_STORED]);
    let answer = tokio::time::timeout(Duration::from_secs(25), answer).await;
    assert_eq!(
        answer.expect("no source waits for another").instances(),
        study.bytes()
    );
}

#[tokio::test]
async fn the_location_uid_counts_before_the_url() {
    let mut study = Study::new(1)
        .with(1, at(10))
        .with(1, at_url("https://PACS.example:443/rs/studies/"));
    let [by_uid, by_url] = [Origin::of(&study).await, Origin::of(&study).await];
    study.series[0].locations = vec![Location {
        retrieve_location_uid: Some(location_uid(10)),
        retrieve_url: Some("https://pacs.example/rs".into()),
    }];
    study.series[1].locations = at_url("https://PACS.example:443/rs/");
    let mut urls = by_url.location(11);
    urls = urls.replace(
        "[location.http]",
        "retrieve_urls = [\"https://pacs.example/rs\"]\n[location.http]",
    );
    let rig = Rig::start(&[by_uid.location(10), urls].concat());
    let root = rig.register(study.kos()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.instances(), study.bytes());
    assert_eq!(by_uid.paths(), [format!("/rs/{}", study.series_path(0))]);
    assert_eq!(by_url.paths(), [format!("/rs/{}", study.series_path(1))]);
}

#[tokio::test]
async fn an_address_in_a_manifest_is_never_dialled() {
    let canary = Origin::of(&Study::new(1).with(1, at(10))).await;
    let known = Origin::of(&Study::new(1).with(1, at(10))).await;
    let rig = Rig::start(&known.location(10));
    let near = format!("http://{}/rsx/", known.address);
    let with_user = format!("http://127.0.0.1@{}/rs/", canary.address);
    for url in [canary.url(), near, with_user] {
        let study = Study::new(1).with(1, at_url(&url));
        let root = rig.register(study.kos()).await.root;
        let answer = rig
            .get(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        assert_eq!(answer.status, 404, "{url}");
    }
    assert_eq!((canary.connections(), known.connections()), (0, 0));
}

#[tokio::test]
async fn sources_are_asked_in_our_own_words() {
    let study = Study::new(1).with(1, at(10));
    let origin = Origin::of(&study).await;
    // Kept nowhere: each request goes to the source.
    let none = "[cache]\nmemory = \"0\"\ndisk = \"0\"\n";
    let rig = Rig::start(&format!("{none}{}", origin.location(10)));
    let root = rig.register(study.fhir()).await.root;
    let fields = [
        AS_STORED,
        ("authorization", "Bearer secret"),
        ("cookie", "session=secret"),
        ("proxy-authorization", "Basic secret"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=https"),
        ("origin", "https://evil.example"),
        ("referer", "https://evil.example/"),
        ("range", "bytes=0-3"),
        ("if-none-match", "\"x\""),
        ("accept-encoding", "gzip, br"),
        ("x-anything", "secret"),
        ("user-agent", "secret"),
    ];
    for path in [
        study.path(),
        study.series_path(0),
        study.instances()[0].path(),
    ] {
        let path = format!("{root}{path}?foo=bar&StudyInstanceUID=1.2.3&requestType=WADO");
        assert_eq!(rig.get(&path, &fields).await.instances(), study.bytes());
    }
    for asked in origin.asked() {
        assert_eq!(asked.method, "GET");
        assert_eq!(
            asked.field_names(),
            [
                "accept",
                "host",
                "traceparent",
                "user-agent",
                "via",
                "x-request-id"
            ]
        );
        assert_eq!(
            asked.field("accept"),
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*"
        );
        assert_eq!(asked.field("host"), origin.address.to_string());
        assert!(asked.field("user-agent").starts_with("xcwado/"));
        assert!(!asked.path.contains('?'), "{}", asked.path);
    }
    assert_eq!(origin.paths()[1], format!("/rs/{}", study.series_path(0)));
    assert_eq!(
        origin.paths()[2],
        format!("/rs/{}", study.instances()[0].path())
    );
}

#[tokio::test]
async fn paths_that_are_no_uids_never_reach_a_source() {
    let study = Study::new(1).with(1, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let (s, i) = (&study.uid, &study.instances()[0]);
    for path in [
        "studies/..%2f..%2fsystem".to_owned(),
        "studies/%2e%2e/%2e%2e/system".into(),
        "studies/../../system".into(),
        format!("studies/{s}%2f..%2f{s}"),
        format!(
            "studies/{s}/series/{}/instances/..%2f..%2f..%2fstatistics",
            i.series
        ),
        format!("studies/{s}%2f..%2f2.25.999/metadata"),
        "studies/%00".into(),
        format!("studies/{s}/series/%00"),
        format!("studies/{s}/series/{}/instances/%00", i.series),
        format!("studies/{s}%00x"),
        format!("studies/%20{s}"),
        format!("studies/{s}%20"),
        format!("studies/{s}%5c"),
        format!("studies//{s}"),
        format!("studies/./{s}"),
        format!("studies/{s}/."),
        format!("studies/{s};x=1"),
        format!("studies/{s}*"),
        "studies/*".into(),
        format!("studies/{s},2.25.9"),
        format!("studies/{s}%0d%0aX-Injected:%201"),
        format!(
            "studies/{s}/series/{}/instances/{}/frames/1,..%2f1",
            i.series, i.uid
        ),
        format!(
            "studies/{s}/series/{}/instances/{}/rendered?viewport=0,0",
            i.series, i.uid
        ),
        format!("studies/{}", "1.".repeat(4000)),
    ] {
        let status = raw(&rig, &format!("{root}{path}")).await;
        assert!((400..500).contains(&status), "{status} for {path}");
    }
    assert!(origin.asked().is_empty(), "{:?}", origin.paths());
    // A digit that is escaped is still that digit, and is written anew.
    let escaped = format!("{root}studies/{}", s.replace('7', "%37"));
    assert_eq!(raw(&rig, &escaped).await, 200);
    assert_eq!(origin.paths(), [format!("/rs/{}", study.series_path(0))]);
}

/// Asks for a path that no client library would let through; gives the status.
async fn raw(rig: &Rig, path: &str) -> u16 {
    let mut socket = TcpStream::connect(rig.public).await.expect("a connection");
    let (name, accept) = AS_STORED;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{name}: {accept}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut line = [0; 12];
    socket.read_exact(&mut line).await.expect("an answer");
    String::from_utf8_lossy(&line[9..])
        .parse()
        .expect("a status")
}

#[tokio::test]
async fn what_one_source_has_is_given_when_another_is_down() {
    let study = Study::new(1).with(2, at(10)).with(3, at(11));
    let up = Origin::of(&study).await;
    for status in [500, 404, 401, 503] {
        let down = Origin::start(move |_asked| Reply::status(status)).await;
        let rig = Rig::start(&[up.location(10), down.location(11)].concat());
        let root = rig.register(study.fhir()).await.root;
        let answer = rig
            .get(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        assert_eq!(answer.status, 206, "{status}");
        assert_eq!(
            answer.field("warning"),
            "299 xcwado \"3 of 5 instances cannot be given\""
        );
        let there = study.series[0].instances.iter().map(|i| i.bytes.clone());
        assert_eq!(answer.instances(), sorted(there));
        // No source is asked for a head: only that something is not there is remembered.
        let head = rig
            .head(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        assert_eq!(head.status, if status == 404 { 206 } else { 200 });
        let partial = "xcwado_answers_total{outcome=\"partial\",transaction=\"retrieve_study\"}";
        assert_eq!(rig.metric(partial).await, 1.0);
    }
}

#[tokio::test]
async fn when_all_sources_are_down_the_failure_is_told() {
    let study = Study::new(1).with(2, at(10)).with(3, at(11));
    let failing = [500, 401].map(|status| Origin::start(move |_asked| Reply::status(status)));
    let [one, other] = failing;
    let (one, other) = (one.await, other.await);
    let silent = Origin::start(|_asked| Reply::status(0).cut(0).ending(End::Silence)).await;
    let http = "connect_seconds = 1\nfirst_byte_seconds = 1";
    for (second, status) in [
        (other.location(11), 502),
        (silent.location_with(11, http), 504),
    ] {
        let locations = [one.location(10), second].concat();
        let rig = Rig::start(&locations);
        let root = rig.register(study.fhir()).await.root;
        let answer = rig
            .get(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        assert_eq!(answer.status, status);
        assert!(!answer.problem().contains("127.0.0.1"));
    }
}

/// One instance that is larger than everything that may be read ahead.
fn large() -> Study {
    Study::new(3).with_series(at(10), vec![(EXPLICIT, 96 << 20)])
}

#[tokio::test]
async fn a_slow_client_does_not_make_the_gateway_read_on() {
    let study = large();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(1000).await;
    // Until everything between the two is full.
    let mut before = u64::MAX;
    while before != origin.sent() {
        before = origin.sent();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What the kernel buffers for two connections is most of it.
    assert!(before < 48 << 20, "{before} bytes were read ahead");
    let answer = stream.read().await;
    assert_eq!(answer.instances(), study.bytes());
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_fetch() {
    let study = large();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(1000).await;
    drop(stream);
    let left = tokio::time::timeout(Duration::from_secs(25), origin.left()).await;
    left.expect("the source is left too");
    assert!(origin.sent() < 96 << 20);
}

#[tokio::test]
async fn a_client_that_leaves_while_the_source_is_silent_stops_the_fetch() {
    let study = Study::new(1).with(2, at(10));
    let (held, gate) = (study.instances(), Gate::new());
    let origin = Origin::start(move |asked| {
        honest(&held, asked)
            .framed(Framing::Chunked)
            .held_at(3500, &gate)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(3000).await;
    drop(stream);
    let left = tokio::time::timeout(Duration::from_secs(25), origin.left()).await;
    left.expect("the source is left too");
    let gone = "xcwado_answers_total{outcome=\"client_left\",transaction=\"retrieve_study\"}";
    assert_eq!(rig.metric(gone).await, 1.0);
}

#[tokio::test]
async fn streams_may_end_when_the_gateway_is_told_to_stop() {
    let study = Study::new(1).with(2, at(10));
    let (held, gate) = (study.instances(), Gate::new());
    let held_back = gate.clone();
    let origin = Origin::start(move |asked| {
        honest(&held, asked)
            .framed(Framing::Chunked)
            .held_at(3500, &held_back)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    assert_eq!(rig.operator("/health/ready").await.status, 200);
    assert_eq!(rig.operator("/health/live").await.status, 200);
    let root = rig.register(study.fhir()).await.root;
    let mut stream = rig
        .open(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    stream.read_at_least(1000).await;
    rig.tell_to_stop();
    while rig.operator("/health/ready").await.status != 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.operator("/health/live").await.status, 200);
    gate.open();
    let answer = stream.read().await;
    assert_eq!(answer.instances(), study.bytes());
    let public = rig.public;
    rig.stopped().await;
    assert!(
        TcpStream::connect(public).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn the_operator_listener_is_not_the_public_one() {
    let rig = Rig::start("");
    for path in ["/metrics", "/health/live", "/health/ready", "/version"] {
        assert_eq!(rig.operator(path).await.status, 200, "{path}");
        assert_eq!(rig.get(path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(rig.operator("/manifests").await.status, 404);
    assert_eq!(
        rig.operator("/version").await.text().trim(),
        env!("CARGO_PKG_VERSION")
    );
}

#[tokio::test]
async fn over_http2_a_study_comes_whole() {
    let study = Study::new(1)
        .with(3, at(10))
        .with_series(at(10), vec![(EXPLICIT, 3 << 20)]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let answer = rig
        .get_over_http2(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.instances(), study.bytes());
}

#[tokio::test]
async fn many_clients_at_once_get_what_they_ask_for() {
    let study = Study::new(1).with(4, at(10)).with(4, at(11));
    let [first, second] = [Origin::of(&study).await, Origin::of(&study).await];
    let seats = "connections = 2";
    let rig = Rig::start(
        &[first.location(10), second.location(11)]
            .concat()
            .replace("[location.http]", &format!("{seats}\n[location.http]")),
    );
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let clients = (0..24).map(|_| rig.ask(Method::GET, &path, &[AS_STORED], bytes::Bytes::new()));
    let answers = tokio::time::timeout(
        Duration::from_secs(100),
        futures_util::future::join_all(clients),
    );
    for answer in answers.await.expect("nobody waits for ever") {
        assert_eq!(answer.instances(), study.bytes());
    }
}

#[tokio::test]
async fn a_folder_is_searched_with_everything_that_is_in_it() {
    let study = Study::new(1).with(2, at(10));
    let directory = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(&folder(10, directory.path()));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    assert_eq!(rig.get(&path, &[AS_STORED]).await.status, 404);
    let other = tempfile::tempdir_in(directory.path()).expect("a folder in it");
    study.write(0, other.path());
    // Beside them, what is no instance at all.
    std::fs::write(other.path().join("notes.txt"), "nothing").expect("written");
    let stranger = Instance::new(["2.25.8", "2.25.8.1", "2.25.8.1.1"], EXPLICIT, 10);
    std::fs::write(other.path().join("stranger"), stranger.bytes).expect("written");
    // A folder is looked at once a second, and a file that has just been written is left to settle.
    let answer = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let answer = rig.get(&path, &[AS_STORED]).await;
            if answer.status == 200 {
                break answer;
            }
            assert_eq!(answer.status, 404);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let answer = answer.await.expect("it is found");
    assert_eq!(answer.instances(), study.bytes());
}

#[tokio::test]
async fn a_large_series_that_is_not_there_is_known_to_be_missing_the_next_time() {
    let study = Study::new(1).with(2, at(10)).with(1500, at(10));
    let (held, absent) = (study.instances(), study.series_path(1));
    let origin = Origin::start(move |asked| {
        if asked.path.contains(&absent) {
            return Reply::status(404);
        }
        honest(&held, asked)
    })
    .await;
    let one_by_one = "[retrieve]\nseries_at_once = 1\n";
    let rig = Rig::start(&format!("{one_by_one}{}", origin.location(10)));
    let path = format!("{}{}", rig.register(study.fhir()).await.root, study.path());
    let first = rig.get(&path, &[AS_STORED]).await;
    assert!(first.status == 200 && !first.is_whole());
    let second = rig.get(&path, &[AS_STORED]).await;
    assert_eq!((second.status.as_u16(), second.is_whole()), (206, true));
    assert_eq!(second.instances().len(), 2);
}
