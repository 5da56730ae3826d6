//! Server-side request forgery: the gateways never connect to an address from a request or manifest.

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::rig::origin::{Origin, Reply};
use crate::rig::study::{Location, Study, at, at_url, location_uid};
use crate::rig::{AS_STORED, Answer, HERE, Rig, open, rad_160, request};

const THERE: &str = "1.3.6.1.4.1.99999.2";
/// A location in no settings.
const NOWHERE: &str = "2.25.404";

/// Retrieve URLs. `PORT` is where the canary listens on 127.0.0.1, `SOURCE` the port there of a
/// source that is allowed below `/rs/`, as `https://hostname/DICOMweb-RS/` is.
const HOSTILE: &[&str] = &[
    // This machine, in many spellings.
    "http://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "127.0.0.1:PORT/rs/",
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://localhost.:PORT/",
    "http://localhost.localdomain:PORT/",
    "http://ip6-localhost:PORT/",
    "http://127.0.0.1.nip.io:PORT/",
    "http://localtest.me:PORT/",
    "http://0.0.0.0:PORT/",
    "http://0:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://2130706433:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x7f.0x0.0x0.0x1:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://017700000001:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://\u{2460}\u{2461}\u{2466}.0.0.1:PORT/",
    "http://127\u{3002}0\u{3002}0\u{3002}1:PORT/",
    "http://[::1]:PORT/",
    "http://[::]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[64:ff9b::7f00:1]:PORT/",
    "http://[fe80::1%25lo]:PORT/",
    // Metadata services of clouds.
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "http://2852039166/latest/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://100.100.100.200/latest/",
    // A name that is allowed, where it does not name the host.
    "https://hostname@127.0.0.1:PORT/DICOMweb-RS/",
    "https://hostname:443@127.0.0.1:PORT/DICOMweb-RS/",
    "https://hostname%40127.0.0.1:PORT/DICOMweb-RS/",
    "https://user:password@hostname/DICOMweb-RS/",
    "https://127.0.0.1:PORT/#https://hostname/DICOMweb-RS/",
    "https://127.0.0.1:PORT/?https://hostname/DICOMweb-RS/",
    "https://127.0.0.1:PORT\\@hostname/DICOMweb-RS/",
    "https://127.0.0.1:PORT/https://hostname/DICOMweb-RS/",
    "https://hostname.evil.example/DICOMweb-RS/",
    "https://evil-hostname/DICOMweb-RS/",
    "https://hostname./DICOMweb-RS/",
    "https://hostname:8443/DICOMweb-RS/",
    "https://hostname:PORT/DICOMweb-RS/",
    "http://hostname/DICOMweb-RS/",
    "https://h\u{43E}stname/DICOMweb-RS/",
    "https://xn--hstname-5of/DICOMweb-RS/",
    "https://hostname\u{2215}DICOMweb-RS/",
    // A path that leads away, or only looks like one that is allowed.
    "https://hostname/DICOMweb-RS/../admin/",
    "https://hostname/DICOMweb-RS/./../admin/",
    "https://hostname/DICOMweb-RS/%2e%2e/admin/",
    "https://hostname/DICOMweb-RS/%2E./admin/",
    "https://hostname/DICOMweb-RS/..%2fadmin/",
    "https://hostname/DICOMweb-RS/..%5cadmin/",
    "https://hostname/DICOMweb-RS/..\\admin/",
    "https://hostname/DICOMweb-RS/%252e%252e/admin/",
    "https://hostname/DICOMweb-RS/%2e%2e%2fadmin/",
    "https://hostname/DICOMweb-RS%2f/",
    "https://hostname/DICOMweb-RS/%00/",
    "https://hostname/DICOMweb-RSX/",
    "https://hostname/dicomweb-rs/",
    "https://hostname/",
    "https://hostname//DICOMweb-RS/",
    "http://127.0.0.1:SOURCE/",
    "http://127.0.0.1:SOURCE/rs/../system/",
    "http://127.0.0.1:SOURCE/rs/..%2fsystem/",
    "http://127.0.0.1:SOURCE/RS/",
    "https://127.0.0.1:SOURCE/rs/",
    "http://localhost:SOURCE/rs/",
    // Something else than HTTP, or not a URL at all.
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:PORT/_GET",
    "ftp://127.0.0.1:PORT/",
    "dict://127.0.0.1:PORT/",
    "ldap://127.0.0.1:PORT/",
    "jar:http://127.0.0.1:PORT/!/",
    "javascript://hostname/%0aalert(1)",
    "data:text/html,hostname/DICOMweb-RS/",
    "//127.0.0.1:PORT/",
    "///127.0.0.1:PORT/",
    "https:127.0.0.1:PORT/",
    "https:/127.0.0.1:PORT/",
    "https:/\\127.0.0.1:PORT/",
    "\\\\127.0.0.1:PORT\\",
    "https:///127.0.0.1:PORT/",
    "https://",
    "https:///",
    "https://hostname:99999/DICOMweb-RS/",
    "https://[::1/DICOMweb-RS/",
    // What may end one thing and begin another.
    "https://hostname/DICOMweb-RS/\r\nhost: 127.0.0.1:PORT",
    "https://hostname\r\n@127.0.0.1:PORT/DICOMweb-RS/",
    "https://hostname\t/DICOMweb-RS/",
    "https://host\tname/DICOMweb-RS/",
    "https://hostname\0.evil.example/DICOMweb-RS/",
    "https://hostname /DICOMweb-RS/",
    "https://127.0.0.1:PORT /DICOMweb-RS/",
    "https://hostname/DICOMweb-RS/?x=https://127.0.0.1:PORT/",
    "https://hostname/DICOMweb-RS/#x",
    "https://hostname/DICOMweb-RS/;x@127.0.0.1:PORT/",
];

