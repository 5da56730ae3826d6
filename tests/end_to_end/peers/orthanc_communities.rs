//! Two communities, each with a gateway and an Orthanc of its own that holds other series of the
//! study that IHE publishes for MADO. Prerequisites are those of [`crate::peers::orthanc`].

use http::StatusCode;

use crate::rig::communities::{Communities, Difference, THERE, everything_comes_as_stored};
use crate::rig::orthanc::{
    IMAGES, KEY_OBJECTS, OF_IMAGES, OF_KEY_OBJECTS, Orthanc, Prerequisites, STUDY, identity,
};
use crate::rig::study::{EXPLICIT, Instance, Location, Series, Study};
use crate::rig::{AS_STORED, rad_160};

/// The images are in the other community, the key objects in ours.
struct Split {
    two: Communities,
    here: Orthanc,
    there: Orthanc,
    /// The published study: its images, then its key objects.
    study: Study,
}

impl Split {
    async fn of(found: &Prerequisites, of_there: &str) -> Self {
        let study = Study {
            uid: STUDY.trim_start_matches("studies/").to_owned(),
            series: vec![
                series(found, IMAGES, OF_IMAGES),
                series(found, KEY_OBJECTS, OF_KEY_OBJECTS),
            ],
        };
        let (here, there) = (found.start(), found.start());
        for (orthanc, at) in [(&there, 0), (&here, 1)] {
            for instance in &study.series[at].instances {
                orthanc.store(instance.bytes.clone()).await;
            }
        }
        let location = |orthanc: &Orthanc, uid: &str| {
            orthanc.location(&format!("retrieve_location_uid = {uid:?}"))
        };
        let two = Communities::new(Difference {
            here: &location(&here, OF_KEY_OBJECTS),
            there: &location(&there, OF_IMAGES),
            of_there,
            theirs: &[OF_IMAGES],
        })
        .await;
        Self {
            two,
            here,
            there,
            study,
        }
    }

    /// The study with some of its series only.
    fn with(&self, series: &[usize]) -> Study {
        let series = series.iter().map(|at| self.study.series[*at].clone());
        Study {
            uid: self.study.uid.clone(),
            series: series.collect(),
        }
    }
}

fn series(found: &Prerequisites, uid: &str, location: &str) -> Series {
    let instances = found.instances.iter().filter_map(|bytes| {
        let identity = identity(bytes);
        (identity.series.as_str() == uid).then(|| Instance {
            study: identity.study.to_string(),
            series: identity.series.to_string(),
            uid: identity.sop_instance.to_string(),
            transfer_syntax: identity.transfer_syntax.as_str().to_owned(),
            bytes: bytes.clone(),
        })
    });
    Series {
        uid: uid.into(),
        locations: vec![Location {
            retrieve_location_uid: Some(location.into()),
            retrieve_url: None,
        }],
        instances: instances.collect(),
    }
}

#[tokio::test]
async fn the_published_manifest_opens_the_study_out_of_two_communities() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    for of_there in ["http_version = 1", "http_version = 2"] {
        let split = Split::of(&found, of_there).await;
        let program = &split.two.here;
        let manifest = program.register("", found.key_object_manifest()).await;
        assert_eq!(manifest.summary["instances"], 21);
        everything_comes_as_stored(program, &manifest.root, &split.study).await;
        // Each community was asked for what it has, and nothing else.
        for (orthanc, series) in [(&split.here, KEY_OBJECTS), (&split.there, IMAGES)] {
            let below = format!("/dicom-web/{STUDY}/series/{series}");
            let requests = orthanc.requests().await;
            assert!(!requests.is_empty());
            for request in requests {
                assert!(request.starts_with(&below), "{request}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_here_there_or_in_both_comes_by_either_kind_of_manifest() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let split = Split::of(&found, "").await;
    for series in [&[0][..], &[1], &[0, 1]] {
        let study = split.with(series);
        for manifest in [study.kos(), study.fhir()] {
            let manifest = split.two.here.register("", manifest).await;
            everything_comes_as_stored(&split.two.here, &manifest.root, &study).await;
        }
    }
}

#[tokio::test]
async fn what_the_other_orthanc_has_comes_by_the_url_of_the_standard() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let split = Split::of(&found, "").await;
    let root = rad_160(THERE, OF_IMAGES, "");
    everything_comes_as_stored(&split.two.here, &root, &split.with(&[0])).await;
    let missing = format!("{root}studies/1.2.3");
    let answer = split.two.here.get(&missing, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_published_fhir_manifest_of_another_community_is_asked_for_there() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let orthanc = found.loaded().await;
    let opaque = "[xc_wado]\nopaque_location_ids = true\n";
    let there = orthanc.location("retrieve_location_uid = \"ACME\"") + opaque;
    let two = Communities::new(Difference {
        here: opaque,
        there: &there,
        ..Difference::default()
    })
    .await;
    let query = format!("?homeCommunityId={THERE}");
    let manifest = two.here.register(&query, found.fhir_manifest()).await;
    let path = format!("{}{STUDY}", manifest.root);
    let answer = two.here.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.instances(), found.sorted_bytes());
}

#[tokio::test]
async fn without_a_transfer_syntax_the_other_orthanc_decodes() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let split = Split::of(&found, "").await;
    let manifest = split.two.here.register("", split.study.kos()).await;
    for (path, count) in [
        (format!("{}{STUDY}", manifest.root), 21),
        (rad_160(THERE, OF_IMAGES, STUDY), 20),
    ] {
        let answer = split.two.here.get(&path, &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        let parts = answer.parts();
        assert_eq!(parts.len(), count);
        for part in parts {
            assert_eq!(identity(&part.bytes).transfer_syntax.as_str(), EXPLICIT);
        }
    }
}

#[tokio::test]
async fn an_orthanc_that_is_down_in_the_other_community_is_counted() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let mut split = Split::of(&found, "").await;
    let manifest = split
        .two
        .here
        .register("", found.key_object_manifest())
        .await;
    let path = format!("{}{STUDY}", manifest.root);
    split.there.kill();
    let answer = split.two.here.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    let warning = "299 xcwado \"20 of 21 instances cannot be given\"";
    assert_eq!(answer.field("warning"), warning);
    assert_eq!(answer.instances(), split.with(&[1]).bytes());
    assert_eq!(split.here.requests().await.len(), 1);
}
