//! Refused requests between communities: their status and text.

use http::{Method, StatusCode};

use crate::rig::authority::Authority;
use crate::rig::origin::{Asked, End, Origin, Reply, honest};
use crate::rig::study::{Study, at, location_uid};
use crate::rig::tls_client::TlsClient;
use crate::rig::{AS_STORED, Answer, HERE, Registered, Rig, rad_160};

const THERE: &str = "1.3.6.1.4.1.99999.2";
const NOWHERE: &str = "1.3.6.1.4.1.99999.404";

/// A gateway of ours, another community's gateway that it asks, and the source of that one.
struct Two {
    here: Rig,
    there: Rig,
    source: Origin,
}

impl Two {
    /// Two gateways before a source that has nothing of ours.
    async fn before(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let source = Origin::start(script).await;
        let there = Rig::start_as(THERE, &source.location(20));
        let here = Rig::start(&community(THERE, &format!("http://{}", there.public)));
        Self {
            here,
            there,
            source,
        }
    }

    async fn of(study: &Study) -> Self {
        let held = study.instances();
        Self::before(move |asked| honest(&held, asked)).await
    }

    /// Asks for something of the other community, at both gateways.
    async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> [Answer; 2] {
        let path = rad_160(THERE, &location_uid(20), path);
        [
            self.there.get(&path, fields).await,
            self.here.get(&path, fields).await,
        ]
    }
}

fn community(id: &str, gateway: &str) -> String {
    format!(
        "[[community]]\nalias = \"of-{id}\"\nhome_community_id = \"{id}\"\ngateway_url = \"{gateway}/wado-rs/\"\n"
    )
}

/// What everybody can tell of an answer, but for what differs each time.
fn seen(answer: &Answer) -> (StatusCode, Vec<(String, String)>, bytes::Bytes) {
    let fields = answer.headers.iter();
    let fields = fields.map(|(name, value)| {
        let differs = ["date", "x-request-id"].contains(&name.as_str());
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (
            name.to_string(),
            if differs { String::new() } else { value },
        )
    });
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    (answer.status, fields, answer.body.clone())
}

#[tokio::test]
async fn whether_a_community_a_location_or_a_study_is_unknown_cannot_be_told() {
    let (study, other) = (Study::new(1).with(1, at(10)), Study::new(2));
    let source = Origin::of(&study).await;
    let two = Two::of(&study).await;
    let deaf = format!("[[community]]\nalias = \"deaf\"\nhome_community_id = \"{NOWHERE}\"\n");
    let communities = community(THERE, &format!("http://{}", two.there.public)) + &deaf;
    let on = Rig::start(&(communities.clone() + &source.location(10)));
    let off = "[xc_wado]\nresponding = false\ninitiating = false\n";
    let off = Rig::start(&(off.to_owned() + &communities + &source.location(10)));
    let known = rad_160(HERE, &location_uid(10), &study.path());
    let foreign = rad_160(THERE, &location_uid(20), &study.path());
    assert_eq!(on.get(&known, &[AS_STORED]).await.status, 200);
    assert_eq!(on.get(&foreign, &[AS_STORED]).await.status, 200);

    let expected = seen(
        &on.get(&rad_160("1.2.3", "1.2.3", "studies/1.2.3"), &[])
            .await,
    );
    assert_eq!(expected.0, StatusCode::NOT_FOUND);
    for (what, rig, path) in [
        ("location", &on, rad_160(HERE, "1.2.3", &study.path())),
        (
            "study",
            &on,
            rad_160(HERE, &location_uid(10), &other.path()),
        ),
        (
            "location there",
            &on,
            rad_160(THERE, "1.2.3", &study.path()),
        ),
        (
            "study there",
            &on,
            rad_160(THERE, &location_uid(20), &other.path()),
        ),
        ("gateway", &on, rad_160(NOWHERE, "1.2.3", &study.path())),
        (
            "community",
            &on,
            rad_160("1.2.3", &location_uid(10), &study.path()),
        ),
        ("responding role", &off, known.clone()),
        ("initiating role", &off, foreign.clone()),
    ] {
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(seen(&answer), expected, "{what}");
    }
    // Viewers still get what is ours, and nothing of the other community.
    let registered = format!("/manifests?homeCommunityId={THERE}&conflict=keep_first");
    for (location, expected) in [(10, 200), (20, 404)] {
        let study = Study::new(1).with(1, at(location));
        for (rig, expected) in [(&off, expected), (&on, 200)] {
            let manifest = rig.post(&registered, &[], study.fhir()).await;
            let root = Registered::of(&manifest).root;
            let path = format!("{root}{}", study.path());
            assert_eq!(rig.get(&path, &[AS_STORED]).await.status, expected);
        }
    }
}