/// Whole queries: what is hostile is how they are written.
const QUERIES: &[&str] = &[
    "retrieveURL=https://hostname/DICOMweb-RS/&retrieveURL=http://127.0.0.1:PORT/",
    "retrieveURL=http://127.0.0.1:PORT/&retrieveURL=https://hostname/DICOMweb-RS/",
    "retrieveURL=https://hostname/DICOMweb-RS/&RETRIEVEURL=http://127.0.0.1:PORT/",
    "retrieveurl=https://hostname/DICOMweb-RS/&retrieve%55RL=http://127.0.0.1:PORT/",
    "retrieveURL=https://hostname/DICOMweb-RS/&%72etrieveURL=",
    "retrieveURL=https%253A%252F%252F127.0.0.1%253APORT%252F",
    "retrieveURL=http%3A%2F%2F127.0.0.1%3APORT%2F%00",
    "retrieveURL=https://hostname/DICOMweb-RS/%0d%0ahost:%20127.0.0.1:PORT",
    "retrieveURL=https://hostname/DICOMweb-RS/%09",
    "retrieveURL=https://hostname%5c@127.0.0.1:PORT/",
    "retrieveURL=https://hostname/DICOMweb-RS/%252e%252e/",
    "retrieveURL=https://hostname/DICOMweb-RS/%c0%ae%c0%ae/",
];

/// A server that no answer may have come from: it would have everything.
struct Canary(Origin);

impl Canary {
    async fn of(study: &Study) -> Self {
        let held = study.instances();
        Self(Origin::start(move |_asked| Reply::multipart(&held)).await)
    }

    /// It has seen nobody, and it would have.
    async fn has_seen_nobody(self) {
        assert_eq!(self.0.connections(), 0);
        let request = request(Method::GET, "/", &[], self.0.address, "".into());
        assert_eq!(open(self.0.address, request).await.status, 200);
        assert_eq!(self.0.connections(), 1);
    }
}

