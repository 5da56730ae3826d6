//! Clients learn nothing about the servers behind the gateway: no addresses, header fields or error
//! texts of theirs.

use http::{Method, StatusCode};

use crate::rig::origin::{Asked, BOUNDARY, Origin, Reply, multipart_type};
use crate::rig::study::{Instance, Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, HERE, Rig, rad_160};

const THERE: &str = "1.3.6.1.4.1.99999.2";
/// What must not be seen.
const CANARY: &str = "canary";

/// Header fields that tell who answered.
const TELLING: &[(&str, &str)] = &[
    ("Server", "canary/1.0"),
    ("X-Powered-By", "canary"),
    ("Set-Cookie", "canary=1; Path=/"),
    ("Location", "https://pacs.canary.example/rs/"),
    (
        "Content-Location",
        "https://pacs.canary.example/rs/studies/1",
    ),
    ("Link", "<https://pacs.canary.example/>; rel=\"canary\""),
    ("WWW-Authenticate", "Basic realm=\"canary\""),
    ("Proxy-Authenticate", "Basic realm=\"canary\""),
    ("Authentication-Info", "canary"),
    ("Warning", "299 pacs.canary.example \"canary\""),
    ("Via", "1.1 pacs.canary.example"),
    ("Alt-Svc", "h2=\"pacs.canary.example:443\""),
    ("Refresh", "0; url=https://pacs.canary.example/"),
    ("ETag", "\"canary\""),
    ("Content-Disposition", "attachment; filename=canary.dcm"),
    ("Access-Control-Allow-Origin", "https://canary.example"),
    (
        "Content-Security-Policy-Report-Only",
        "report-uri https://canary.example",
    ),
    ("X-Request-Id", "canary"),
    ("traceparent", "canary"),
    ("Canary", "1"),
];

impl Reply {
    fn telling(mut self) -> Self {
        let fields = TELLING.iter();
        let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.fields.extend(fields);
        self
    }
}

/// Instances among parts and texts that tell more than they should.
fn talkative(instances: &[Instance]) -> Reply {
    let mut body = b"canary in the preamble\r\n".to_vec();
    for instance in instances {
        let head = format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: application/dicom; canary=1\r\n\
             Content-Location: https://pacs.canary.example/rs/{}\r\n\
             Content-ID: <canary>\r\nContent-Description: canary\r\nX-Canary: canary\r\n\r\n",
            instance.path()
        );
        body.extend(head.as_bytes());
        body.extend(&instance.bytes);
    }
    body.extend(format!("\r\n--{BOUNDARY}--\r\ncanary in the epilogue").as_bytes());
    Reply::bytes(
        &format!("{}; canary=canary", multipart_type(BOUNDARY)),
        body,
    )
}

/// A gateway in front of a server that answers as told, both as a source of ours and as another
/// community's gateway; and what viewers can ask for.
struct Front {
    rig: Rig,
    server: Origin,
    paths: Vec<String>,
}

impl Front {
    async fn of(study: &Study, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let server = Origin::start(script).await;
        let rig = Rig::start(&format!(
            "[[community]]\nhome_community_id = \"{THERE}\"\ngateway_url = \"{}\"\n{}",
            server.url(),
            server.location(10)
        ));
        let root = rig.register(study.fhir()).await.root;
        let study = study.path();
        let paths = vec![
            format!("{root}{study}"),
            rad_160(HERE, &location_uid(10), &study),
            rad_160(THERE, &location_uid(20), &study),
        ];
        Self { rig, server, paths }
    }

    async fn ask(&self, path: &str) -> Answer {
        let answer = self.rig.get(path, &[AS_STORED]).await;
        tells_nothing(&answer, &self.server);
        answer
    }
}

fn tells_nothing(answer: &Answer, server: &Origin) {
    let address = server.address.to_string();
    for (name, value) in &answer.headers {
        let line = format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        let line = line.to_ascii_lowercase();
        assert!(!line.contains(CANARY) && !line.contains(&address), "{line}");
    }
    for secret in [CANARY, &address] {
        let found = memchr::memmem::find(&answer.body, secret.as_bytes());
        assert_eq!(found, None, "{secret} in {answer:?}");
    }
}

#[tokio::test]
async fn images_come_without_anything_that_their_server_says_of_itself() {
    let study = Study::new(1).with(3, at(10));
    for status in [200, 206] {
        let held = study.instances();
        let script = move |_asked: &Asked| talkative(&held).with_status(status).telling();
        let front = Front::of(&study, script).await;
        for path in &front.paths {
            let answer = front.ask(path).await;
            assert_eq!(answer.instances(), study.bytes(), "{path}");
            assert_eq!(answer.field("x-request-id").len(), 36);
        }
        assert!(front.server.connections() > 0);
    }
}

#[tokio::test]
async fn errors_come_without_anything_that_their_server_says_of_itself() {
    let study = Study::new(1).with(3, at(10));
    for (status, expected) in [
        (204, 502),
        (400, 502),
        (401, 502),
        (403, 502),
        (404, 404),
        (405, 502),
        (407, 502),
        (409, 502),
        (410, 410),
        (413, 413),
        (416, 502),
        (418, 502),
        (500, 502),
        (503, 503),
        (508, 508),
        (511, 502),
    ] {
        let front = Front::of(&study, move |_asked| {
            Reply::text(status, "text/html", "<h1>canary</h1> 127.0.0.1").telling()
        })
        .await;
        for path in &front.paths {
            let answer = front.ask(path).await;
            // Of another community's gateway it can be told that it refuses.
            let expected = match path.contains(THERE) && status == 403 {
                true => 403,
                false => expected,
            };
            assert_eq!(answer.status.as_u16(), expected, "{status} {path}");
            answer.problem();
        }
    }
}

#[tokio::test]
async fn a_redirect_is_neither_followed_nor_passed_on() {
    let study = Study::new(1).with(3, at(10));
    for status in [301, 302, 303, 307, 308] {
        let (held, looks_right) = (study.instances(), study.instances());
        let elsewhere = Origin::start(move |_asked| Reply::multipart(&held)).await;
        let url = elsewhere.url();
        let front = Front::of(&study, move |asked| {
            let root = url.trim_end_matches("/rs/");
            let location = format!("{root}{}", asked.path);
            // What it holds itself does not matter either.
            let reply = Reply::multipart(&looks_right).with_status(status);
            reply.with_field("Location", &location)
        })
        .await;
        for path in &front.paths {
            for method in [Method::GET, Method::HEAD] {
                let answer = front
                    .rig
                    .ask(method.clone(), path, &[AS_STORED], bytes::Bytes::new())
                    .await;
                // HEAD of a study or series asks no source where there is a manifest.
                let is_known = path.starts_with("/manifests/") && !path.contains("/instances/");
                let expected = match is_known && method == Method::HEAD {
                    true => StatusCode::OK,
                    false => StatusCode::BAD_GATEWAY,
                };
                assert_eq!(answer.status, expected, "{status} {path}");
                assert_eq!(answer.field("location"), "");
                tells_nothing(&answer, &elsewhere);
            }
        }
        assert!(!front.server.asked().is_empty());
        assert_eq!(elsewhere.connections(), 0);
        // It counts, and would have given what was asked for.
        let answer = crate::rig::open(
            elsewhere.address,
            crate::rig::request(
                Method::GET,
                "/",
                &[],
                elsewhere.address,
                bytes::Bytes::new(),
            ),
        );
        assert_eq!(answer.await.read().await.instances(), study.bytes());
        assert_eq!(elsewhere.connections(), 1);
    }
}
