//! Pictures, thumbnails, documents and videos made of instances, and WADO-URI.

use http::StatusCode;

use crate::derived::case::{ANY_FRAME, Case, OCTETS, PNG, png_size};
use crate::rig::Rig;
use crate::rig::origin::Origin;
use crate::rig::pixels::{encapsulated, image, native, study};
use crate::rig::study::{CT, EXPLICIT, JPEG_LOSSLESS, long, text};

#[tokio::test]
async fn pictures_and_thumbnails_are_made_of_frames() {
    let grey = |from: u8| native(2, 8, &(from..from + 16).collect::<Vec<u8>>());
    let case = Case::of(&[(EXPLICIT, grey(0)), (EXPLICIT, grey(100))]).await;
    let picture = case.get(0, "rendered", &[]).await;
    assert_eq!(picture.field("content-type"), "image/jpeg");
    assert_eq!(&picture.body[..3], &[0xFF, 0xD8, 0xFF]);
    assert_eq!(
        picture.field("content-length"),
        picture.body.len().to_string()
    );
    for (rest, size) in [
        ("rendered", (4, 2)),
        ("rendered?viewport=8,8", (8, 4)),
        ("rendered?viewport=8,8,0,0,2,2", (8, 8)),
        ("rendered?window=40,400,linear", (4, 2)),
        ("frames/2/rendered", (4, 2)),
        ("frames/1/thumbnail?viewport=2,2", (2, 1)),
        // Never larger than the frame.
        ("thumbnail", (4, 2)),
    ] {
        let picture = case.get(0, rest, &[PNG]).await;
        assert_eq!(picture.status, StatusCode::OK, "{rest}: {picture:?}");
        assert_eq!(png_size(&picture.body), size, "{rest}");
    }
    // Only `annotation` writes patient data into the picture.
    let plain = case.get(0, "rendered?viewport=256,128", &[PNG]).await;
    let rest = "rendered?viewport=256,128&annotation=patient,technique";
    let lettered = case.get(0, rest, &[PNG]).await;
    assert_eq!(lettered.status, StatusCode::OK, "{lettered:?}");
    assert_eq!(png_size(&lettered.body), (256, 128));
    assert_ne!(lettered.body, plain.body);
    let thumbnail = case.get(0, "thumbnail", &[PNG]).await;
    let asked = case.get(0, "thumbnail?annotation=patient", &[PNG]).await;
    assert_eq!(asked.body, thumbnail.body);
    let several = case.get(0, "frames/2,1/rendered", &[PNG]).await;
    assert_eq!(several.parts().len(), 2);
    let gif = case.get(0, "rendered", &[("accept", "image/gif")]).await;
    let mut moving = gif::DecodeOptions::new()
        .read_info(&gif.body[..])
        .expect("a GIF");
    let mut seen = Vec::new();
    while let Some(frame) = moving.read_next_frame().expect("a frame") {
        seen.push((frame.width, frame.height, frame.delay));
    }
    assert_eq!(
        seen,
        [(4, 2, 10); 2],
        "both frames, a tenth of a second each"
    );
    let series = format!("{}{}", case.root, case.study.series_path(0));
    let all = case.rig.get(&format!("{series}/rendered"), &[PNG]).await;
    assert_eq!(all.parts().len(), 2);
    for level in [series, format!("{}{}", case.root, case.study.path())] {
        let one = case.rig.get(&format!("{level}/thumbnail"), &[]).await;
        assert_eq!(one.field("content-type"), "image/jpeg", "{level}");
    }
}

