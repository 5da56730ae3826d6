//! Two communities with mutual TLS between their gateways: a viewer in one retrieves the instances of
//! the other.

use futures_util::future::join_all;
use http::StatusCode;

use crate::rig::authority::Authority;
use crate::rig::communities::{
    Communities, Difference, OURS, THEIRS, THERE, everything_comes_as_stored,
};
use crate::rig::detour::Detour;
use crate::rig::origin::{Framing, Gate, Origin, honest};
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, JPEG_2000, JPEG_LOSSLESS, PATIENT_ID, Study, at, location_uid};
use crate::rig::{AS_STORED, Broken, End, HERE, rad_160, sorted};

/// A study whose series are at these locations, in several transfer syntaxes.
fn study_at(locations: &[u32]) -> Study {
    let instances = [
        (EXPLICIT, 3000),
        (JPEG_LOSSLESS, 200_001),
        (JPEG_2000, 700),
        (EXPLICIT, 1),
    ];
    let study = Study::new(locations.len().try_into().expect("a few"));
    locations.iter().fold(study, |study, location| {
        study.with_series(at(*location), instances.to_vec())
    })
}

#[tokio::test]
async fn a_study_that_is_here_there_or_in_both_comes_byte_for_byte() {
    for of_there in ["http_version = 1", "http_version = 2"] {
        let whole = study_at(&[OURS, THEIRS, THEIRS, OURS]);
        let (two, origin, _folder) = Communities::with(&whole, of_there).await;
        for series in [&[0, 3][..], &[1, 2], &[0, 1, 2, 3]] {
            let mut study = whole.clone();
            study.series = series.iter().map(|at| whole.series[*at].clone()).collect();
            let before = origin.asked().len();
            for manifest in [study.kos(), study.fhir()] {
                let manifest = two.here.register("", manifest).await;
                everything_comes_as_stored(&two.here, &manifest.root, &study).await;
            }
            // What has come once is kept.
            assert_eq!(origin.asked().len() > before, series == [1, 2]);
        }
        let responded = "xcwado_partner_requests_total{community=\"a\",status_class=\"2xx\"}";
        assert!(two.there.metric(responded).await >= 2.0);
    }
}

#[tokio::test]
async fn what_the_other_community_has_comes_by_the_url_of_the_standard() {
    for of_there in ["http_version = 1", "http_version = 2"] {
        let study = study_at(&[THEIRS, THEIRS]);
        let (two, _origin, _folder) = Communities::with(&study, of_there).await;
        let root = rad_160(THERE, &location_uid(THEIRS), "");
        everything_comes_as_stored(&two.here, &root, &study).await;
        // What viewers get without a wish is decoded by the source, two gateways away.
        let path = format!("{root}{}", study.series[0].instances[1].path());
        let answer = two.here.get(&path, &[]).await;
        let decoded = study.series[0].instances[1].decoded();
        assert_eq!(answer.instances(), [decoded.bytes]);
        let single = [("accept", "application/dicom; transfer-syntax=*")];
        let answer = two.here.get(&path, &single).await;
        assert_eq!(answer.body, study.series[0].instances[1].bytes);
    }
}

#[tokio::test]
async fn a_manifest_that_came_from_another_community_is_asked_for_there() {
    let study = study_at(&[THEIRS]);
    let origin = Origin::of(&study).await;
    let two = Communities::new(Difference {
        there: &origin.location(THEIRS),
        ..Difference::default()
    })
    .await;
    let manifest = two.here.register("", study.kos()).await;
    let path = format!("{}{}", manifest.root, study.path());
    assert_eq!(two.here.get(&path, &[AS_STORED]).await.status, 404);
    for community in [THERE.to_owned(), format!("urn:oid:{THERE}")] {
        let query = format!("?homeCommunityId={community}");
        let manifest = two.here.register(&query, study.fhir()).await;
        assert_eq!(manifest.summary["home_community_id"], THERE);
        everything_comes_as_stored(&two.here, &manifest.root, &study).await;
    }
    let manifest = two
        .here
        .register("?homeCommunityId=1.2.3", study.kos())
        .await;
    let path = format!("{}{}", manifest.root, study.path());
    assert_eq!(two.here.get(&path, &[AS_STORED]).await.status, 404);
}

