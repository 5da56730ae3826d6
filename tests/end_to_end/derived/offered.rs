//! Resources other than instances below a manifest's root: passed through from sources that offer
//! them, derived from instances otherwise or if the source fails to serve them.

use serde_json::{Value, json};

use crate::rig::origin::{Asked, Origin, Reply, honest};
use crate::rig::study::{CT, Instance, Study, at};
use crate::rig::{Registered, Rig};

const FRAMES: &str = r#"multipart/related; type="application/octet-stream"; transfer-syntax=*"#;

/// What a server says of an instance, with links of every kind.
pub(super) fn described(host: &str, one: &Instance) -> Value {
    json!({
        "00080016": { "vr": "UI", "Value": [CT] },
        "00080018": { "vr": "UI", "Value": [one.uid] },
        "00081190": { "vr": "UR", "Value": [format!("http://{host}/rs/{}", one.path())] },
        "0020000D": { "vr": "UI", "Value": [one.study] },
        "0020000E": { "vr": "UI", "Value": [one.series] },
        "00091010": { "vr": "OB", "BulkDataURI": "https://s3.example/canary?Signature=x" },
        "00400275": { "vr": "SQ", "Value": [
            { "00091011": { "vr": "OB", "BulkDataURI": "../../../elsewhere/canary" } },
        ] },
        "7FE00010": { "vr": "OW", "BulkDataURI": format!("http://{host}/opaque/canary/7") },
        "00204000": { "vr": "LT", "Value": ["of the source"] },
    })
}

/// A server that offers everything, and knows of one instance more than the manifest lists.
pub(super) fn offering(held: &[Instance], hidden: &str, asked: &Asked) -> Reply {
    let host = asked.field("host");
    let path = asked.path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/rs/").unwrap_or_default();
    let (target, what) = match path.split_once("/metadata") {
        Some((target, _)) => (target, "metadata"),
        None => match path.split_once("/frames/1") {
            Some((target, "")) => (target, "frames"),
            Some((target, _)) => (target, "rendered"),
            None => match path.split_once("/rendered") {
                Some((target, _)) => (target, "rendered"),
                None => return honest(held, asked),
            },
        },
    };
    let found = held.iter().filter(|one| one.path().starts_with(target));
    match what {
        "metadata" => {
            let mut all: Vec<_> = found.map(|one| described(host, one)).collect();
            let mut more = described(host, &held[0]);
            more["00080018"]["Value"][0] = hidden.into();
            all.push(more);
            Reply::bytes("application/dicom+json", json!(all).to_string())
        }
        "frames" => Reply::bytes("application/octet-stream", "FRAME OF THE SOURCE")
            .with_field("Content-Location", &format!("http://{host}/canary")),
        _ => {
            Reply::bytes("image/jpeg", "PICTURE OF THE SOURCE").with_field("Set-Cookie", "canary=1")
        }
    }
}

struct Case {
    rig: Rig,
    origin: Origin,
    manifest: Registered,
    study: Study,
}

pub(super) const HIDDEN: &str = "2.25.4711";

