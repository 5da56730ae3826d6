//! RAD-160 over two gateways: the request of each hop, down to its request line and header fields.

use crate::rig::authority::{Authority, with_tls};
use crate::rig::detour::Detour;
use crate::rig::origin::{Asked, Origin, honest_below};
use crate::rig::study::{Study, at};
use crate::rig::{AS_STORED, Rig};

/// The example of IHE MADO Appendix XA: both communities, the location and the study.
const INITIATING: &str = "1.2.3.4";
const RESPONDING: &str = "5.6.7.8";
const LOCATION: &str = "1.2.840.9.10.11.12";
const STUDY: &str = "1.2.840.113619.2.207.28521.42888.1640475282.450";

/// What the two gateways call themselves: digits of the SHA-256 of their homeCommunityIds.
const VIA_INITIATING: &str = "1.1 xcwado-6694f83c9f476da3";
const VIA_RESPONDING: &str = "1.1 xcwado-0a29e59e77d5d507";

const AGENT: &str = concat!("xcwado/", env!("CARGO_PKG_VERSION"));
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const REQUEST_ID: &str = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

/// The way from a viewer through both gateways to a source, without encryption, so that every hop
/// can be looked at.
struct Way {
    study: Study,
    initiating: Rig,
    between: Detour,
    _responding: Rig,
    source: Origin,
}

impl Way {
    /// A way to a source at `root`, which `location` tells the responding gateway of.
    async fn to(root: &'static str, location: &str, community: &str) -> Self {
        let study = Study {
            uid: STUDY.into(),
            series: Vec::new(),
        };
        let study = study.with(3, at(1));
        let held = study.instances();
        let source = Origin::start(move |asked| honest_below(root, &held, asked)).await;
        let responding = Rig::start_as(
            RESPONDING,
            &format!(
                "[[location]]\nwado_rs_url = \"http://{}{root}\"\n{location}\n",
                source.address
            ),
        );
        let between = Detour::start().await;
        between.leads_to(responding.public);
        let initiating = Rig::start_as(
            INITIATING,
            &format!(
                "[listen]\nnames = [\"initiating-gateway.example.com\"]\n\
                 [xc_wado]\npath = \"wado\"\n\
                 [[community]]\nhome_community_id = \"urn:oid:{RESPONDING}\"\n\
                 gateway_url = \"http://{}/wado-rs/\"\n{community}",
                between.address
            ),
        );
        Self {
            study,
            initiating,
            between,
            _responding: responding,
            source,
        }
    }

    /// The way of figure XA-2, where the location is known to the responding gateway.
    async fn by_location(community: &str) -> Self {
        let location = format!("retrieve_location_uid = {LOCATION:?}");
        Self::to("/pacs/wado-rs/", &location, community).await
    }

    /// Asks for the study and looks at what comes.
    async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> crate::rig::Answer {
        let fields = [&[AS_STORED], fields].concat();
        let answer = self.initiating.get(path, &fields).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.instances(), self.study.bytes());
        answer
    }

    /// The only request between the gateways.
    fn second_hop(&self) -> crate::rig::detour::Head {
        let [head] = &self.between.heads()[..] else {
            panic!("{:?}", self.between.heads());
        };
        head.clone()
    }

    /// The only request to the source.
    fn third_hop(&self) -> Asked {
        let [asked] = &self.source.asked()[..] else {
            panic!("{:?}", self.source.asked());
        };
        asked.clone()
    }
}

fn study_path() -> String {
    format!("/wado/homeCommunityId/{RESPONDING}/RetrieveLocationUID/{LOCATION}/studies/{STUDY}")
}

/// Header fields that the gateways must not forward.
const PRIVATE: &[(&str, &str)] = &[
    ("authorization", "Bearer of-the-viewer"),
    ("cookie", "session=of-the-viewer"),
    ("forwarded", "for=192.0.2.43"),
    ("x-forwarded-for", "192.0.2.43"),
    ("x-forwarded-host", "viewer.example"),
    ("proxy-authorization", "Basic x"),
    ("referer", "https://viewer.example/patient/4711"),
    ("origin", "https://viewer.example"),
    ("user-agent", "viewer/1"),
    ("accept-language", "de"),
    ("range", "bytes=0-1"),
    ("if-none-match", "\"x\""),
    ("x-patient", "Doe^John"),
    ("tracestate", "vendor=secret"),
    ("baggage", "patient=4711"),
];