#[tokio::test]
async fn pictures_that_cannot_be_made_are_refused_and_stall_nobody() {
    // A JPEG that says that it is 65535 pixels wide and high.
    let liar = [
        0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8,
        1, 1, 0, 0, 63, 0, 0xFF, 0xD9,
    ];
    let mut huge = image(1, 16);
    for at in (0..huge.len() - 8).step_by(2) {
        if huge[at..at + 4] == [0x28, 0, 0x10, 0] || huge[at..at + 4] == [0x28, 0, 0x11, 0] {
            huge[at + 8..at + 10].copy_from_slice(&[0xFF, 0xFF]);
        }
    }
    huge.extend([
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ]);
    huge.extend([
        0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0, 0xE0, 4, 0, 0, 0, 1, 2, 3, 4,
    ]);
    huge.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
    const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
    const RLE: &str = "1.2.840.10008.1.2.5";
    const UNKNOWN: &str = "1.2.840.10008.1.2.4.999";
    let junk: Vec<u8> = (0..200).map(|n| (n * 7) as u8).collect();
    let case = Case::of(&[
        (EXPLICIT, native(1, 8, &[1; 8])),
        (EXPLICIT, text(0x0040_A040, b"CS", "TEXT")),
        (JPEG_LOSSLESS, encapsulated(1, &[], &[&liar])),
        (JPEG_LOSSLESS, huge),
        (JPEG_2000, encapsulated(1, &[], &[&junk])),
        (JPEG_LS, encapsulated(1, &[], &[&junk])),
        (RLE, encapsulated(1, &[], &[&junk])),
        (UNKNOWN, encapsulated(1, &[], &[&junk])),
    ])
    .await;
    for (instance, rest, status) in [
        (0, "rendered?viewport=0,0", 400),
        (0, "rendered?viewport=100000,100000", 400),
        (0, "rendered?window=40,0,linear", 400),
        (0, "rendered?quality=0", 400),
        (0, "rendered?annotation=everything", 400),
        (0, "frames/2/rendered", 404),
        (1, "rendered", 404),
        (1, "thumbnail", 404),
        (2, "rendered", 422),
        (3, "rendered", 422),
        (3, "frames/1", 422),
        (4, "rendered", 422),
        (5, "rendered", 422),
        (6, "rendered", 422),
        (6, "frames/1", 422),
        (7, "rendered", 406),
    ] {
        case.is_refused(instance, rest, status).await;
    }
    let decoded = case.get(7, "frames/1", &[OCTETS]).await;
    assert_eq!(decoded.status, StatusCode::NOT_ACCEPTABLE, "{decoded:?}");
    let answer = case.get(0, "rendered", &[("accept", "text/html")]).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(case.get(0, "rendered", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn documents_and_videos_come_as_they_are() {
    const PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";
    const H264: &str = "1.2.840.10008.1.2.4.102";
    let document = long(0x0042_0011, b"OB", &b"%PDF-1.4 x".repeat(300));
    let pdf = [text(0x0042_0012, b"LO", "application/pdf"), document];
    let pdf = [pdf[1].clone(), pdf[0].clone()].concat();
    let mut study = study(&[
        (EXPLICIT, pdf),
        (H264, encapsulated(90, &[], &[b"0123", b"4567"])),
    ]);
    let first = &mut study.series[0].instances[0];
    let bytes = String::from_utf8_lossy(&first.bytes).len();
    assert!(bytes > 3000);
    let at = memchr::memmem::find(&first.bytes[200..], CT.as_bytes()).expect("a class") + 200;
    let mut changed = first.bytes.to_vec();
    let length = CT.len() + CT.len() % 2;
    changed.splice(
        at..at + length,
        PDF.bytes().chain(std::iter::repeat_n(0, PDF.len() % 2)),
    );
    changed[at - 2..at].copy_from_slice(&(PDF.len() as u16 + PDF.len() as u16 % 2).to_le_bytes());
    first.bytes = changed.into();
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let rendered =
        |instance: usize| format!("{root}{}/rendered", study.instances()[instance].path());
    // As a browser asks for a page.
    let page = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let pdf = rig.get(&rendered(0), &[page]).await;
    assert_eq!(pdf.field("content-type"), "application/pdf", "{pdf:?}");
    assert_eq!((&pdf.body[..5], pdf.body.len()), (&b"%PDF-"[..], 3000));
    let part = rig.get(&rendered(0), &[("range", "bytes=1-3")]).await;
    assert_eq!(
        (part.status, &part.body[..]),
        (StatusCode::PARTIAL_CONTENT, &b"PDF"[..])
    );
    let video = rig.get(&rendered(1), &[]).await;
    assert_eq!(video.field("content-type"), "video/mp4");
    assert_eq!(&video.body[..], b"01234567");
    let picture = rig.get(&rendered(1), &[PNG]).await;
    assert_eq!(picture.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn wado_uri_gives_one_part() {
    let case = Case::of(&[(EXPLICIT, native(2, 8, &(0..16).collect::<Vec<u8>>()))]).await;
    let instance = &case.study.instances()[0];
    let which = format!(
        "requestType=WADO&studyUID={}&seriesUID={}&objectUID={}",
        instance.study, instance.series, instance.uid
    );
    let manifest = case.root.trim_end_matches("dicomweb/");
    // As OHIF asks.
    let viewer = [ANY_FRAME];
    for base in [format!("{manifest}wado"), format!("{}wado", case.root)] {
        let path = format!("{base}?{which}&contentType=application%2Fdicom&transferSyntax=*");
        let answer = case.rig.get(&path, &viewer).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert!(
            answer
                .field("content-type")
                .starts_with("application/dicom")
        );
        assert_eq!(answer.body, instance.bytes);
    }
    for (rest, size) in [
        ("&contentType=image/png", (4, 2)),
        (
            "&contentType=image/png&rows=8&columns=8&frameNumber=2",
            (8, 4),
        ),
        ("&contentType=image/png&region=0.5,0,1,1", (2, 2)),
        (
            "&contentType=image/png&windowCenter=8&windowWidth=16",
            (4, 2),
        ),
    ] {
        let answer = case
            .rig
            .get(&format!("{manifest}wado?{which}{rest}"), &[])
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{rest}: {answer:?}");
        assert_eq!(png_size(&answer.body), size, "{rest}");
    }
    let answer = case.rig.get(&format!("{manifest}wado?{which}"), &[]).await;
    assert_eq!(answer.field("content-type"), "image/jpeg");
    let other = which.replace(&instance.uid, "1.2.3.4");
    for (query, status) in [
        ("requestType=WADO".to_owned(), 400),
        (format!("{which}&frameNumber=0"), 400),
        (format!("{which}&frameNumber=9"), 404),
        (format!("{which}&contentType=text/html"), 406),
        (other, 404),
    ] {
        let answer = case.rig.get(&format!("{manifest}wado?{query}"), &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {answer:?}");
    }
}
