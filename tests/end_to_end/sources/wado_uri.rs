//! Sources that only speak WADO-URI, with one request for each instance.

use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

use crate::rig::communities::{Communities, Difference, THERE, everything_comes_as_stored};
use crate::rig::origin::{Asked, End, Origin, Reply};
use crate::rig::orthanc::Prerequisites;
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Instance, JPEG_LOSSLESS, Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160, sorted};

const LOCATION: u32 = 30;

/// A study of two series, most of it compressed.
fn study() -> Study {
    let instances = [
        (EXPLICIT, 3000),
        (JPEG_LOSSLESS, 200_001),
        (EXPLICIT, 1),
        (JPEG_LOSSLESS, 700),
    ];
    let at = || at(LOCATION);
    Study::new(7)
        .with_series(at(), instances.to_vec())
        .with_series(at(), instances.repeat(5))
}

/// What a WADO-URI server says that behaves.
fn honest(held: &[Instance], asked: &Asked) -> Reply {
    let Some(query) = asked.path.strip_prefix("/pacs/wado?") else {
        return Reply::status(404);
    };
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    assert_eq!(value("requestType"), Some("WADO"), "{query}");
    if value("contentType") != Some("application/dicom") {
        return Reply::status(406);
    }
    let uids = [value("studyUID"), value("seriesUID"), value("objectUID")];
    let found = held.iter().find(|one| {
        let own = [&one.study, &one.series, &one.uid];
        own.map(|uid| Some(&**uid)) == uids
    });
    let found = match (found, value("transferSyntax")) {
        (Some(one), Some("*")) => one.clone(),
        (Some(one), Some(EXPLICIT) | None) => one.decoded(),
        (Some(_), Some(_)) => return Reply::status(400),
        (None, _) => return Reply::status(404),
    };
    Reply::bytes("application/dicom", found.bytes)
}

fn location(origin: &Origin) -> String {
    format!(
        "[[location]]\nalias = \"old\"\nretrieve_location_uid = \"{}\"\n\
         wado_uri_url = \"http://{}/pacs/wado\"\n",
        location_uid(LOCATION),
        origin.address
    )
}

async fn server(study: &Study) -> Origin {
    let held = study.instances();
    Origin::start(move |asked| honest(&held, asked)).await
}

#[tokio::test]
async fn everything_is_served_by_fetching_what_the_manifest_lists() {
    let study = study();
    let origin = server(&study).await;
    let rig = Rig::start(&location(&origin));
    let manifest = rig.register(study.fhir()).await;
    let series = study.series_path(1);
    let path = format!("{}{series}", manifest.root);
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let stored = study.series[1]
        .instances
        .iter()
        .map(|one| one.bytes.clone());
    assert_eq!(answer.instances(), sorted(stored));
    // Once each, and nothing else.
    assert_eq!(origin.asked().len(), study.series[1].instances.len());

    let path = format!("{}{}", manifest.root, study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.instances(), study.bytes());
    assert_eq!(origin.asked().len(), study.instances().len(), "kept");
    let one = study.series[0].instances[1].path();
    let metadata = rig
        .get(&format!("{}{one}/metadata", manifest.root), &[])
        .await;
    assert_eq!(metadata.status, StatusCode::OK, "{metadata:?}");
    // Decoded by the source, where nobody here can.
    let answer = rig.get(&format!("{}{one}", manifest.root), &[]).await;
    let decoded = study.series[0].instances[1].decoded();
    assert_eq!(answer.instances(), [decoded.bytes]);
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let study = study();
    let mut held = study.instances();
    let gone = held.remove(1);
    let origin = Origin::start(move |asked| honest(&held, asked)).await;
    let rig = Rig::start(&location(&origin));
    let manifest = rig.register(study.fhir()).await;
    let path = format!("{}{}", manifest.root, gone.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    let path = format!("{}{}", manifest.root, study.series_path(0));
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert!(answer.field("warning").contains("1 of 4"));
    assert_eq!(answer.instances().len(), 3);
}

#[tokio::test]
async fn a_server_that_knows_no_star_is_asked_as_the_standard_has_it() {
    let study = study();
    let held = study.instances();
    let origin = Origin::start(move |asked| match asked.path.contains("transferSyntax=*") {
        true => Reply::status(400),
        false => honest(&held, asked),
    })
    .await;
    let rig = Rig::start(&location(&origin));
    let manifest = rig.register(study.fhir()).await;
    for one in [1, 3] {
        let one = &study.series[0].instances[one];
        let path = format!("{}{}", manifest.root, one.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.instances(), [one.decoded().bytes]);
    }
    let starred = origin.paths();
    let starred = starred.iter().filter(|path| path.contains('*'));
    assert_eq!(starred.count(), 1, "it was told once");
}

#[tokio::test]
async fn what_breaks_off_is_fetched_again() {
    let study = study();
    let held = study.instances();
    let is_broken = AtomicBool::new(false);
    let victim = study.series[1].instances[1].uid.clone();
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        match asked.path.contains(&*victim) && !is_broken.swap(true, Ordering::SeqCst) {
            true => reply.cut(100_000).ending(End::Reset),
            false => reply,
        }
    })
    .await;
    let rig = Rig::start(&location(&origin));
    let manifest = rig.register(study.fhir()).await;
    let path = format!("{}{}", manifest.root, study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(answer.is_whole());
    assert_eq!(answer.instances(), study.bytes());
}

#[tokio::test]
async fn between_communities_it_gives_instances_and_says_so() {
    let study = study();
    let origin = server(&study).await;
    let uid = location_uid(LOCATION);
    let two = Communities::new(Difference {
        there: &location(&origin),
        theirs: &[&uid],
        ..Difference::default()
    })
    .await;
    let manifest = two.here.register("", study.fhir()).await;
    everything_comes_as_stored(&two.here, &manifest.root, &study).await;
    // Without a manifest there is no list of what to fetch.
    let root = rad_160(THERE, &uid, "");
    let path = format!("{root}{}", study.series[0].instances[0].path());
    let answer = two.here.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let own = Program::serve_as(HERE, &location(&origin)).await;
    let root = rad_160(HERE, &uid, "");
    let path = format!("{root}{}", study.series_path(0));
    let answer = own.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{answer:?}");
    assert!(answer.problem().contains("single instances"));
}

#[tokio::test]
async fn orthanc_gives_everything_by_wado_uri() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&format!(
        "[[location]]\nwado_uri_url = \"http://{}/wado\"\n\
         retrieve_urls = [\"https://dicomserver.com/AET/rs/\", \"http://example.com/wado\"]\n",
        orthanc.address
    ));
    let manifest = rig.register(found.key_object_manifest()).await;
    let path = format!("{}{}", manifest.root, crate::rig::orthanc::STUDY);
    let answer = rig.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.instances(), found.sorted_bytes());
    rig.stopped().await;
    let requests = orthanc.requests().await;
    assert!(requests.iter().all(|path| path == "/wado"), "{requests:?}");
}