#[tokio::test]
async fn each_hop_of_figure_xa_2_sends_what_the_standard_writes() {
    let way = Way::by_location("").await;
    let host = ("host", "initiating-gateway.example.com");
    let known = [host, ("traceparent", TRACE), ("x-request-id", REQUEST_ID)];
    let fields = [&known, PRIVATE].concat();
    let answer = way.ask(&format!("{}/", study_path()), &fields).await;

    let second = way.second_hop();
    assert_eq!(
        second.line,
        format!(
            "GET /wado-rs/homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.840.9.10.11.12/studies/{STUDY}"
        )
    );
    let between = way.between.address.to_string();
    let expected = [
        ("accept", AS_STORED.1),
        ("host", &between),
        ("traceparent", TRACE),
        ("user-agent", AGENT),
        ("via", VIA_INITIATING),
        ("x-request-id", REQUEST_ID),
    ];
    assert_eq!(second.fields, owned(expected));

    let third = way.third_hop();
    assert_eq!(third.method, "GET");
    assert_eq!(third.path, format!("/pacs/wado-rs/studies/{STUDY}"));
    let via = format!("{VIA_INITIATING}, {VIA_RESPONDING}");
    let source = way.source.address.to_string();
    let expected = [
        ("accept", AS_STORED.1),
        ("host", &source),
        ("traceparent", TRACE),
        ("user-agent", AGENT),
        ("via", &via),
        ("x-request-id", REQUEST_ID),
    ];
    assert_eq!(third.fields_sorted(), owned(expected));

    assert_eq!(answer.field("x-request-id"), REQUEST_ID);
    // Where it is, as far as the viewer needs to know.
    let location = format!("http://{}{}", way.initiating.public, study_path());
    assert_eq!(answer.field("content-location"), location);
}

#[tokio::test]
async fn each_hop_of_figure_xa_4_sends_what_the_standard_writes() {
    let location = "retrieve_urls = [\"https://hostname/DICOMweb-RS/\"]";
    let way = Way::to("/DICOMweb-RS/", location, "").await;
    let path = format!("{}?retrieveURL=hostname/DICOMweb-RS/", study_path());
    let host = ("host", "initiating-gateway.example.com");
    way.ask(&path, &[&[host], PRIVATE].concat()).await;

    let second = way.second_hop();
    assert_eq!(
        second.line,
        format!(
            "GET /wado-rs/homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.840.9.10.11.12/studies/{STUDY}\
             ?retrieveURL=https%3A%2F%2Fhostname%2FDICOMweb-RS%2F"
        )
    );
    assert_eq!(second.field_names(), ALL_FIELDS);
    let third = way.third_hop();
    assert_eq!(third.path, format!("/DICOMweb-RS/studies/{STUDY}"));
    assert_eq!(third.field_names(), ALL_FIELDS);
    assert_eq!(third.field("host"), way.source.address.to_string());
}

const ALL_FIELDS: [&str; 6] = [
    "accept",
    "host",
    "traceparent",
    "user-agent",
    "via",
    "x-request-id",
];

#[tokio::test]
async fn a_retrieve_url_never_reaches_the_source() {
    let location = format!(
        "retrieve_location_uid = {LOCATION:?}\nretrieve_urls = [\"https://hostname/DICOMweb-RS/\"]"
    );
    let way = Way::to("/pacs/wado-rs/", &location, "").await;
    // One that is allowed, and one that is not but does not matter beside a known location.
    for url in [
        "hostname/DICOMweb-RS/",
        "https%3A%2F%2Fpacs.example%2Frs%2F",
    ] {
        way.ask(&format!("{}?retrieveURL={url}", study_path()), &[])
            .await;
        way.ask(&format!("{}?RETRIEVEurl={url}&x=1", study_path()), &[])
            .await;
    }
    for asked in way.source.asked() {
        assert_eq!(asked.path, format!("/pacs/wado-rs/studies/{STUDY}"));
    }
    let escaped = ["hostname%2FDICOMweb-RS", "pacs.example%2Frs"];
    let heads = way.between.heads();
    for (head, escaped) in heads
        .iter()
        .zip([escaped[0], escaped[0], escaped[1], escaped[1]])
    {
        let (_, query) = head.line.split_once('?').expect("a query");
        assert_eq!(query, format!("retrieveURL=https%3A%2F%2F{escaped}%2F"));
    }
    assert_eq!(heads.len(), 4);
}

#[tokio::test]
async fn every_tolerated_spelling_goes_on_in_the_canonical_one() {
    let way = Way::by_location("").await;
    let spellings = [
        format!(
            "/wado/homecommunityid/urn:oid:{RESPONDING}/retrievelocationuid/oid:{LOCATION}/study/{STUDY}/"
        ),
        format!(
            "/wado/HOMECOMMUNITYID/urn%3Aoid%3A{RESPONDING}/RetrieveLocationUid/{LOCATION}/studies/{STUDY}"
        ),
        format!(
            "/wado/homeCommunityID/URN:OID:{RESPONDING}/retrieveLocationUID/{LOCATION}/studies/{STUDY}?retrieveURL="
        ),
        format!(
            "/wado//homeCommunityId/{RESPONDING}/RetrieveLocationUID/{LOCATION}/studies/{STUDY}"
        ),
        format!(
            "/wado/homeCommunityId/%35.6.7.8/RetrieveLocationUID/{LOCATION}/studies/1%2E{}",
            &STUDY[2..]
        ),
    ];
    for spelling in &spellings {
        way.ask(spelling, &[]).await;
    }
    let canonical = format!(
        "GET /wado-rs/homeCommunityId/{RESPONDING}/RetrieveLocationUID/{LOCATION}/studies/{STUDY}"
    );
    let lines: Vec<_> = way
        .between
        .heads()
        .into_iter()
        .map(|head| head.line)
        .collect();
    assert_eq!(lines, vec![canonical; spellings.len()]);
}

