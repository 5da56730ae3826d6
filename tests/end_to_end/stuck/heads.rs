//! `HEAD` starts no transfer, and a response has its status once its first part is known.

use http::StatusCode;

use crate::rig::origin::Origin;
use crate::rig::pixels::{encapsulated, native, study};
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Rig};

#[tokio::test]
async fn head_of_a_study_or_series_asks_no_source() {
    let study = study(&vec![(EXPLICIT, native(1, 8, &[7; 8])); 3]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let (whole, series) = (study.path(), study.series_path(0));
    let paths = [
        (
            whole.clone(),
            r#"multipart/related; type="application/dicom"; boundary="#,
        ),
        (
            series.clone(),
            r#"multipart/related; type="application/dicom"; boundary="#,
        ),
        (format!("{whole}/metadata"), "application/dicom+json"),
        (format!("{series}/metadata"), "application/dicom+json"),
        (
            format!("{series}/rendered"),
            r#"multipart/related; type="image/jpeg"; boundary="#,
        ),
        (format!("{series}/thumbnail"), "image/jpeg"),
    ];
    for status in ["xcwado; fwd=miss", "xcwado; hit"] {
        for (path, content_type) in &paths {
            let path = format!("{root}{path}");
            let before = origin.asked().len();
            let head = rig.head(&path, &[]).await;
            assert_eq!(head.status, StatusCode::OK, "{path}");
            assert_eq!(head.field("cache-status"), status, "{path}");
            assert!(
                head.field("content-type").starts_with(content_type),
                "{head:?}"
            );
            // What is not known is not said.
            assert_eq!(head.field("content-length"), "", "{path}");
            assert_eq!(origin.asked().len(), before, "{path}");
        }
        let get = rig.get(&format!("{root}{whole}"), &[AS_STORED]).await;
        assert_eq!(get.parts().len(), 3);
    }
    for (path, _) in &paths {
        let path = format!("{root}{path}");
        let (head, get) = (rig.head(&path, &[]).await, rig.get(&path, &[]).await);
        let essence = |field: &str| field.split("boundary").next().map(str::to_owned);
        assert_eq!(get.status, StatusCode::OK);
        for name in ["content-type", "vary", "cache-control", "content-location"] {
            assert_eq!(
                essence(head.field(name)),
                essence(get.field(name)),
                "{path} {name}"
            );
        }
    }
    let unknown = rig.head(&format!("{root}studies/1.2.3"), &[]).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn head_says_what_is_known_to_be_missing() {
    let study = Study::new(1).with(2, at(10)).with(3, at(66));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let head = rig.head(&format!("{root}{}", study.path()), &[]).await;
    assert_eq!(head.status, StatusCode::PARTIAL_CONTENT);
    assert!(head.field("warning").contains("3 of 5"), "{head:?}");
    let nowhere = rig
        .head(&format!("{root}{}", study.series_path(1)), &[])
        .await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert_eq!(origin.asked().len(), 0);
}

#[tokio::test]
async fn pictures_of_a_series_without_a_bad_one_are_partial() {
    const RLE: &str = "1.2.840.10008.1.2.5";
    let broken = (RLE, encapsulated(1, &[], &[&[0xFF; 80]]));
    let fine = (EXPLICIT, native(1, 8, &[7; 8]));
    let no_image = (EXPLICIT, Vec::new());
    for (instances, status) in [
        (vec![broken.clone()], 422),
        (vec![broken.clone(), fine.clone()], 206),
        (vec![no_image.clone(), broken, fine.clone()], 206),
        (vec![no_image.clone(), fine], 200),
        (vec![no_image], 404),
    ] {
        let study = study(&instances);
        let origin = Origin::of(&study).await;
        let rig = Rig::start(&origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}/rendered", study.series_path(0));
        let answer = rig.get(&path, &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        if status == 206 {
            assert!(answer.field("warning").contains("1 instance"), "{answer:?}");
        }
        if status < 300 {
            assert_eq!(answer.parts().len(), 1);
        }
    }
}
