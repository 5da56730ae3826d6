//! Sources that misbehave: a client gets correct bytes or a clear failure.

use bytes::Bytes;

use crate::rig::origin::{
    Asked, BOUNDARY, End, Framing, Origin, Reply, honest, join, multipart_type,
};
use crate::rig::study::{EXPLICIT, Instance, Study, at};
use crate::rig::{AS_STORED, Answer, Rig};

/// One series of three instances, at one origin.
fn study() -> Study {
    Study::new(5).with(3, at(10))
}

/// An origin that spoils its answers to series and behaves when asked for single instances.
async fn spoilt(spoil: impl Fn(Vec<Instance>) -> Reply + Send + Sync + 'static) -> Case {
    scripted(move |held, asked| {
        if asked.is_instance() {
            honest(held, asked)
        } else {
            spoil(held.to_vec())
        }
    })
    .await
}

/// An origin that gives the same answer to everything.
async fn always(reply: Reply) -> Case {
    scripted(move |_held, _asked| reply.clone()).await
}

async fn scripted(script: impl Fn(&[Instance], &Asked) -> Reply + Send + Sync + 'static) -> Case {
    let held = study().instances();
    let origin = Origin::start(move |asked| script(&held, asked)).await;
    let rig =
        Rig::start(&origin.location_with(10, "first_byte_seconds = 20\nsilence_seconds = 20"));
    Case::ask(rig, origin).await
}

struct Case {
    rig: Rig,
    origin: Origin,
    root: String,
    answer: Answer,
}

impl Case {
    async fn ask(rig: Rig, origin: Origin) -> Self {
        let root = rig.register(study().fhir()).await.root;
        let answer = rig
            .get(&format!("{root}{}", study().path()), &[AS_STORED])
            .await;
        let case = Self {
            rig,
            origin,
            root,
            answer,
        };
        case.check_bytes();
        case
    }

    async fn again(&self) -> Answer {
        let path = format!("{}{}", self.root, study().path());
        self.rig.get(&path, &[AS_STORED]).await
    }

    /// Whatever happens: every part that came is a selected instance, unspoilt, and came once.
    fn check_bytes(&self) {
        if self.answer.status.is_success() {
            let (parts, is_closed) = self.answer.split();
            let mut left = study().bytes();
            for part in parts {
                let at = left.iter().position(|bytes| *bytes == part.bytes);
                left.remove(at.expect("a selected instance, once"));
            }
            assert_eq!(
                is_closed,
                self.answer.is_whole(),
                "HTTP and multipart agree"
            );
        } else {
            assert!(self.answer.is_whole());
            let problem = self.answer.text();
            self.answer.problem();
            for secret in [
                self.origin.address.port().to_string(),
                study().uid,
                "/rs".into(),
            ] {
                assert!(!problem.contains(&secret), "{secret} in {problem}");
            }
        }
    }

    fn is_whole(&self) {
        assert_eq!(self.answer.status, 200, "{:?}", self.answer);
        assert_eq!(self.answer.instances(), study().bytes());
    }

    fn breaks_off(&self) {
        assert_eq!(self.answer.status, 200, "{:?}", self.answer);
        assert!(!self.answer.is_whole(), "it looks whole");
    }

    fn fails_with(&self, status: u16) {
        assert_eq!(self.answer.status, status, "{:?}", self.answer);
    }

    async fn dropped(&self, why: &str) -> f64 {
        let labels = format!("{{location=\"origin-10\",outcome=\"{why}\"}}");
        self.rig
            .metric(&format!("xcwado_dropped_instances_total{labels}"))
            .await
    }
}

/// The instance that the n-th one of the study would be elsewhere.
fn stranger(study: &str, series: &str, uid: &str) -> Instance {
    Instance::new([study, series, uid], EXPLICIT, 2000)
}

#[tokio::test]
async fn a_good_answer_is_passed_on_however_http_frames_it() {
    for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
        let case = spoilt(move |held| Reply::multipart(&held).framed(framing)).await;
        case.is_whole();
        assert_eq!(case.origin.asked().len(), 1, "{framing:?}");
    }
}

#[tokio::test]
async fn the_order_of_the_source_does_not_matter() {
    spoilt(|held| Reply::multipart(held.iter().rev()))
        .await
        .is_whole();
}

#[tokio::test]
async fn a_single_part_is_taken_and_the_others_are_asked_for() {
    let case = spoilt(|held| Reply::bytes("application/dicom", held[1].bytes.clone())).await;
    case.is_whole();
    assert_eq!(
        case.origin.asked().len(),
        3,
        "the series, and two instances"
    );
}

