//! Registering manifests, and every way in which they may be bad.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::origin::Origin;
use crate::rig::study::{Location, PATIENT_ID, Study, at, at_url, long, sequence, text};
use crate::rig::{AS_STORED, Answer, Rig};

/// Two series at two places.
fn study() -> Study {
    Study::new(2).with(2, at(10)).with(1, at(11))
}

/// A gateway that knows no location.
fn rig() -> Rig {
    Rig::start("")
}

#[tokio::test]
async fn a_manifest_is_registered_shown_listed_and_forgotten() {
    let rig = rig();
    let first = rig.post("/manifests", &[], study().kos()).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.field("content-type"), "application/json");
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 32);
    let link = format!("http://{}/manifests/{id}", rig.public);
    assert_eq!(first.field("location"), link);

    let again = rig.post("/manifests", &[], study().kos()).await;
    assert_eq!(
        (again.status, again.field("location")),
        (StatusCode::OK, link.as_str())
    );
    assert_eq!(again.json(), first.json());
    let other = rig.post("/manifests", &[], study().fhir()).await;
    assert_eq!(other.status, 201);
    assert_ne!(other.json()["id"], first.json()["id"]);

    let list = rig.get("/manifests", &[]).await.json();
    let listed: Vec<&Value> = list["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&&json!(id)));
    assert_eq!(rig.metric("xcwado_manifests").await, 2.0);

    let path = format!("/manifests/{id}");
    let shown = rig.get(&path, &[]).await;
    assert_eq!((shown.status, shown.json()), (StatusCode::OK, first.json()));
    let head = rig.head(&path, &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.field("content-length"), shown.body.len().to_string());

    let forgotten = rig.delete(&path).await;
    assert_eq!(
        (forgotten.status, forgotten.body.len()),
        (StatusCode::NO_CONTENT, 0)
    );
    for answer in [
        rig.get(&path, &[]).await,
        rig.delete(&path).await,
        rig.get(&format!("{path}/dicomweb/{}", study().path()), &[AS_STORED])
            .await,
    ] {
        assert_eq!(answer.status, 404);
        answer.problem();
    }
    assert_eq!(rig.metric("xcwado_manifests").await, 1.0);
    rig.stopped().await;
}

#[tokio::test]
async fn a_summary_says_what_is_selected() {
    let rig = rig();
    let summary = rig.register(study().fhir()).await.summary;
    let series = &summary["studies"][0]["series"];
    assert_eq!(summary["instances"], 3);
    assert_eq!(series[0]["instances"], 2);
    assert_eq!(series[1]["series_instance_uid"], study().series[1].uid);
    assert_eq!(series[0]["sop_instance_uids"], Value::Null);
    let path = format!(
        "/manifests/{}?instances=true",
        summary["id"].as_str().expect("an id")
    );
    let shown = rig.get(&path, &[]).await.json();
    let uids: Vec<&str> = shown["studies"][0]["series"][0]["sop_instance_uids"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let listed: Vec<String> = study().series[0]
        .instances
        .iter()
        .map(|i| i.uid.clone())
        .collect();
    assert_eq!(uids, listed);
    assert!(!summary.to_string().contains(PATIENT_ID));
}

#[tokio::test]
async fn manifests_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let origin = Origin::of(&study()).await;
    let locations = origin.location(10);
    let first = Rig::start_in(directory.path(), &locations);
    let kept = first.register(study().kos()).await;
    let forgotten = first.register(study().fhir()).await;
    assert_eq!(
        first
            .delete(&format!("/manifests/{}", forgotten.id))
            .await
            .status,
        204
    );
    first.stopped().await;

    let second = Rig::start_in(directory.path(), &locations);
    assert_eq!(second.metric("xcwado_manifests").await, 1.0);
    let path = format!("{}{}", kept.root, study().series_path(0));
    let answer = second.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.parts().len(), 2);
    assert_eq!(
        second
            .get(&format!("/manifests/{}", forgotten.id), &[])
            .await
            .status,
        404
    );
    let again = second.post("/manifests", &[], study().kos()).await;
    assert_eq!(
        (again.status, again.json()["id"].as_str()),
        (StatusCode::OK, Some(kept.id.as_str()))
    );
}

