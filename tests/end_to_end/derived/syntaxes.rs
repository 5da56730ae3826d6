//! What a client learns of transfer syntaxes, and what it gets of those that nothing here decodes.

use http::StatusCode;

use crate::derived::case::Case;
use crate::rig::Rig;
use crate::rig::pixels::{encapsulated, native};
use crate::rig::study::{EXPLICIT, IMPLICIT, JPEG_XL, Study, at, text};

const JSON: (&str, &str) = ("accept", "application/dicom+json");
const MPEG: &str = "1.2.840.10008.1.2.4.102";
const AVAILABLE: &str = "00083002";

#[tokio::test]
async fn metadata_and_search_tell_the_transfer_syntax() {
    let lying = [text(0x0008_3002, b"UI", "1.2.3.4"), native(1, 8, &[1; 8])].concat();
    let case = Case::of(&[
        (MPEG, encapsulated(2, &[], &[&[1, 2, 3, 4]])),
        (EXPLICIT, lying),
        (EXPLICIT, native(1, 8, &[2; 8])),
    ])
    .await;
    let series = format!("{}{}", case.root, case.study.series_path(0));
    let search = async || {
        let answer = case.rig.get(&format!("{series}/instances"), &[JSON]).await;
        let rows = answer.json();
        let rows = rows.as_array().expect("an array").clone();
        rows.into_iter()
            .map(|row| row[AVAILABLE]["Value"][0].clone())
            .collect::<Vec<_>>()
    };
    // Nothing is here yet, and the manifest does not tell.
    assert!(search().await.iter().all(serde_json::Value::is_null));
    let metadata = case.rig.get(&format!("{series}/metadata"), &[JSON]).await;
    let expected = [MPEG, EXPLICIT, EXPLICIT];
    let json = metadata.json();
    for set in json.as_array().expect("an array") {
        let uid = set["00080018"]["Value"][0].as_str().expect("a UID");
        let place: usize = uid
            .rsplit('.')
            .next()
            .expect("a number")
            .parse()
            .expect("a number");
        assert_eq!(set[AVAILABLE]["vr"], "UI");
        assert_eq!(set[AVAILABLE]["Value"][0], expected[place - 1], "{uid}");
    }
    assert_eq!(search().await, expected);
    // The order of attributes is that of their tags.
    let written = metadata.text();
    let set = &written[..written.find("7FE00010").expect("pixel data")];
    assert!(
        set.find("00080018") < set.find(AVAILABLE) && set.find(AVAILABLE) < set.find("0020000D")
    );
}

#[tokio::test]
async fn a_folder_tells_before_anything_is_asked_for_and_implicit_vr_is_never_offered() {
    let study = Study::new(1).with_series(at(10), vec![(IMPLICIT, 900), (JPEG_XL, 900)]);
    let folder = tempfile::tempdir().expect("a folder");
    study.write(0, folder.path());
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"{}\"\nfolder = {:?}\n",
        crate::rig::study::location_uid(10),
        folder.path()
    ));
    let root = rig.register(study.fhir()).await.root;
    let series = format!("{root}{}", study.series_path(0));
    for rest in ["instances", "metadata"] {
        let answer = rig.get(&format!("{series}/{rest}"), &[JSON]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let rows = answer.json();
        let mut told: Vec<_> = rows.as_array().expect("an array").iter().collect();
        told.sort_by_key(|row| row["00080018"]["Value"][0].to_string());
        let told: Vec<_> = told.iter().map(|row| &row[AVAILABLE]["Value"][0]).collect();
        assert_eq!(told, [EXPLICIT, JPEG_XL], "{rest}");
    }
}

#[tokio::test]
async fn what_nothing_decodes_is_given_as_it_is_stored_to_who_takes_everything() {
    let case = Case::of(&[
        (MPEG, encapsulated(2, &[], &[&[1, 2, 3, 4]])),
        (JPEG_XL, encapsulated(2, &[], &[&[1, 2], &[3, 4]])),
    ])
    .await;
    let mp4 = format!("video/mp4; transfer-syntax={MPEG}");
    let jxl = format!("image/jxl; transfer-syntax={JPEG_XL}");
    for (instance, rest, content_type, expected) in [
        (0, "frames/1", &mp4, vec![1, 2, 3, 4]),
        (0, "pixeldata", &mp4, vec![1, 2, 3, 4]),
        (1, "frames/2", &jxl, vec![3, 4]),
        (1, "bulkdata/7FE00010", &jxl, vec![1, 2]),
    ] {
        for accept in ["*/*", "", "application/octet-stream, */*;q=0.5"] {
            let fields = [("accept", accept)];
            let fields = if accept.is_empty() { &[][..] } else { &fields };
            let answer = case.get(instance, rest, fields).await;
            assert_eq!(answer.status, StatusCode::OK, "{rest} {accept}: {answer:?}");
            let part = &answer.parts()[0];
            assert_eq!(
                part.head.content_type(),
                Some(content_type.as_str()),
                "{rest}"
            );
            assert_eq!(part.bytes, expected, "{rest}");
        }
        for accept in [
            "application/octet-stream",
            "multipart/related; type=\"application/octet-stream\"",
            "image/png",
        ] {
            let answer = case.get(instance, rest, &[("accept", accept)]).await;
            assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE, "{rest} {accept}");
        }
    }
}