#[tokio::test]
async fn a_single_part_that_does_not_say_where_it_ends_is_refused() {
    let reply = |held: Vec<Instance>| {
        Reply::bytes("application/dicom", held[1].bytes.clone()).framed(Framing::UntilClose)
    };
    spoilt(reply).await.fails_with(502);
}

#[tokio::test]
async fn instances_beyond_the_selection_are_dropped_and_counted() {
    let case = spoilt(|held| {
        let extra = stranger(&held[0].study, &held[0].series, "2.25.700.5.1.99");
        let foreign = stranger("2.25.701", "2.25.701.1", "2.25.701.1.1");
        Reply::multipart([&extra, &held[0], &foreign, &held[1], &held[2], &extra])
    })
    .await;
    case.is_whole();
    assert_eq!(case.dropped("not_selected").await, 3.0);
}

#[tokio::test]
async fn duplicates_are_dropped_and_counted() {
    let case = spoilt(|held| Reply::multipart(held.iter().chain(&held))).await;
    case.is_whole();
    assert_eq!(case.dropped("duplicate").await, 3.0);
}

#[tokio::test]
async fn a_wrong_instance_in_place_is_replaced_by_the_right_one() {
    let case = spoilt(|held| {
        let other = stranger(&held[0].study, &held[0].series, "2.25.700.5.1.99");
        Reply::multipart([&held[0], &other, &held[2]])
    })
    .await;
    case.is_whole();
    let paths = case.origin.paths();
    assert_eq!(
        paths[1..],
        [format!("/rs/{}", study().instances()[1].path())]
    );
}

#[tokio::test]
async fn a_selected_uid_in_another_study_or_series_is_not_what_is_selected() {
    for at_study in [true, false] {
        let case = scripted(move |held, _asked| {
            let [right, _, _] = held else {
                unreachable!("three")
            };
            let uids = match at_study {
                true => ["2.25.701", right.series.as_str()],
                false => [right.study.as_str(), "2.25.701.1"],
            };
            let spoilt: Vec<_> = held
                .iter()
                .map(|i| stranger(uids[0], uids[1], &i.uid))
                .collect();
            Reply::multipart(&spoilt)
        })
        .await;
        case.fails_with(502);
        assert!(case.dropped("not_selected").await >= 3.0);
    }
}

#[tokio::test]
async fn a_wrong_instance_that_nothing_replaces_ends_the_answer_uncleanly() {
    let case = scripted(|held, asked| {
        let other = stranger(&held[0].study, &held[0].series, "2.25.700.5.1.99");
        if asked.is_instance() {
            Reply::multipart([&other])
        } else {
            Reply::multipart([&held[0], &other, &held[2]])
        }
    })
    .await;
    case.breaks_off();
    // What follows the last part that came would say that it is whole.
    assert_eq!(case.answer.split().0.len(), 1);
}

#[tokio::test]
async fn an_instance_that_is_missing_is_said_so_from_the_second_answer_on() {
    let case = scripted(|held, asked| honest(&held[..2], asked)).await;
    case.breaks_off();
    let again = case.again().await;
    assert_eq!(again.status, 206);
    assert_eq!(
        again.field("warning"),
        "299 xcwado \"1 of 3 instances cannot be given\""
    );
    let mut there = study().instances();
    there.pop();
    let there = crate::rig::sorted(there.into_iter().map(|instance| instance.bytes));
    assert_eq!(again.instances(), there);
    let alone = format!("{}{}", case.root, study().instances()[2].path());
    assert_eq!(case.rig.get(&alone, &[AS_STORED]).await.status, 404);
}

#[tokio::test]
async fn an_answer_whose_parts_cannot_be_told_apart_is_a_bad_gateway() {
    for media_type in [
        "multipart/related; type=\"application/dicom\"",
        "multipart/related; type=\"application/dicom\"; boundary=\"\"",
        "multipart/related; type=\"application/dicom\"; boundary=another",
        "multipart/related; boundary=\"a\u{7f}b\"",
        "multipart/mixed; boundary=x",
        "application/octet-stream",
        "nonsense",
        "",
    ] {
        let reply = Reply::multipart(&study().instances()).with_type(media_type);
        always(reply).await.fails_with(502);
    }
    let mut untyped = Reply::multipart(&study().instances());
    untyped.fields.clear();
    always(untyped).await.fails_with(502);
}

/// Every way in which a body can end too early.
fn cut_off(reply: &Reply, length: usize) -> Vec<Reply> {
    let cut = |framing| reply.clone().framed(framing).cut(length);
    vec![
        cut(Framing::UntilClose).ending(End::Close),
        cut(Framing::Chunked).ending(End::Close),
        // The last chunk is there, the closing boundary is not.
        cut(Framing::Chunked),
        cut(Framing::Length).ending(End::Close),
        cut(Framing::Chunked).ending(End::Reset),
    ]
}