#[tokio::test]
async fn a_partner_that_asks_for_a_third_community_cannot_tell_whether_it_is_known() {
    let study = Study::new(1).with(1, at(10));
    let (origin, authority) = (Origin::of(&study).await, Authority::new());
    let rig = Rig::start(&format!(
        "{}[[community]]\nalias = \"b\"\nhome_community_id = \"{THERE}\"\ncertificate_names = [\"b.example\"]\n{}{}",
        authority.issue("127.0.0.1").gateway_listen(&authority),
        community("1.2.3", "http://127.0.0.1:9"),
        origin.location(10)
    ));
    let shown = authority.issue("b.example");
    let address = rig.gateways.expect("a listener for partners");
    let client = TlsClient::new(address, &authority, Some(&shown));
    let ask = async |community: &str, location: &str, path: &str| {
        let path = rad_160(community, location, path);
        seen(&client.get(&path, &[AS_STORED]).await.expect("an answer"))
    };
    let expected = ask(NOWHERE, &location_uid(10), &study.path()).await;
    assert_eq!(expected.0, StatusCode::NOT_FOUND);
    assert_eq!(
        ask("1.2.3", &location_uid(10), &study.path()).await,
        expected
    );
    assert_eq!(ask(HERE, "1.2.3", &study.path()).await, expected);
    assert_eq!(
        ask(HERE, &location_uid(10), "studies/1.2.3").await,
        expected
    );
    assert_eq!(
        seen(&client.get("/metrics", &[]).await.expect("an answer")),
        expected
    );
}

#[tokio::test]
async fn other_methods_are_told_which_ones_there_are() {
    let study = Study::new(1).with(1, at(20));
    let two = Two::of(&study).await;
    for community in [THERE, HERE, NOWHERE] {
        let path = rad_160(community, &location_uid(20), &study.path());
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let body = bytes::Bytes::from_static(b"x");
            let answer = two.here.ask(method, &path, &[AS_STORED], body).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(answer.field("allow"), "GET, HEAD, OPTIONS");
            answer.problem();
        }
    }
    assert!(two.source.asked().is_empty());
}