/// Two gateways before a source, and a canary.
struct Two {
    study: Study,
    here: Rig,
    there: Rig,
    source: Origin,
    canary: Canary,
}

impl Two {
    async fn new() -> Self {
        let study = Study::new(1).with(2, at(10));
        let source = Origin::of(&study).await;
        let location = format!(
            "[[location]]\nretrieve_location_uid = \"{}\"\nwado_rs_url = \"{}\"\n\
             retrieve_urls = [\"https://hostname/DICOMweb-RS/\"]\n",
            location_uid(10),
            source.url()
        );
        let there = Rig::start_as(THERE, &location);
        let community = format!(
            "[[community]]\nhome_community_id = \"{THERE}\"\n\
             gateway_url = \"http://{}/wado-rs/\"\n",
            there.public
        );
        Self {
            here: Rig::start(&(community + &location)),
            there,
            canary: Canary::of(&study).await,
            source,
            study,
        }
    }

    /// A Retrieve URL or query with its ports.
    fn aimed(&self, text: &str) -> String {
        let canary = self.canary.0.address.port().to_string();
        let source = self.source.address.port().to_string();
        text.replace("PORT", &canary).replace("SOURCE", &source)
    }

    /// Every hostile query.
    fn queries(&self) -> Vec<String> {
        let mut values: Vec<_> = HOSTILE.iter().map(|url| self.aimed(url)).collect();
        values.push(format!("https://hostname/{}/", "a".repeat(2100)));
        values.push(format!(
            "https://{}@hostname/DICOMweb-RS/",
            "a".repeat(1000)
        ));
        let values = values.iter().map(|url| {
            let url = utf8_percent_encode(url, NON_ALPHANUMERIC);
            format!("retrieveURL={url}")
        });
        values
            .chain(QUERIES.iter().map(|query| self.aimed(query)))
            .collect()
    }

    async fn refused(&self, rig: &Rig, community: &str) -> usize {
        let mut not_allowed = 0;
        for query in self.queries() {
            let path = rad_160(community, NOWHERE, &self.study.path());
            let answer = rig.get(&format!("{path}?{query}"), &[AS_STORED]).await;
            tells_nothing(&answer, &query);
            match answer.status {
                StatusCode::FORBIDDEN => not_allowed += 1,
                StatusCode::BAD_REQUEST => {}
                other => panic!("{other}: {query}"),
            }
        }
        not_allowed
    }

    async fn nobody_was_asked(self) {
        assert_eq!(self.source.connections(), 0);
        self.canary.has_seen_nobody().await;
    }
}

fn tells_nothing(answer: &Answer, hostile: &str) {
    let detail = answer.problem();
    for word in ["127.0.0.1", "hostname", "evil", "PORT"] {
        assert!(!detail.contains(word), "{detail}: {hostile}");
    }
    assert_eq!(answer.field("location"), "");
}

const EVENT: &str = "xcwado_security_events_total{event=\"retrieve_url_not_allowed\"}";

#[test]
fn there_are_enough_of_them() {
    assert!(HOSTILE.len() + QUERIES.len() >= 100);
}

#[tokio::test]
async fn a_hostile_retrieve_url_is_refused_by_the_responding_gateway_and_counted() {
    let two = Two::new().await;
    let not_allowed = two.refused(&two.there, THERE).await;
    assert!(not_allowed >= 40, "{not_allowed}");
    assert_eq!(two.there.metric(EVENT).await, not_allowed as f64);
    two.nobody_was_asked().await;
}

#[tokio::test]
async fn a_hostile_retrieve_url_is_refused_through_the_initiating_gateway_and_counted_by_the_other()
{
    let two = Two::new().await;
    let not_allowed = two.refused(&two.here, THERE).await;
    assert!(not_allowed >= 40, "{not_allowed}");
    // Whoever owns the location decides; what no gateway would send is not sent.
    assert_eq!(two.there.metric(EVENT).await, not_allowed as f64);
    assert_eq!(two.here.metric(EVENT).await, 0.0);
    two.nobody_was_asked().await;
}