#[tokio::test]
async fn an_answer_that_is_cut_ends_uncleanly() {
    let held = study().instances();
    let whole = Reply::multipart(&held);
    let head = whole.whole_body().len() - study().bytes().iter().map(Bytes::len).sum::<usize>();
    let first = held[0].bytes.len();
    for at in [
        // In the middle of the first, of the second, and of the last part.
        head / 4 + first / 2 + 200,
        first + head / 2 + 500,
        whole.whole_body().len() - 100,
        // Between two parts, and in the closing boundary.
        first + 95,
        whole.whole_body().len() - 5,
    ] {
        for reply in cut_off(&whole, at) {
            let how = format!("{at}, {:?}, {:?}", reply.framing, reply.end);
            let case = always(reply).await;
            assert_eq!(case.answer.status, 200, "{how}");
            assert!(!case.answer.is_whole(), "{how}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_before_anything_was_promised_is_repaired() {
    let whole = Reply::multipart(&study().instances());
    for at in [0, 3, 60, 130, 300] {
        for reply in cut_off(&whole, at) {
            spoilt(move |_held| reply.clone()).await.is_whole();
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_before_its_first_instance_is_a_bad_gateway() {
    let whole = Reply::multipart(&study().instances());
    for reply in cut_off(&whole, 130) {
        always(reply).await.fails_with(502);
    }
}

#[tokio::test]
async fn silence_in_the_middle_ends_the_answer_uncleanly() {
    let held = study().instances();
    let origin = Origin::start(move |_asked| {
        Reply::multipart(&held)
            .framed(Framing::Chunked)
            .cut(4000)
            .ending(End::Silence)
    })
    .await;
    let rig = Rig::start(&origin.location_with(10, "silence_seconds = 1"));
    let case = Case::ask(rig, origin).await;
    case.breaks_off();
    case.origin.left().await;
}

#[tokio::test]
async fn silence_instead_of_an_answer_is_a_gateway_timeout() {
    // Before its head, and between its head and its first byte.
    for is_before_head in [true, false] {
        let origin = Origin::start(move |_asked| {
            let mut reply = Reply::multipart(&study().instances())
                .framed(Framing::Chunked)
                .cut(0)
                .ending(End::Silence);
            if is_before_head {
                reply.status = 0;
            }
            reply
        })
        .await;
        let http = "connect_seconds = 1\nfirst_byte_seconds = 1\nsilence_seconds = 1";
        let rig = Rig::start(&origin.location_with(10, http));
        let case = Case::ask(rig, origin).await;
        case.fails_with(504);
        case.origin.left().await;
    }
}

#[tokio::test]
async fn a_status_of_the_source_becomes_one_of_the_gateway() {
    for (theirs, ours) in [
        (400, 502),
        (401, 502),
        (403, 502),
        (404, 404),
        (406, 406),
        (410, 410),
        (500, 502),
        (501, 502),
        (502, 502),
        (504, 502),
        (204, 502),
        (999, 502),
    ] {
        let case = always(Reply::status(theirs)).await;
        case.fails_with(ours);
        for secret in ["WWW-Authenticate", "Whatever"] {
            assert!(!case.answer.headers.contains_key(secret), "{theirs}");
        }
    }
}

#[tokio::test]
async fn an_overloaded_source_says_when_to_come_back() {
    for status in [429, 503] {
        let case = always(Reply::status(status).with_field("Retry-After", "17")).await;
        case.fails_with(503);
        assert_eq!(case.answer.field("retry-after"), "17");
        assert_eq!(
            case.origin.asked().len(),
            1,
            "it is not asked again at once"
        );
    }
    let case = always(Reply::status(503).with_field("Retry-After", "Fri, 31 Dec 1999")).await;
    case.fails_with(503);
    assert_ne!(case.answer.field("retry-after"), "");
}

#[tokio::test]
async fn a_page_instead_of_images_is_a_bad_gateway() {
    let page = "<html><body>Please log in</body></html>";
    let case = always(Reply::text(200, "text/html", page)).await;
    case.fails_with(502);
    assert!(!case.answer.text().contains("html"));
    // One that claims to be images.
    always(Reply::text(200, "application/dicom", page))
        .await
        .fails_with(502);
    always(Reply::text(200, &multipart_type(BOUNDARY), page))
        .await
        .fails_with(502);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let canary = Origin::of(&study()).await;
        let location = format!("{}{}", canary.url(), study().path());
        let case = always(Reply::status(status).with_field("Location", &location)).await;
        case.fails_with(502);
        assert_eq!(canary.connections(), 0, "{status}");
        assert_eq!(case.answer.field("location"), "");
    }
}

#[tokio::test]
async fn empty_parts_and_parts_that_are_no_instances_are_dropped() {
    let case = spoilt(|held| {
        let text = Bytes::from_static(b"this is no DICOM file, however long it is read");
        let parts = [
            Bytes::new(),
            text,
            held[0].bytes.slice(..200),
            held[2].bytes.clone(),
        ];
        Reply::bytes(&multipart_type(BOUNDARY), join(&parts))
    })
    .await;
    case.is_whole();
    assert_eq!(case.dropped("unidentified").await, 3.0);
}

#[tokio::test]
async fn ten_thousand_tiny_parts_are_got_over() {
    let case = spoilt(|held| {
        let tiny = Bytes::from_static(b"x");
        let tiny = std::iter::repeat_n(&tiny, 10_000);
        let parts = tiny.chain(held.iter().map(|instance| &instance.bytes));
        Reply::bytes(&multipart_type(BOUNDARY), join(parts))
    })
    .await;
    case.is_whole();
    assert_eq!(case.dropped("unidentified").await, 10_000.0);
}

#[tokio::test]
async fn an_answer_without_any_instance_is_no_study() {
    let nothing = format!("--{BOUNDARY}--\r\n");
    let case = always(Reply::text(200, &multipart_type(BOUNDARY), &nothing)).await;
    assert!(!case.answer.status.is_success(), "{:?}", case.answer);
    let case = always(Reply::text(200, &multipart_type(BOUNDARY), "")).await;
    case.fails_with(502);
}

#[tokio::test]
async fn an_encoding_that_was_not_asked_for_is_a_bad_gateway() {
    let body = Reply::multipart(&study().instances()).whole_body();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &body).expect("memory");
    let body = encoder.finish().expect("memory");
    let reply =
        Reply::bytes(&multipart_type(BOUNDARY), body).with_field("Content-Encoding", "gzip");
    let case = always(reply).await;
    case.fails_with(502);
    assert_eq!(case.origin.asked()[0].field("accept-encoding"), "");
}

#[tokio::test]
async fn a_giant_head_is_a_bad_gateway() {
    let held = study().instances();
    let long = Reply::multipart(&held).with_field("X-Long", &"x".repeat(1 << 20));
    always(long).await.fails_with(502);
    let mut many = Reply::multipart(&held);
    many.fields
        .extend((0..500).map(|n| (format!("X-{n}"), "x".into())));
    always(many).await.fails_with(502);
    let part = format!("--{BOUNDARY}\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    always(Reply::text(200, &multipart_type(BOUNDARY), &part))
        .await
        .fails_with(502);
}

#[tokio::test]
async fn a_source_that_nobody_listens_at_is_a_bad_gateway() {
    let origin = Origin::of(&study()).await;
    let location = origin.location(10);
    let address = origin.address;
    drop(origin);
    // The port is free once the listener is gone.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let rig = Rig::start(&location);
    let root = rig.register(study().fhir()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study().path()), &[AS_STORED])
        .await;
    assert_eq!(answer.status, 502);
    assert!(!answer.text().contains(&address.port().to_string()));
}

#[tokio::test]
async fn a_connection_that_the_source_closed_meanwhile_is_replaced() {
    // It is kept after the first answer and closed without a word before the second.
    let held = study().instances();
    let origin = Origin::start(move |asked| honest(&held, asked).ending(End::Close)).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study().fhir()).await.root;
    for _ in 0..5 {
        let answer = rig
            .get(&format!("{root}{}", study().path()), &[AS_STORED])
            .await;
        assert_eq!(answer.instances(), study().bytes());
    }
}

#[tokio::test]
async fn over_http2_an_answer_that_breaks_off_is_reset() {
    let whole = Reply::multipart(&study().instances());
    let case = always(whole.framed(Framing::UntilClose).cut(4000)).await;
    let path = format!("{}{}", case.root, study().path());
    let answer = case.rig.get_over_http2(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.end,
        crate::rig::End::BrokeOff(crate::rig::Broken::StreamReset)
    );
    assert_eq!(
        case.answer.end,
        crate::rig::End::BrokeOff(crate::rig::Broken::ConnectionClosed)
    );
}

#[tokio::test]
async fn a_source_that_stops_in_the_middle_of_the_last_instance_is_noticed_by_a_single_answer() {
    let held = study().instances();
    let origin = Origin::start(move |_asked| {
        Reply::bytes("application/dicom", held[0].bytes.clone())
            .cut(2000)
            .ending(End::Close)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study().fhir()).await.root;
    let path = format!("{root}{}", study().instances()[0].path());
    let accept = ("accept", "application/dicom; transfer-syntax=*");
    let answer = rig.get(&path, &[accept]).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.is_whole());
}