#[tokio::test]
async fn head_says_over_both_hops_what_get_would() {
    let study = Study::new(1).with(2, at(20));
    let two = Two::of(&study).await;
    let path = rad_160(THERE, &location_uid(20), &study.path());
    let (get, head) = (
        two.here.get(&path, &[AS_STORED]).await,
        two.here.head(&path, &[AS_STORED]).await,
    );
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for name in ["content-location", "vary", "cache-control"] {
        assert_eq!(head.field(name), get.field(name));
    }
    assert!(
        head.field("content-type")
            .starts_with("multipart/related; ")
    );
    let missing = rad_160(THERE, &location_uid(20), "studies/1.2.3");
    assert_eq!(two.here.head(&missing, &[]).await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_given_as_it_is_wanted_is_not_acceptable() {
    let study = Study::new(1).with(1, at(20));
    let two = Two::of(&study).await;
    for accept in [
        "image/png",
        "application/dicom+json",
        "application/dicom",
        "*/*;q=0",
    ] {
        for answer in two.ask(&study.path(), &[("accept", accept)]).await {
            assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
            answer.problem();
        }
    }
    assert!(two.source.asked().is_empty());
}

#[tokio::test]
async fn what_the_source_says_of_the_request_is_said_over_both_hops() {
    for (status, expected) in [(404, 404), (406, 406), (410, 410), (413, 413)] {
        let two = Two::before(move |_asked| Reply::status(status)).await;
        for answer in two.ask("studies/1.2.3", &[AS_STORED]).await {
            assert_eq!(answer.status.as_u16(), expected);
            answer.problem();
        }
    }
}

#[tokio::test]
async fn what_the_source_calls_partial_is_partial_over_both_hops() {
    let study = Study::new(1).with(3, at(20));
    let held = study.instances();
    let two = Two::before(move |_asked| Reply::multipart(&held).with_status(206)).await;
    for answer in two.ask(&study.path(), &[AS_STORED]).await {
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        let warning = "299 xcwado \"some instances cannot be given\"";
        assert_eq!(answer.field("warning"), warning);
        assert_eq!(answer.instances(), study.bytes());
    }
}

#[tokio::test]
async fn when_to_ask_again_is_said_over_both_hops() {
    for status in [429, 503] {
        let busy = move |_asked: &Asked| Reply::status(status).with_field("Retry-After", "17");
        let two = Two::before(busy).await;
        for answer in two.ask("studies/1.2.3", &[AS_STORED]).await {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.field("retry-after"), "17");
        }
    }
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_or_does_not_speak_http_is_said_to_be_at_fault() {
    let nothing = |end: End| Reply {
        status: 0,
        body: Vec::new(),
        ..Reply::status(200).ending(end)
    };
    let silent = move |_asked: &Asked| nothing(End::Silence);
    let gone = move |_asked: &Asked| nothing(End::Reset);
    let rubbish = |_asked: &Asked| Reply::text(200, "text/html", "hello");
    let limits = "[community.http]\nconnect_seconds = 1\nfirst_byte_seconds = 1\n";
    for (gateway, expected) in [
        (Origin::start(silent).await, StatusCode::GATEWAY_TIMEOUT),
        (Origin::start(gone).await, StatusCode::BAD_GATEWAY),
        (Origin::start(rubbish).await, StatusCode::BAD_GATEWAY),
    ] {
        let url = format!("http://{}", gateway.address);
        let rig = Rig::start(&(community(THERE, &url) + limits));
        let path = rad_160(THERE, "1.2.3", "studies/1.2.3");
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, expected);
        answer.problem();
    }
}

#[tokio::test]
async fn what_is_not_in_the_grammar_is_refused_and_goes_nowhere() {
    let study = Study::new(1).with(1, at(20));
    let two = Two::of(&study).await;
    let uid = &study.uid;
    for path in [
        "homeCommunityId",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}//",
        "homeCommunityId/{h}/RetrieveLocationUID//studies/{s}",
        "homeCommunityId//RetrieveLocationUID/{r}/studies/{s}",
        "homeCommunityId/{h}.0{h}/RetrieveLocationUID/{r}/studies/{s}",
        "homeCommunityId/{h}./RetrieveLocationUID/{r}/studies/{s}",
        "homeCommunityId/{h}%00/RetrieveLocationUID/{r}/studies/{s}",
        "homeCommunityId/ACME/RetrieveLocationUID/{r}/studies/{s}",
        "homeCommunityId/{h}/RetrieveLocationUID/ACME/studies/{s}",
        "homeCommunityId/{h}/RetrieveLocationUID/../studies/{s}",
        "homeCommunityId/{h}/RetrieveLocationUID/%2e%2e/studies/{s}",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}%2F..%2F{r}/studies/{s}",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}%2F..%2F..",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}%252F..",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}%0d%0ahost:%20x",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/1..2",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/*",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies?StudyInstanceUID={s}",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}/series",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}/SERIES/1.2",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}/series/1.2/instances/x",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}/instances/1.2",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}/../../system",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/series/1.2",
        "homeCommunityId/{h}/studies/{s}",
        "homeCommunityId/{h}/studies/{s}?retrieveURL=hostname/DICOMweb-RS/",
        "RetrieveLocationUID/{r}/homeCommunityId/{h}/studies/{s}",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}?retrieveURL=a/&retrieveURL=a/",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}?retrieveURL=a/&retrieveurl=b/",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}?retrieveURL=a/&%72etrieveURL=",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}?retrieveURL=%ff",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}?x=%00",
        "homeCommunityId/{h}/RetrieveLocationUID/{r}/studies/{s}?retrieveURL=h/studies/1.2.9",
    ] {
        let path = path.replace("{s}", uid).replace("{r}", &location_uid(20));
        let path = format!("/wado-rs/{}", path.replace("{h}", THERE));
        for rig in [&two.here, &two.there] {
            let answer = rig.get(&path, &[AS_STORED]).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
            let detail = answer.problem();
            assert!(!detail.contains(uid), "{detail}");
        }
    }
    assert!(two.source.asked().is_empty());
}