#[tokio::test]
async fn each_community_reads_what_the_other_has() {
    let study = study_at(&[OURS, THEIRS]);
    let (ours, theirs) = (Origin::of(&study).await, Origin::of(&study).await);
    let authority = Authority::new();
    // Each has to know the other's address before it is there.
    let (to_a, to_b) = (Detour::start().await, Detour::start().await);
    let settings = |own: &str, other: (&str, &str, u32), way: &Detour, location: String| {
        let (name, community, last) = other;
        format!(
            "{}[[community]]\nhome_community_id = \"{community}\"\n\
             certificate_names = [\"{name}\"]\ngateway_url = \"https://{}/wado-rs/\"\n\
             retrieve_location_uids = [\"{}\"]\n[community.http]\nauthorities = {:?}\n{}{location}",
            authority.issue("127.0.0.1").gateway_listen(&authority),
            way.address,
            location_uid(last),
            authority.file(),
            authority.issue(own).settings(),
        )
    };
    let a = settings(
        "a.example",
        ("b.example", THERE, THEIRS),
        &to_b,
        ours.location(OURS),
    );
    let b = settings(
        "b.example",
        ("a.example", HERE, OURS),
        &to_a,
        theirs.location(THEIRS),
    );
    let (a, b) = (Program::serve(&a).await, Program::serve_as(THERE, &b).await);
    to_a.leads_to(a.gateways.expect("a listener for partners"));
    to_b.leads_to(b.gateways.expect("a listener for partners"));
    for program in [&a, &b] {
        let manifest = program.register("", study.kos()).await;
        everything_comes_as_stored(program, &manifest.root, &study).await;
    }
    let asked = |origin: &Origin, at: usize| {
        let paths = origin.paths();
        !paths.is_empty()
            && paths
                .iter()
                .all(|path| path.contains(&study.series[at].uid))
    };
    assert!(asked(&ours, 0) && asked(&theirs, 1));
}

#[tokio::test]
async fn a_community_that_cannot_be_reached_is_counted_before_the_first_byte() {
    let study = study_at(&[OURS, THEIRS, THEIRS]);
    let (mut two, _origin, _folder) = Communities::with(&study, "").await;
    let root = two.here.register("", study.kos()).await.root;
    let path = format!("{root}{}", study.path());
    two.there.kill();

    let answer = two.here.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    let warning = "299 xcwado \"8 of 12 instances cannot be given\"";
    assert_eq!(answer.field("warning"), warning);
    let here = study.series[0].instances.iter().map(|i| i.bytes.clone());
    assert_eq!(answer.instances(), sorted(here));
    // Nothing of it can be given.
    for path in [
        format!("{root}{}", study.series_path(1)),
        rad_160(THERE, &location_uid(THEIRS), &study.path()),
    ] {
        let answer = two.here.get(&path, &[AS_STORED]).await;
        // It is left alone once it has failed three times, which it may have for the first answer.
        let expected = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
        assert!(expected.contains(&answer.status), "{answer:?}");
        answer.problem();
    }
}

#[tokio::test]
async fn a_community_that_is_lost_in_the_middle_never_looks_like_a_shorter_study() {
    for of_there in ["http_version = 1", "http_version = 2"] {
        let study = Study::new(1).with_series(at(THEIRS), vec![(EXPLICIT, 400_000); 5]);
        let (held, gate) = (study.instances(), Gate::new());
        let held_back = gate.clone();
        let origin = Origin::start(move |asked| {
            let reply = honest(&held, asked).framed(Framing::Chunked);
            reply.held_at(1_000_000, &held_back)
        })
        .await;
        let mut two = Communities::new(Difference {
            there: &origin.location(THEIRS),
            of_there,
            theirs: &[&location_uid(THEIRS)],
            ..Difference::default()
        })
        .await;
        let root = two.here.register("", study.kos()).await.root;
        let mut streams = Vec::new();
        for path in [
            format!("{root}{}", study.path()),
            rad_160(THERE, &location_uid(THEIRS), &study.path()),
        ] {
            let mut stream = two.here.open(&path, &[AS_STORED]).await;
            assert_eq!(stream.status, 200);
            stream.read_at_least(900_000).await;
            streams.push(stream);
        }
        two.there.kill();
        for stream in streams {
            let answer = stream.read().await;
            assert_eq!(answer.end, End::BrokeOff(Broken::ConnectionClosed));
            let (parts, is_closed) = answer.split();
            assert!(!is_closed);
            let stored = study.bytes();
            assert!(parts.iter().all(|part| stored.contains(&part.bytes)));
        }
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_two_gateways_away_never_looks_like_a_shorter_study() {
    let study = Study::new(1).with_series(at(THEIRS), vec![(EXPLICIT, 400_000); 5]);
    let held = study.instances();
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked).framed(Framing::Chunked);
        reply.cut(1_000_000).ending(crate::rig::origin::End::Reset)
    })
    .await;
    // What cannot be repaired is found out by one of the two.
    let there = format!(
        "[retrieve]\nrepair_seconds = 0\n{}",
        origin.location(THEIRS)
    );
    for of_there in ["http_version = 1", "http_version = 2"] {
        let two = Communities::new(Difference {
            there: &there,
            of_there,
            theirs: &[&location_uid(THEIRS)],
            ..Difference::default()
        })
        .await;
        let root = two.here.register("", study.kos()).await.root;
        for path in [
            format!("{root}{}", study.path()),
            rad_160(THERE, &location_uid(THEIRS), &study.path()),
        ] {
            let answer = two.here.get(&path, &[AS_STORED]).await;
            if answer.status == 200 {
                assert!(!answer.is_whole());
                assert!(!answer.split().1);
            } else {
                // Its gateway is left alone for a while by now, or had nothing more to begin with.
                answer.problem();
            }
        }
    }
}