#[tokio::test]
async fn a_hostile_retrieve_url_beside_a_known_location_changes_nothing() {
    let two = Two::new().await;
    let path = rad_160(THERE, &location_uid(10), &two.study.path());
    let mut given = 0;
    for query in two.queries() {
        for rig in [&two.there, &two.here] {
            let answer = rig.get(&format!("{path}?{query}"), &[AS_STORED]).await;
            if answer.status == StatusCode::BAD_REQUEST {
                tells_nothing(&answer, &query);
            } else {
                assert_eq!(answer.instances(), two.study.bytes(), "{query}");
                given += 1;
            }
        }
    }
    assert!(given >= 80, "{given}");
    let expected = format!("/rs/{}", two.study.path());
    assert_eq!(two.source.paths(), vec![expected; given]);
    two.canary.has_seen_nobody().await;
}

#[tokio::test]
async fn a_hostile_retrieve_url_in_a_manifest_locates_nothing() {
    let two = Two::new().await;
    for (number, url) in HOSTILE.iter().enumerate() {
        let last = u32::try_from(number).expect("a few") + 100;
        let study = Study::new(last).with(1, at_url(&two.aimed(url)));
        for manifest in [study.kos(), study.fhir()] {
            let manifest = two.here.register(manifest).await;
            let series = &manifest.summary["studies"][0]["series"][0];
            assert_eq!(series["located"], false, "{url}");
            for path in [study.path(), study.series[0].instances[0].path()] {
                let path = format!("{}{path}", manifest.root);
                let answer = two.here.get(&path, &[AS_STORED]).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{url}");
                tells_nothing(&answer, url);
            }
        }
    }
    two.nobody_was_asked().await;
}

#[tokio::test]
async fn a_hostile_retrieve_url_in_a_manifest_of_another_community_is_for_that_one_to_refuse() {
    let two = Two::new().await;
    let mut not_allowed = 0;
    for (number, url) in HOSTILE.iter().enumerate() {
        let last = u32::try_from(number).expect("a few") + 100;
        let place = Location {
            retrieve_location_uid: Some(NOWHERE.into()),
            retrieve_url: Some(two.aimed(url)),
        };
        let study = Study::new(last).with(1, vec![place]);
        let registered = format!("/manifests?homeCommunityId={THERE}");
        let manifest = two.here.post(&registered, &[], study.kos()).await.json();
        let id = manifest["id"].as_str().expect("an id");
        let path = format!("/manifests/{id}/dicomweb/{}", study.path());
        let answer = two.here.get(&path, &[AS_STORED]).await;
        tells_nothing(&answer, url);
        match answer.status {
            StatusCode::FORBIDDEN => not_allowed += 1,
            // An address that cannot be written in its normal form is left out.
            StatusCode::NOT_FOUND => {}
            other => panic!("{other}: {url}"),
        }
    }
    assert!(not_allowed >= 40, "{not_allowed}");
    assert_eq!(two.there.metric(EVENT).await, f64::from(not_allowed));
    two.nobody_was_asked().await;
}

#[tokio::test]
async fn the_host_that_a_request_names_decides_nothing() {
    let two = Two::new().await;
    let canary = two.canary.0.address.to_string();
    let path = rad_160(HERE, &location_uid(10), &two.study.path());
    let fields = [
        AS_STORED,
        ("host", &canary),
        ("x-forwarded-host", &canary),
        ("forwarded", "host=127.0.0.1"),
        ("x-original-url", "/system"),
        ("x-rewrite-url", "/system"),
    ];
    let absolute = format!("http://{canary}{path}");
    for path in [&path, &absolute] {
        let answer = two.here.get(path, &fields).await;
        assert_eq!(answer.instances(), two.study.bytes());
        assert!(!answer.field("content-location").contains(&canary));
    }
    two.canary.has_seen_nobody().await;
}
