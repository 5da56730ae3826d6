//! `offers = "auto"`: a source shows what it offers when it is asked; what it refuses is derived.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::derived::case::{ANY_FRAME, PNG, png_size};
use crate::derived::offered::{HIDDEN, offering};
use crate::rig::origin::{Asked, End, Framing, Gate, Origin, Reply, honest};
use crate::rig::pixels::{native, study};
use crate::rig::study::{EXPLICIT, Instance, Study, at};
use crate::rig::{AS_STORED, Answer, Registered, Rig};

const JSON: (&str, &str) = ("accept", "application/dicom+json");
const JPEG: (&str, &str) = ("accept", "image/jpeg");
const LONG: Duration = Duration::from_secs(30);

/// A study of small images, and a gateway that finds out what their server offers.
struct Case {
    rig: Rig,
    origin: Origin,
    manifest: Registered,
    study: Study,
}

impl Case {
    async fn new(script: impl Fn(&[Instance], &Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::with("", script).await
    }

    async fn with(
        settings: &str,
        script: impl Fn(&[Instance], &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let study = images(4);
        let held = study.instances();
        let origin = Origin::start(move |asked| script(&held, asked)).await;
        let location = origin.location(10);
        let auto = location.replacen("alias", "offers = \"auto\"\nalias", 1);
        let rig = Rig::start(&format!("{settings}{auto}"));
        let manifest = rig.register(study.fhir()).await;
        Self {
            rig,
            origin,
            manifest,
            study,
        }
    }

    async fn get(&self, path: &str, accept: (&str, &str)) -> Answer {
        let path = format!("{}{path}", self.manifest.root);
        self.rig.get(&path, &[accept]).await
    }

    /// Something of the instance with this number.
    async fn of(&self, number: usize, rest: &str, accept: (&str, &str)) -> Answer {
        let path = self.study.instances()[number].path();
        let answer = self.get(&format!("{path}/{rest}"), accept).await;
        assert_eq!(answer.status, 200, "{rest}: {answer:?}");
        assert!(answer.is_whole(), "{rest}");
        answer
    }

    /// The requests whose paths contain this.
    fn asked(&self, part: &str) -> usize {
        let paths = self.origin.paths();
        paths.iter().filter(|path| path.contains(part)).count()
    }

    /// The requests for instances alone.
    fn instances_asked(&self) -> usize {
        let paths = self.origin.paths();
        let instances = self.study.instances();
        let is_one = |path: &&String| instances.iter().any(|one| path.ends_with(&one.path()));
        paths.iter().filter(is_one).count()
    }
}

/// A series of images of one frame, of 4 by 2 pixels.
fn images(count: usize) -> Study {
    study(&vec![(EXPLICIT, native(1, 8, &[1; 8])); count])
}

/// Frames as a correct server gives them.
fn frames(asked: &Asked) -> Reply {
    let list = asked.path.rsplit('/').next().unwrap_or_default();
    let parts = list.split(',').map(|number| {
        format!(
            "--b\r\nContent-Type: application/octet-stream; transfer-syntax={EXPLICIT}\r\n\
             Content-Location: http://canary/{number}\r\n\r\nFRAME {number} OF THE SOURCE\r\n"
        )
    });
    let body = format!("{}--b--", parts.collect::<String>());
    let media_type = r#"multipart/related; type="application/octet-stream"; boundary=b"#;
    Reply::bytes(media_type, body)
}

fn offering_everything(held: &[Instance], asked: &Asked) -> Reply {
    match asked.path.contains("/frames/") && !asked.path.contains("/rendered") {
        true => frames(asked),
        false => offering(held, HIDDEN, asked),
    }
}

#[tokio::test]
async fn what_a_source_gives_is_passed_through_without_a_setting() {
    let case = Case::new(offering_everything).await;
    let series = format!("{}/metadata", case.study.series_path(0));
    for _ in 0..2 {
        let answer = case.get(&series, JSON).await;
        let document = answer.json();
        assert_eq!(document.as_array().map(Vec::len), Some(4));
        assert_eq!(document[3]["00204000"]["Value"][0], "of the source");
        assert!(!answer.text().contains("canary"));
        assert!(!answer.text().contains(HIDDEN));
    }
    let frame = case.of(0, "frames/1", ANY_FRAME).await;
    assert_eq!(frame.parts()[0].bytes, "FRAME 1 OF THE SOURCE");
    assert!(!frame.text().contains("canary"));
    for (number, rest) in [(1, "rendered"), (2, "frames/1/rendered")] {
        let picture = case.of(number, rest, JPEG).await;
        assert_eq!(picture.body, "PICTURE OF THE SOURCE", "{rest}");
    }
    assert_eq!(case.instances_asked(), 0, "{:?}", case.origin.paths());
}

#[tokio::test]
async fn what_a_source_refuses_is_derived_and_not_asked_for_again() {
    let reply = |kind: &str| match kind {
        "hangs up" => Reply::status(0).ending(End::Close),
        "lies" => Reply::bytes("text/html", "<p>Log in</p>"),
        "is empty" => Reply::bytes("image/jpeg", ""),
        "has no end" => Reply::bytes("application/json", "[]").framed(Framing::UntilClose),
        status => Reply::status(status.parse().expect("a status")),
    };
    for kind in [
        "400",
        "401",
        "403",
        "404",
        "405",
        "406",
        "410",
        "415",
        "500",
        "501",
        "503",
        "hangs up",
        "lies",
        "is empty",
        "has no end",
    ] {
        let case = Case::new(move |held, asked| {
            let path = &asked.path;
            let is_more = ["/metadata", "/frames", "/rendered", "/thumbnail"];
            match is_more.iter().any(|more| path.contains(more)) {
                true => reply(kind),
                false => honest(held, asked),
            }
        })
        .await;
        let tries = if kind == "hangs up" { 2 } else { 1 };
        for number in 0..4 {
            let json = case.of(number, "metadata", JSON).await.json();
            assert!(json[0].get("00204000").is_none(), "{kind}");
            // Another instance each time: what is here is not asked for.
            let next = (number + 1) % 4;
            let picture = case.of(next, "rendered", PNG).await;
            assert_eq!(png_size(&picture.body), (4, 2), "{kind}");
        }
        for what in ["/metadata", "/rendered"] {
            assert_eq!(case.asked(what), tries, "{kind} {:?}", case.origin.paths());
        }
    }
}

#[tokio::test]
async fn a_picture_that_is_not_the_one_asked_for_is_not_given() {
    let case = Case::new(offering_everything).await;
    // The server gives JPEG whatever it is asked for.
    let picture = case.of(0, "rendered", PNG).await;
    assert_eq!(png_size(&picture.body), (4, 2));
    let case = Case::new(offering_everything).await;
    // Other servers read these in their own ways.
    for rest in ["rendered?viewport=2,2", "rendered?window=1,2,linear"] {
        let picture = case.of(0, rest, PNG).await;
        assert_eq!(&picture.body[1..4], b"PNG", "{rest}");
    }
    assert_eq!(case.asked("/rendered"), 0);
    // What is passed through has no ranges.
    let path = format!("{}/frames/1", case.study.instances()[1].path());
    let path = format!("{}{path}", case.manifest.root);
    let fields = [
        ("accept", "application/octet-stream"),
        ("range", "bytes=2-4"),
    ];
    let range = case.rig.get(&path, &fields).await;
    assert_eq!((range.status.as_u16(), &range.body[..]), (206, &[1; 3][..]));
    assert_eq!(case.asked("/frames/"), 0);
    // Frames without the name of a transfer syntax.
    let case = Case::new(|held, asked| offering(held, HIDDEN, asked)).await;
    let frame = case.of(0, "frames/1", ANY_FRAME).await;
    assert_eq!(frame.parts()[0].bytes, &[1; 8][..]);
}

#[tokio::test]
async fn a_source_that_gives_most_is_asked_again_after_a_refusal() {
    let case = Case::new(|held, asked| {
        let is_refused = ["1", "2"].map(|last| format!("{}.{last}/metadata", held[0].series));
        match is_refused.iter().any(|path| asked.path.ends_with(path)) {
            true => Reply::status(500),
            false => offering_everything(held, asked),
        }
    })
    .await;
    for (number, is_passed) in [(3, true), (0, false), (1, false), (2, true)] {
        let json = case.of(number, "metadata", JSON).await.json();
        assert_eq!(json[0].get("00204000").is_some(), is_passed, "{number}");
    }
    assert_eq!(case.asked("/metadata"), 4);
}

#[tokio::test]
async fn what_is_looked_at_again_is_fetched_and_kept() {
    let case = Case::new(offering_everything).await;
    let first = case.of(0, "frames/1", ANY_FRAME).await;
    assert_eq!(first.parts()[0].bytes, "FRAME 1 OF THE SOURCE");
    for _ in 0..2 {
        let again = case.of(0, "frames/1", ANY_FRAME).await;
        assert_eq!(again.parts()[0].bytes, &[1; 8][..]);
    }
    assert_eq!((case.instances_asked(), case.asked("/frames/1")), (1, 1));
    // What is here is nearer than the source.
    let other = case.study.instances()[1].path();
    assert_eq!(case.get(&other, AS_STORED).await.status, 200);
    let frame = case.of(1, "frames/1", ANY_FRAME).await;
    assert_eq!(frame.parts()[0].bytes, &[1; 8][..]);
    assert_eq!(case.asked("/frames/1"), 1);
}

#[tokio::test]
async fn the_series_follows_what_was_passed_through() {
    let settings = "[cache]\nlook_ahead = \"first_request\"\n";
    let case = Case::with(settings, offering_everything).await;
    let picture = case.of(0, "rendered", JPEG).await;
    assert_eq!(picture.body, "PICTURE OF THE SOURCE");
    let entries = r#"xcwado_cache_entries{tier="memory"}"#;
    let are_kept = async {
        while case.rig.metric(entries).await < 4.0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, are_kept).await.expect("they are kept");
    for number in 0..4 {
        case.of(number, "rendered", JPEG).await;
    }
    assert_eq!((case.asked("/rendered"), case.origin.asked().len()), (1, 2));
}

/// The thumbnail of a series is that of the instance in its middle.
#[tokio::test]
async fn a_thumbnail_of_a_series_comes_as_one_picture() {
    let case = Case::new(|held, asked| match asked.path.contains("/thumbnail") {
        true => Reply::bytes("image/jpeg", "THUMBNAIL OF THE SOURCE"),
        false => honest(held, asked),
    })
    .await;
    for path in [case.study.series_path(0), case.study.path()] {
        let answer = case.get(&format!("{path}/thumbnail"), JPEG).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let middle = &case.study.instances()[2];
        let asked = case.asked(&format!("{}/thumbnail", middle.path()));
        assert_eq!(asked, 1, "{:?}", case.origin.paths());
    }
}

/// Series whose sources describe them cost no instances, whatever the others do.
#[tokio::test]
async fn metadata_of_a_study_come_from_sources_that_offer_them_and_from_instances() {
    let study = Study::new(3)
        .with(3, at(10))
        .with(2, at(11))
        .with(2, at(12));
    let held = study.instances();
    let offering = Origin::start(move |asked| offering_everything(&held, asked)).await;
    let plain = Origin::of(&study).await;
    let auto = |origin: &Origin, last| {
        let location = origin.location(last);
        location.replacen("alias", "offers = \"auto\"\nalias", 1)
    };
    let rig = Rig::start(&format!("{}{}", auto(&offering, 10), auto(&plain, 11)));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}/metadata", study.path());
    for _ in 0..2 {
        let answer = rig.get(&path, &[JSON]).await;
        // The third series has no source.
        assert_eq!(answer.status, 206, "{answer:?}");
        assert!(answer.field("warning").contains("2 of 7"), "{answer:?}");
        let all = answer.json();
        let all = all.as_array().expect("instances");
        let passed = all.iter().filter(|one| one.get("00204000").is_some());
        assert_eq!((all.len(), passed.count()), (5, 3));
    }
    let is_metadata = |path: &String| path.contains("/metadata");
    assert!(offering.paths().iter().all(is_metadata));
    assert_eq!(
        plain
            .paths()
            .iter()
            .filter(|path| is_metadata(path))
            .count(),
        1
    );
}

/// Requests at the same time cost one try: the others do not wait for what it shows.
#[tokio::test]
async fn requests_at_the_same_time_cost_one_try() {
    let gate = Gate::new();
    let shut = gate.clone();
    let case = Case::new(move |held, asked| match asked.path.contains("/rendered") {
        true => Reply::bytes("text/html", "<p>Log in</p>").held_at(0, &shut),
        false => honest(held, asked),
    })
    .await;
    let first = case.of(0, "rendered", PNG);
    let others = async {
        while case.asked("/rendered") == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        for number in 1..4 {
            let picture = case.of(number, "rendered", PNG).await;
            assert_eq!(png_size(&picture.body), (4, 2));
        }
        gate.open();
    };
    let both = async { tokio::join!(first, others) };
    let (picture, ()) = timeout(LONG, both).await.expect("nothing waits");
    assert_eq!(png_size(&picture.body), (4, 2));
    assert_eq!(case.asked("/rendered"), 1);
}
