//! One answer out of several sources and folders.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::rig::origin::{End, Framing, Gate, Origin, Reply, honest};
use crate::rig::study::{EXPLICIT, Instance, Location, Study, at, at_url, location_uid};
use crate::rig::{AS_STORED, Rig, sorted};

pub(super) fn folder(last: u32, path: &Path) -> String {
    format!(
        "[[location]]\nalias = \"folder-{last}\"\nretrieve_location_uid = \"{}\"\nfolder = {path:?}\n",
        location_uid(last)
    )
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
    // Files beside them that are not instances.
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