// More streams than a server usually allows on one connection, and more than share wide windows.
#[tokio::test]
async fn clients_that_pause_over_http_2_keep_nobody_else_out() {
    const PAUSING: usize = 140;
    let study = Study::new(1).with_series(at(THEIRS), vec![(EXPLICIT, 400_000); 3]);
    let held = study.instances();
    let gate = Gate::new();
    let held_back = gate.clone();
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked).framed(Framing::Chunked);
        reply.held_at(500_000, &held_back)
    })
    .await;
    let location =
        origin
            .location(THEIRS)
            .replacen("[[location]]\n", "[[location]]\nconnections = 512\n", 1);
    // All clients have one address here.
    let nothing_kept = "[cache]\nmemory = \"0\"\ndisk = \"0\"\nlook_ahead = \"off\"\n\
                        [retrieve]\nstreams_per_client = 1000\n";
    let two = Communities::new(Difference {
        here: nothing_kept,
        there: &format!("{nothing_kept}{location}"),
        of_there: "http_version = 2",
        theirs: &[&location_uid(THEIRS)],
    })
    .await;
    let path = rad_160(THERE, &location_uid(THEIRS), &study.path());
    let mut streams = Vec::new();
    for number in 0..PAUSING {
        let mut stream = two.here.open(&path, &[AS_STORED]).await;
        assert_eq!(stream.status, 200, "client {number}");
        stream.read_at_least(100_000).await;
        streams.push(stream);
    }
    gate.open();
    let answers = join_all(streams.into_iter().map(|stream| stream.read())).await;
    for answer in answers {
        assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
    }
}

#[tokio::test]
async fn what_the_other_community_lacks_of_a_manifest_is_counted() {
    let study = study_at(&[OURS, THEIRS]);
    let mut held = study.instances();
    let lost = held.pop().expect("an instance");
    let origin = Origin::start(move |asked| honest(&held, asked)).await;
    let directory = tempfile::tempdir().expect("a directory");
    study.write(0, directory.path());
    let here = format!(
        "[[location]]\nretrieve_location_uid = \"{}\"\nfolder = {:?}\n",
        location_uid(OURS),
        directory.path()
    );
    let two = Communities::new(Difference {
        here: &here,
        there: &origin.location(THEIRS),
        theirs: &[&location_uid(THEIRS)],
        ..Difference::default()
    })
    .await;
    let root = two.here.register("", study.fhir()).await.root;
    let ask = async |path: &str| two.here.get(&format!("{root}{path}"), &[AS_STORED]).await;
    // The first answer finds out too late to say so; it does not look whole.
    let first = ask(&study.path()).await;
    assert!(!first.is_whole() || first.status == 206, "{first:?}");
    for (path, warning) in [
        (study.path(), "1 of 8 instances"),
        (study.series_path(1), "1 of 4 instances"),
    ] {
        let answer = ask(&path).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        let expected = format!("299 xcwado \"{warning} cannot be given\"");
        assert_eq!(answer.field("warning"), expected);
        assert!(answer.instances().iter().all(|bytes| *bytes != lost.bytes));
    }
    assert_eq!(ask(&lost.path()).await.status, StatusCode::NOT_FOUND);
    // Without a manifest, what a community has is what there is.
    let path = rad_160(THERE, &location_uid(THEIRS), &study.series_path(1));
    let answer = two.here.get(&path, &[AS_STORED]).await;
    assert_eq!((answer.status.as_u16(), answer.instances().len()), (200, 3));
}

#[tokio::test]
async fn no_log_of_either_gateway_tells_whose_images_they_were() {
    let study = study_at(&[OURS, THEIRS]);
    let (mut two, _origin, _folder) = Communities::with(&study, "").await;
    let manifest = two.here.register("", study.kos()).await;
    let patient = [AS_STORED, ("x-request-id", PATIENT_ID)];
    for path in [
        format!("{}{}", manifest.root, study.path()),
        rad_160(THERE, &location_uid(THEIRS), &study.path()),
        rad_160(THERE, "1.2.3", &study.path()),
        rad_160(
            THERE,
            "1.2.3",
            &format!("{}?retrieveURL=a.example/{PATIENT_ID}", study.path()),
        ),
        rad_160("1.2.3", "1.2.3", &study.path()),
        rad_160(THERE, "1.2.3", "studies/2.25.700.x"),
    ] {
        two.here.get(&path, &patient).await;
    }
    let is_last = |line: &serde_json::Value| line["status"] == 403;
    two.there.said(is_last).await;
    let is_last = |line: &serde_json::Value| line["status"] == 400;
    two.here.said(is_last).await;
    for line in two.here.log().iter().chain(&two.there.log()) {
        let line = line.to_string();
        let secrets = [
            &study.uid,
            PATIENT_ID,
            "Quetzalcoatl",
            "2.25.",
            &manifest.id,
        ];
        for secret in secrets {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}