#[tokio::test]
async fn series_and_instances_are_asked_for_as_such() {
    let way = Way::by_location("").await;
    let instance = &way.study.series[0].instances[1];
    let path = study_path().replace(&way.study.path(), &instance.path());
    let answer = way.initiating.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.instances(), std::slice::from_ref(&instance.bytes));
    assert!(way.second_hop().line.ends_with(&instance.path()));
    assert_eq!(
        way.third_hop().path,
        format!("/pacs/wado-rs/{}", instance.path())
    );

    let series = study_path().replace(&way.study.path(), &way.study.series_path(0));
    way.ask(&series, &[]).await;
    assert!(
        way.between.heads()[1]
            .line
            .ends_with(&way.study.series_path(0))
    );
}

#[tokio::test]
async fn a_trace_and_a_request_id_are_made_where_none_came_or_none_that_can_be_believed() {
    let way = Way::by_location("").await;
    for fields in [
        &[][..],
        &[("x-request-id", "Doe^John"), ("traceparent", "00-4711-0-0")],
        &[("x-request-id", "a"), ("x-request-id", "b")],
        &[("x-request-id", &"x".repeat(65))],
    ] {
        let answer = way.ask(&study_path(), fields).await;
        let second = way.between.heads().pop().expect("a request");
        let third = way.source.asked().pop().expect("a request");
        let id = answer.field("x-request-id").to_owned();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
        assert_eq!(
            [second.field("x-request-id"), third.field("x-request-id")],
            [&id; 2]
        );
        let trace = second.field("traceparent");
        assert_eq!(
            (trace.len(), trace.matches('-').count()),
            (55, 3),
            "{trace}"
        );
        assert_eq!(third.field("traceparent"), trace);
    }
    let ids = way.between.heads().into_iter();
    let ids: std::collections::BTreeSet<_> = ids
        .map(|head| head.field("x-request-id").to_owned())
        .collect();
    assert_eq!(ids.len(), 4, "each request has its own");
}

#[tokio::test]
async fn a_gateway_of_somebody_else_on_the_way_is_kept_and_other_names_are_dropped() {
    let way = Way::by_location("").await;
    let via = "1.0 fred, 2 xcwado-0123456789abcdef, 1.1 pacs.intranet.example:8080 (Apache), \
               1.1 xcwado-Doe^John, 1.1 xcwado-0123456789abcdeg, 1.1 xcwado-0123456789abcdef0";
    way.ask(&study_path(), &[("via", via)]).await;
    let kept = "1.1 xcwado-0123456789abcdef";
    assert_eq!(
        way.second_hop().field("via"),
        format!("{kept}, {VIA_INITIATING}")
    );
    assert_eq!(
        way.third_hop().field("via"),
        format!("{kept}, {VIA_INITIATING}, {VIA_RESPONDING}")
    );
}

#[tokio::test]
async fn the_configured_token_goes_to_its_community_and_no_further() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "of-the-gateway\n").expect("written");
    let mut way = Way::by_location("").await;
    // A token is sent over TLS only.
    let authority = Authority::new();
    let server = authority.issue("127.0.0.1").server();
    let address = with_tls(way.between.address, server).await;
    way.initiating = Rig::start_as(
        INITIATING,
        &format!(
            "[xc_wado]\npath = \"wado\"\n\
             [[community]]\nhome_community_id = \"urn:oid:{RESPONDING}\"\n\
             gateway_url = \"https://{address}/wado-rs/\"\ntoken = {{ file = {file:?} }}\n\
             [community.http]\nauthorities = {:?}\n",
            authority.file()
        ),
    );
    way.ask(&study_path(), &[("authorization", "Bearer of-the-viewer")])
        .await;
    assert_eq!(
        way.second_hop().field("authorization"),
        "Bearer of-the-gateway"
    );
    assert_eq!(way.third_hop().field("authorization"), "");
}

fn owned<const N: usize>(fields: [(&str, &str); N]) -> [(String, String); N] {
    fields.map(|(name, value)| (name.to_owned(), value.to_owned()))
}