#[tokio::test]
async fn a_manifest_narrowed_to_a_series_selects_nothing_else() {
    let origin = Origin::of(&study()).await;
    let rig = Rig::start(&origin.location(10));
    let [in_it, left_out] = [&study().series[0].uid, &study().series[1].uid];
    let path = format!("/manifests?series={in_it}");
    let narrowed = rig.post(&path, &[], study().kos()).await;
    assert_eq!(narrowed.status, 201);
    let id = narrowed.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        narrowed.json()["studies"][0]["series"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert!(!narrowed.text().contains(left_out.as_str()));
    let root = format!("/manifests/{id}/dicomweb");
    let whole = rig
        .get(&format!("{root}/{}", study().path()), &[AS_STORED])
        .await;
    assert_eq!((whole.status, whole.parts().len()), (StatusCode::OK, 2));
    for path in [study().series_path(1), study().instances()[2].path()] {
        assert_eq!(
            rig.get(&format!("{root}/{path}"), &[AS_STORED])
                .await
                .status,
            404
        );
    }
    // Other options: another manifest.
    assert_eq!(rig.post("/manifests", &[], study().kos()).await.status, 201);
    let both = format!("/manifests?series={left_out},{in_it}&HomeCommunityID=urn:oid:1.2.3");
    let both = rig.post(&both, &[], study().kos()).await;
    assert_eq!(
        (both.status, &both.json()["home_community_id"]),
        (StatusCode::CREATED, &json!("1.2.3"))
    );
}

#[tokio::test]
async fn options_that_cannot_be_read_are_refused() {
    let rig = rig();
    for (query, status) in [
        ("series=1.2.3.99", 422),
        ("series=", 400),
        ("series=1.02", 400),
        ("series=..%2f", 400),
        ("serie=1.2", 400),
        ("homeCommunityId=x", 400),
        ("homeCommunityId=1.2&homeCommunityId=1.2", 400),
        ("url=http://127.0.0.1/", 400),
    ] {
        let answer = rig
            .post(&format!("/manifests?{query}"), &[], study().kos())
            .await;
        assert_eq!(answer.status, status, "{query}");
        answer.problem();
    }
    assert_eq!(rig.metric("xcwado_manifests").await, 0.0);
    assert_eq!(
        rig.metric("xcwado_manifest_registrations_total{outcome=\"refused\"}")
            .await,
        8.0
    );
}

/// Posts what is no good manifest.
async fn refused(rig: &Rig, body: impl Into<Bytes>) -> Answer {
    let answer = rig.post("/manifests", &[], body).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    let problem = answer.problem();
    for secret in ["2.25.700", PATIENT_ID, "Quetzal", "127.0.0.1"] {
        assert!(!problem.contains(secret), "{problem}");
    }
    answer
}

#[tokio::test]
async fn what_is_no_manifest_is_refused_with_a_sentence() {
    let rig = rig();
    let valid = study().fhir();
    for (what, body, status) in [
        ("nothing", vec![], 400),
        ("text", b"hello".to_vec(), 400),
        ("zeros", vec![0; 10_000], 400),
        ("cut JSON", valid[..valid.len() / 2].to_vec(), 400),
        ("a list", b"[]".to_vec(), 400),
        (
            "another resource",
            b"{\"resourceType\": \"Patient\"}".to_vec(),
            422,
        ),
        (
            "an empty Bundle",
            b"{\"resourceType\": \"Bundle\"}".to_vec(),
            422,
        ),
        (
            "XML",
            b"<Bundle xmlns=\"http://hl7.org/fhir\"/>".to_vec(),
            415,
        ),
        (
            "nested lists",
            [b"{\"a\":".to_vec(), vec![b'['; 100_000]].concat(),
            422,
        ),
        ("no evidence", Study::new(2).kos(), 422),
        (
            "another SOP class",
            study().kos_of_class("1.2.840.10008.5.1.4.1.1.88.11"),
            422,
        ),
        ("a slice", study().instances()[0].bytes.to_vec(), 422),
        ("only a preamble", [&[0; 128][..], b"DICM"].concat(), 400),
    ] {
        assert_eq!(refused(&rig, body).await.status, status, "{what}");
    }
    assert_eq!(rig.metric("xcwado_manifests").await, 0.0);
}

#[tokio::test]
async fn identifiers_that_are_none_are_refused() {
    let rig = rig();
    for bad in ["1.02.3", "x", "1..2", "../../etc/passwd", &"1.2".repeat(30)] {
        for pointer in [
            "/entry/0/resource/identifier/0/value",
            "/entry/0/resource/series/0/uid",
            "/entry/0/resource/series/0/instance/0/uid",
        ] {
            let mut document = study().fhir_document();
            *document.pointer_mut(pointer).expect("a value") = json!(bad);
            let answer = refused(&rig, document.to_string()).await;
            assert_eq!(answer.status, 422, "{bad} at {pointer}");
            assert!(!answer.text().contains(bad));
        }
        let mut spoilt = study();
        spoilt.series[1].uid = bad.into();
        assert_eq!(refused(&rig, spoilt.kos()).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn hostile_dicom_is_refused() {
    let rig = rig();
    let class = "1.2.840.10008.5.1.4.1.1.88.59";
    let document = |evidence: Vec<u8>| {
        let set = [text(0x0008_0016, b"UI", class), evidence].concat();
        crate::rig::study::part10(class, "2.25.1", crate::rig::study::EXPLICIT, &set)
    };
    let mut deep = Vec::new();
    for _ in 0..5_000 {
        deep = sequence(0x0040_A375, [deep]);
    }
    assert_eq!(refused(&rig, document(deep)).await.status, 422);
    // Sequences and items without lengths, opened and never closed.
    let open = [
        &b"\x40\x00\x75\xA3SQ\0\0\xFF\xFF\xFF\xFF"[..],
        b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
    ]
    .concat();
    refused(&rig, document(open.repeat(100_000))).await;
    for declared in [u32::MAX - 1, 0x7FFF_FFFE, 1 << 20] {
        let mut huge = long(0x0040_A375, b"SQ", &[]);
        let at = huge.len() - 4;
        huge[at..].copy_from_slice(&declared.to_le_bytes());
        assert_eq!(
            refused(&rig, document(huge)).await.status,
            400,
            "{declared}"
        );
    }
}

#[tokio::test]
async fn a_real_manifest_that_is_cut_anywhere_is_refused_or_understood() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/ihe-mado");
    let Ok(whole) = std::fs::read(format!("{folder}/MADO_KOS_B.dcm")) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the test data are missing"
        );
        eprintln!("left out: there are no test data at {folder}");
        return;
    };
    let rig = rig();
    for length in (0..whole.len()).step_by(64) {
        let answer = rig.post("/manifests", &[], whole[..length].to_vec()).await;
        assert!(!answer.status.is_server_error(), "{length}: {answer:?}");
        if answer.status.is_client_error() {
            answer.problem();
        }
    }
    let registered = rig.register(whole).await;
    assert_eq!(registered.summary["instances"], 21);
}

#[tokio::test]
async fn a_manifest_that_is_too_large_is_refused_early() {
    let rig = rig();
    let declared = format!("Content-Length: {}", (64 << 20) + 1);
    // Nothing of it has to be sent.
    assert_eq!(upload(&rig, &declared, 0).await, 413);
    // 64 MiB and one byte that nobody has declared.
    let rest = 64 << 20;
    assert_eq!(
        upload(&rig, "Transfer-Encoding: chunked", rest + 1).await,
        413
    );
    assert_eq!(rig.get("/manifests", &[]).await.status, 200);
}

/// Sends blanks until there is an answer; gives its status.
async fn upload(rig: &Rig, field: &str, length: usize) -> u16 {
    let mut socket = TcpStream::connect(rig.public).await.expect("a connection");
    let head = format!(
        "POST /manifests HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n{field}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    let (mut reading, mut writing) = socket.split();
    let send = async {
        let mut left = length;
        while left > 0 {
            let chunk = left.min(1 << 20);
            let chunk = [
                format!("{chunk:x}\r\n").into_bytes(),
                vec![b' '; chunk],
                b"\r\n".to_vec(),
            ]
            .concat();
            left -= left.min(1 << 20);
            if writing.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    let receive = async {
        let mut line = [0; 12];
        reading.read_exact(&mut line).await.expect("an answer");
        let line = String::from_utf8_lossy(&line).into_owned();
        line[9..].parse().expect("a status")
    };
    tokio::join!(send, receive).1
}

#[tokio::test]
async fn only_media_types_of_manifests_are_taken() {
    let rig = rig();
    for (media_type, status) in [
        ("application/dicom", 201),
        ("application/fhir+json; charset=utf-8", 200),
        ("application/octet-stream", 200),
        ("image/png", 415),
        ("text/html", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain; charset=utf-8", 415),
        ("", 415),
        ("nonsense", 415),
    ] {
        let answer = rig
            .post("/manifests", &[("content-type", media_type)], study().kos())
            .await;
        assert_eq!(answer.status, status, "{media_type}");
    }
    let png = rig.get("/manifests", &[("accept", "image/png")]).await;
    assert_eq!(png.status, 406);
    png.problem();
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let rig = rig();
    let id = rig.register(study().kos()).await.id;
    let study = study().path();
    for (method, path, allow) in [
        (Method::PUT, "/manifests".to_owned(), "GET, HEAD, POST"),
        (Method::DELETE, "/manifests".to_owned(), "GET, HEAD, POST"),
        (
            Method::POST,
            format!("/manifests/{id}"),
            "GET, HEAD, DELETE",
        ),
        (
            Method::POST,
            format!("/manifests/{id}/dicomweb/{study}"),
            "GET, HEAD",
        ),
        (
            Method::DELETE,
            format!("/manifests/{id}/dicomweb/{study}"),
            "GET, HEAD",
        ),
        (
            Method::from_bytes(b"PROPFIND").expect("a method"),
            "/manifests".to_owned(),
            "GET, HEAD, POST",
        ),
    ] {
        let answer = rig.ask(method.clone(), &path, &[], Bytes::new()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.field("allow")),
            (405, allow),
            "{method} {path}"
        );
        answer.problem();
    }
    let unknown = rig.ask(Method::POST, "/elsewhere", &[], Bytes::new()).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_series_that_is_nowhere_is_listed_with_a_warning() {
    let origin = Origin::of(&study()).await;
    let rig = Rig::start(&origin.location(10));
    let lost = study().with(2, vec![]).with(
        1,
        vec![Location {
            retrieve_location_uid: Some("1.3.6.1.4.1.99999.1.77".into()),
            retrieve_url: Some("http://127.0.0.1:1/rs".into()),
        }],
    );
    let manifest = rig.register(lost.fhir()).await;
    let series = manifest.summary["studies"][0]["series"]
        .as_array()
        .expect("series")
        .clone();
    let located: Vec<bool> = series.iter().map(|s| s["located"] == true).collect();
    assert_eq!(located, [true, false, false, false]);
    let warnings = manifest.summary["warnings"].to_string();
    for series in &lost.series[1..] {
        assert!(warnings.contains(&series.uid), "{warnings}");
    }
    // Alone it does not exist; with others it is missing.
    for at in 1..4 {
        let path = format!("{}{}", manifest.root, lost.series_path(at));
        let alone = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(alone.status, 404);
        assert!(!alone.problem().contains("127.0.0.1:1"));
    }
    let whole = rig
        .get(&format!("{}{}", manifest.root, lost.path()), &[AS_STORED])
        .await;
    assert_eq!(whole.status, 206);
    assert_eq!(
        whole.field("warning"),
        "299 xcwado \"4 of 6 instances cannot be given\""
    );
    assert_eq!(whole.parts().len(), 2);
}

/// What is handed out can be registered again, and leads here.
#[tokio::test]
async fn a_manifest_is_handed_out_in_its_own_format_with_retrieve_urls_that_lead_here() {
    let study = Study::new(1)
        .with(2, at(10))
        .with(3, at_url("http://pacs.example/rs"));
    let rig = Rig::start("");
    for (document, media_type, other) in [
        (study.kos(), "application/dicom", "application/fhir+json"),
        (study.fhir(), "application/fhir+json", "application/dicom"),
    ] {
        let manifest = rig.register(document.clone()).await;
        let path = format!("/manifests/{}", manifest.id);
        let answer = rig.get(&path, &[("accept", media_type)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.field("content-type"), media_type);
        let read = xcwado::manifest::read(&answer.body).expect("a manifest");
        let before = xcwado::manifest::read(&document).expect("a manifest");
        assert_eq!(read.studies[0].patient, before.studies[0].patient);
        let root = format!("http://{}{}", rig.public, manifest.root);
        let all = read.studies[0].series.iter().zip(&before.studies[0].series);
        for (series, before) in all {
            assert_eq!(
                (&series.uid, &series.instances),
                (&before.uid, &before.instances)
            );
            let text = format!("{:?}", series.locations);
            assert!(
                text.contains(root.trim_end_matches('/')),
                "{media_type}: {text}"
            );
            assert!(!text.contains("pacs.example"), "{media_type}: {text}");
        }
        let answer = rig.get(&path, &[("accept", other)]).await;
        assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    }
}
