//! Manifests and uploads that the gateway refuses.

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::registration::{rig, study};
use crate::rig::study::{PATIENT_ID, Study, long, sequence, text};
use crate::rig::{Answer, Rig};

#[tokio::test]
async fn options_that_cannot_be_read_are_refused() {
    let rig = rig();
    for (query, status) in [
        ("series=1.2.3.99", 422),
        ("series=", 400),
        ("series=1..2", 400),
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
    for bad in ["1.x.3", "x", "1..2", "../../etc/passwd", &"1.2".repeat(30)] {
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