impl Case {
    async fn new(
        offers: &str,
        script: impl Fn(&[Instance], &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let study = Study::new(3).with(3, at(10)).with(2, at(10));
        let held = study.instances();
        let origin = Origin::start(move |asked| script(&held, asked)).await;
        let location = origin.location(10);
        let offers = format!("offers = [\"instances\", {offers}]\nalias");
        let rig = Rig::start(&location.replacen("alias", &offers, 1));
        let manifest = rig.register(study.fhir()).await;
        Self {
            rig,
            origin,
            manifest,
            study,
        }
    }

    async fn get(&self, path: &str, accept: &str) -> crate::rig::Answer {
        let path = format!("{}{path}", self.manifest.root);
        let fields = [("accept", accept)];
        self.rig.get(&path, &fields).await
    }
}

#[tokio::test]
async fn metadata_that_a_source_offers_cost_no_instances_and_lead_nowhere_else() {
    let everything = r#""metadata", "frames", "rendered""#;
    let case = Case::new(everything, |held, asked| offering(held, HIDDEN, asked)).await;
    for (path, count) in [
        (case.study.path(), 5),
        (case.study.series_path(0), 3),
        (case.study.instances()[0].path(), 1),
    ] {
        let answer = case
            .get(&format!("{path}/metadata"), "application/dicom+json")
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = answer.text();
        assert!(!text.contains("canary") && !text.contains(HIDDEN), "{text}");
        assert!(!text.contains(&case.origin.address.to_string()), "{text}");
        let document = answer.json();
        assert_eq!(document.as_array().map(Vec::len), Some(count), "{path}");
        assert_eq!(document[0]["00204000"]["Value"][0], "of the source");
    }
    assert!(
        !case
            .origin
            .paths()
            .iter()
            .any(|path| !path.contains("/metadata"))
    );
    // What is kept is nearer than the source.
    let kept = case.study.series_path(1);
    case.get(
        &kept,
        "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
    )
    .await;
    let before = case.origin.asked().len();
    let answer = case
        .get(&format!("{kept}/metadata"), "application/dicom+json")
        .await;
    assert!(
        answer.json()[0].get("00204000").is_none(),
        "made of instances"
    );
    assert_eq!(case.origin.asked().len(), before);
    // What they link to is there, whatever the source called it.
    let one = &case.study.instances()[0];
    let answer = case
        .get(
            &format!("{}/metadata", one.path()),
            "application/dicom+json",
        )
        .await;
    let link = answer.json()[0]["7FE00010"]["BulkDataURI"]
        .as_str()
        .map(str::to_owned);
    let link = link.expect("a link");
    let host = format!("http://{}", case.rig.public);
    let pixels = case
        .rig
        .get(link.strip_prefix(&host).expect("ours"), &[])
        .await;
    assert_eq!(pixels.status, 200, "{pixels:?}");
    assert!(one.bytes.ends_with(&pixels.body));
    // Some of it, as XML.
    let other = case.study.instances()[1].path();
    let path = format!("{other}/metadata?includefields=00204000");
    let xml = case
        .get(&path, r#"multipart/related; type="application/dicom+xml""#)
        .await;
    let xml = String::from_utf8_lossy(&xml.parts()[0].bytes).into_owned();
    assert!(
        xml.contains("of the source") && !xml.contains("00091010"),
        "{xml}"
    );
}

#[tokio::test]
async fn frames_and_pictures_that_a_source_offers_are_its_own() {
    let everything = r#""metadata", "frames", "rendered""#;
    let case = Case::new(everything, |held, asked| offering(held, HIDDEN, asked)).await;
    let one = case.study.instances()[0].path();
    let frame = case.get(&format!("{one}/frames/1"), FRAMES).await;
    assert_eq!(frame.body, "FRAME OF THE SOURCE");
    for rest in ["rendered?quality=7&secret=x", "frames/1/rendered"] {
        let picture = case.get(&format!("{one}/{rest}"), "image/jpeg").await;
        assert_eq!(picture.body, "PICTURE OF THE SOURCE", "{rest}");
        assert_eq!(picture.field("set-cookie"), "");
    }
    assert!(
        case.origin
            .paths()
            .contains(&format!("/rs/{one}/rendered?quality=7"))
    );
    // What the manifest does not list is not asked for.
    let before = case.origin.asked().len();
    let other = one.rsplit_once('/').expect("a path").0;
    let answer = case
        .get(&format!("{other}/{HIDDEN}/rendered"), "image/jpeg")
        .await;
    assert_eq!(answer.status, 404);
    assert_eq!(case.origin.asked().len(), before);
}

#[tokio::test]
async fn what_is_not_given_after_all_is_made_of_instances() {
    for kind in ["refuses", "lacks one", "breaks off", "lies", "is no JSON"] {
        let case = Case::new(r#""metadata""#, move |held, asked| {
            let given = offering(held, HIDDEN, asked);
            match (asked.path.contains("/metadata"), kind) {
                (false, _) => given,
                (true, "refuses") => Reply::status(500),
                (true, "lacks one") => offering(&held[1..], HIDDEN, asked),
                (true, "breaks off") => given.cut(900).ending(crate::rig::origin::End::Close),
                (true, "lies") => {
                    let text = String::from_utf8_lossy(&given.whole_body()).into_owned();
                    Reply::bytes(
                        "application/dicom+json",
                        text.replace(&held[0].series, "1.2.9"),
                    )
                }
                (true, _) => Reply::bytes("application/dicom+json", "{}"),
            }
        })
        .await;
        let path = format!("{}/metadata", case.study.series_path(0));
        let answer = case.get(&path, "application/dicom+json").await;
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
        assert!(answer.is_whole(), "{kind}");
        let document = answer.json();
        assert_eq!(document.as_array().map(Vec::len), Some(3), "{kind}");
        assert!(document[0].get("00204000").is_none(), "{kind}");
    }
}
