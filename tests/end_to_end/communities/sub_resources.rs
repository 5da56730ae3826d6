//! Resources other than instances between communities: passed through only where settings allow it,
//! without links to the source.

use serde_json::{Value, json};

use crate::rig::origin::{Asked, Framing, Origin, Reply};
use crate::rig::study::{Study, at, location_uid};
use crate::rig::{Answer, End, HERE, Rig, rad_160};

const THERE: &str = "1.3.6.1.4.1.99999.2";
const FRAMES: &str = r#"multipart/related; type="application/octet-stream""#;

/// A location that offers everything.
fn offering(origin: &Origin) -> String {
    let everything = r#"offers = ["instances", "metadata", "rendered", "frames", "bulkdata"]"#;
    let location = origin.location(10);
    location.replacen("alias", &format!("{everything}\nalias"), 1)
}

/// What a server under `root` says of an instance.
fn metadata(root: &str, study: &Study) -> Value {
    let instance = format!("{root}{}", study.instances()[0].path());
    json!([{
        "00081190": { "vr": "UR", "Value": [instance] },
        "00100010": { "vr": "PN", "Value": [{ "Alphabetic": root }] },
        "00091010": { "vr": "UN", "BulkDataURI": "https://elsewhere.example/canary/1" },
        "7FE00010": { "vr": "OW", "BulkDataURI": format!("{instance}/bulkdata/a%20b?x=1") },
    }])
}

/// A server whose metadata has links, and whose bulk data are where they lead.
async fn server(study: &Study) -> Origin {
    let study = study.clone();
    Origin::start(move |asked| {
        let root = format!("http://{}/rs/", asked.field("host"));
        match asked.path.rsplit('/').next() {
            Some("metadata") => Reply::bytes(
                "application/dicom+json",
                metadata(&root, &study).to_string(),
            ),
            Some("a%20b" | "a%20b?x=1") => Reply::bytes("application/octet-stream", "PIXELS"),
            _ => Reply::status(404),
        }
        .with_field("Content-Location", &format!("{root}canary"))
        .with_field("Set-Cookie", "canary=1")
    })
    .await
}

fn here(study: &Study, rest: &str) -> String {
    let path = study.instances()[0].path();
    rad_160(HERE, &location_uid(10), &format!("{path}/{rest}"))
}

async fn one(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static, rest: &str) -> Answer {
    let study = Study::new(1).with(1, at(10));
    let origin = Origin::start(script).await;
    let rig = Rig::start(&offering(&origin));
    rig.get(&here(&study, rest), &[]).await
}

#[tokio::test]
async fn links_in_metadata_lead_through_both_gateways() {
    let study = Study::new(1).with(1, at(10));
    let origin = server(&study).await;
    let responding = Rig::start_as(THERE, &offering(&origin));
    let initiating = Rig::start(&format!(
        "[[community]]\nhome_community_id = \"{THERE}\"\ngateway_url = \"http://{}/wado-rs/\"\n\
         offers = [\"instances\", \"metadata\", \"bulkdata\"]\n",
        responding.public,
    ));
    let instance = study.instances()[0].path();
    let path = rad_160(THERE, &location_uid(10), &instance);
    let answer = initiating.get(&format!("{path}/metadata"), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), "application/dicom+json");
    let ours = format!("http://{}{path}", initiating.public);
    assert_eq!(answer.field("content-location"), format!("{ours}/metadata"));
    let document = &answer.json()[0];
    assert_eq!(document["00081190"]["Value"][0], ours);
    let link = document["7FE00010"]["BulkDataURI"]
        .as_str()
        .expect("a link");
    assert_eq!(link, format!("{ours}/bulkdata/a%20b?x=1"));
    assert_eq!(document["00091010"]["BulkDataURI"], "about:blank");
    // What is no link is no business of ours.
    assert_eq!(
        document["00100010"],
        metadata(&origin.url(), &study)[0]["00100010"]
    );
    assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
    let bulk = link.strip_prefix(&format!("http://{}", initiating.public));
    let bulk = initiating.get(bulk.expect("a path"), &[]).await;
    assert_eq!(
        (bulk.status.as_u16(), bulk.text().as_str()),
        (200, "PIXELS")
    );
}

/// An explicit list is obeyed: the source is asked for instances only, and has none.
#[tokio::test]
async fn what_is_not_offered_is_not_asked_for() {
    let study = Study::new(1).with(1, at(10));
    let origin = server(&study).await;
    let rig = Rig::start(&origin.location(10));
    for rest in [
        "metadata",
        "rendered",
        "thumbnail",
        "frames/1",
        "frames/1/rendered",
        "bulkdata/x",
        "pixeldata",
    ] {
        let answer = rig.get(&here(&study, rest), &[]).await;
        assert_eq!(answer.status, 404, "{rest}");
        assert_eq!(answer.problem(), "the resource does not exist", "{rest}");
    }
    let instance = format!("/rs/{}", study.instances()[0].path());
    assert!(origin.paths().iter().all(|path| *path == instance));
}

#[tokio::test]
async fn a_source_is_asked_in_our_own_words() {
    let study = Study::new(1).with(1, at(10));
    let origin = Origin::start(|_| Reply::bytes("image/jpeg", "JPEG")).await;
    let rig = Rig::start(&offering(&origin));
    let path = here(
        &study,
        "rendered?VIEWPORT=1%2C2&evil=1&window=40%2C400%2Clinear&retrieveURL=https://x.example/",
    );
    let fields = [
        ("accept", "image/png;q=0.5 , image/jpeg"),
        ("authorization", "Bearer secret"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"x\""),
    ];
    let answer = rig.get(&path, &fields).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "JPEG")
    );
    assert_eq!(answer.field("content-type"), "image/jpeg");
    assert_eq!(answer.field("content-length"), "4");
    assert!(answer.field("content-security-policy").contains("sandbox"));
    let asked = &origin.asked()[0];
    let instance = study.instances()[0].path();
    assert_eq!(
        asked.path,
        format!("/rs/{instance}/rendered?viewport=1,2&window=40,400,linear")
    );
    assert_eq!(asked.field("accept"), "image/png; q=0.5, image/jpeg");
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
}

#[tokio::test]
async fn frames_come_in_parts_of_our_own() {
    let answer = one(
        |asked| {
            let location = format!("http://{}/rs/studies/1.2/frames", asked.field("host"));
            let part = |at: usize| {
                format!(
                    "--b\r\nX-Canary: {at}\r\nContent-Location: {location}/{at}\r\n\
                     Content-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\r\n\r\nframe {at}\r\n"
                )
            };
            let foreign = "--b\r\nContent-Location: http://canary.example/\r\n\r\nlast\r\n";
            let body = format!("{}{}{foreign}--b--", part(1), part(2));
            Reply::bytes(&format!("{FRAMES}; boundary=b"), body)
        },
        "frames/1,2,3",
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let parts = answer.parts();
    let texts: Vec<_> = parts.iter().map(|part| &part.bytes[..]).collect();
    assert_eq!(texts, [&b"frame 1"[..], b"frame 2", b"last"]);
    let location = parts[0].head.content_location().expect("a location");
    assert!(location.contains("/wado-rs/homeCommunityId/"), "{location}");
    assert!(location.ends_with("/studies/1.2/frames/1"), "{location}");
    let syntax = parts[1].head.content_type().expect("a type");
    assert!(
        syntax.contains("transfer-syntax=1.2.840.10008.1.2.1"),
        "{syntax}"
    );
    assert_eq!(parts[2].head.content_location(), None);
    assert!(!answer.text().to_lowercase().contains("canary"));
}

#[tokio::test]
async fn what_makes_no_sense_is_a_bad_gateway() {
    let script = |reply: fn() -> Reply| move |_: &Asked| reply();
    for (rest, reply) in [
        (
            "metadata",
            (|| Reply::text(200, "text/html", "<p>")) as fn() -> Reply,
        ),
        ("metadata", || Reply::bytes("application/dicom+xml", "<x/>")),
        ("frames/1", || Reply::bytes("application/x-canary", "x")),
        ("frames/1", || Reply::bytes(FRAMES, "x")),
        ("rendered", || {
            Reply::bytes("image/jpeg", "x").with_field("Content-Encoding", "gzip")
        }),
        ("rendered", || {
            Reply::bytes("image/jpeg", "x").framed(Framing::UntilClose)
        }),
        ("rendered", || {
            Reply::status(302).with_field("Location", "http://127.0.0.1:1/")
        }),
        ("rendered", || Reply::status(500)),
        ("rendered", || Reply::status(401)),
    ] {
        let answer = one(script(reply), rest).await;
        assert_eq!(answer.status, 502, "{rest} {answer:?}");
        answer.problem();
    }
}

#[tokio::test]
async fn what_a_source_says_of_the_question_is_told() {
    for status in [400, 404, 406, 410, 413, 503] {
        let answer = one(move |_| Reply::status(status), "rendered").await;
        assert_eq!(answer.status, status);
        answer.problem();
    }
}

#[tokio::test]
async fn what_breaks_off_ends_uncleanly() {
    let json = r#"[{"00100010":{"vr":"PN"}}]"#;
    for rest in ["metadata", "frames/1", "rendered"] {
        let reply = move |_: &Asked| match rest {
            "metadata" => Reply::bytes("application/dicom+json", json).cut(9),
            "frames/1" => Reply::bytes(&format!("{FRAMES}; boundary=b"), "--b\r\n\r\nframe"),
            _ => Reply::bytes("image/jpeg", "JPEG").cut(2),
        };
        let answer = one(reply, rest).await;
        assert_eq!(answer.status, 200, "{rest}");
        assert_ne!(answer.end, End::Whole, "{rest}");
    }
    let no_json = one(|_| Reply::bytes("application/json", "[{]"), "metadata").await;
    assert_ne!(no_json.end, End::Whole);
}

#[tokio::test]
async fn metadata_comes_as_json_or_not_at_all() {
    let study = Study::new(1).with(1, at(10));
    let origin = server(&study).await;
    let rig = Rig::start(&offering(&origin));
    let path = here(&study, "metadata");
    for accept in ["application/dicom+json", "application/json, x/y", "*/*", ""] {
        let answer = rig.get(&path, &[("accept", accept)]).await;
        assert_eq!(answer.status, 200, "{accept}");
    }
    let xml = r#"multipart/related; type="application/dicom+xml""#;
    assert_eq!(rig.get(&path, &[("accept", xml)]).await.status, 406);
    let query = format!("{path}?accept=application/dicom%2Bjson");
    let by_query = rig.get(&query, &[("accept", xml)]).await;
    assert_eq!(by_query.status, 200);
}
