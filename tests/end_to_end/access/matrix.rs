//! Every kind of client, at every URL that README lists, for its own manifest, a foreign one and none
//! at all, with a cold cache and with a warm one.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::access::tokens::{Issuer, Shown};
use crate::rig::origin::{Origin, honest};
use crate::rig::study::{Study, at, location_uid};
use crate::rig::{HERE, Registered, Rig};

/// What a request needs, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing.
    Nothing,
    /// A right to this manifest, whose existence is a secret.
    Of(Right),
    /// A right below the root over all manifests, to this study.
    Study(Right),
    /// A right to all manifests, of which the client sees its own.
    Any(Right),
    /// RAD-160, which no rule here permits.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Register,
    List,
    Search,
    Retrieve,
    Render,
    Link,
}

/// A row of README's table of URLs, by its first words, and requests for it. `{m}` is the manifest's
/// path, `{s}` and `{i}` the paths of its study and of an instance.
struct Row {
    named: &'static str,
    requests: &'static [(&'static str, &'static str, Needs)],
}

use Needs::{Any, Never, Nothing, Of, Study as OfStudy};
use Right::{Link, List, Register, Render, Retrieve, Search};

const ROWS: [Row; 16] = [
    Row {
        named: "`POST /manifests[?homeCommunityId=OID][&series=UID,UID]`",
        requests: &[("POST", "/manifests", Any(Register))],
    },
    Row {
        named: "`GET /manifests[?limit=&before=]`",
        requests: &[
            ("GET", "/manifests", Any(List)),
            ("HEAD", "/manifests", Any(List)),
        ],
    },
    Row {
        named: "`GET /manifests/{id}[?instances=true]`",
        requests: &[
            ("GET", "{m}", Of(List)),
            ("GET", "{m}?instances=true", Of(List)),
            ("HEAD", "{m}", Of(List)),
        ],
    },
    // The manifest would be gone for the rows below: the owner's own deletion has a test of its own.
    Row {
        named: "`DELETE /manifests/{id}`",
        requests: &[],
    },
    Row {
        named: "`GET /manifests/{id}/viewers`",
        requests: &[
            ("HEAD", "{m}/viewers", Of(Retrieve)),
            ("GET", "{m}/viewers/ohif-dicomwebproxy.json", Of(Retrieve)),
            ("GET", "{m}/viewers/ohif-dicomjson.json", Of(Retrieve)),
            ("GET", "{m}/viewers/weasis.xml", Of(Retrieve)),
        ],
    },
    Row {
        named: "`POST`, `GET /manifests/{id}/links`, `DELETE …/links/{link}`, `POST /link/{token}/unlock`",
        requests: &[
            ("POST", "{m}/links", Of(Link)),
            ("GET", "{m}/links", Of(Link)),
        ],
    },
    Row {
        named: "`GET /manifests/{id}/dicomweb/studies/{study}[/series/{series}[/instances/{instance}]]`",
        requests: &[
            ("GET", "{m}/dicomweb/{s}", Of(Retrieve)),
            ("HEAD", "{m}/dicomweb/{s}", Of(Retrieve)),
            ("GET", "{m}/dicomweb/{i}", Of(Retrieve)),
            ("HEAD", "{m}/dicomweb/{i}", Of(Retrieve)),
        ],
    },
    Row {
        named: "`GET /manifests/{id}/dicomweb/studies?…`, `…/series?…`, `…/instances?…`",
        requests: &[
            ("GET", "{m}/dicomweb/studies?limit=5", Of(Search)),
            ("GET", "{m}/dicomweb/series", Of(Search)),
            ("GET", "{m}/dicomweb/{s}/instances", Of(Search)),
        ],
    },
    Row {
        named: "`GET …/metadata`",
        requests: &[
            ("GET", "{m}/dicomweb/{s}/metadata", Of(Retrieve)),
            ("GET", "{m}/dicomweb/{i}/metadata", Of(Retrieve)),
        ],
    },
    Row {
        named: "`GET …/instances/{instance}/frames/{list}`, `…/bulkdata/{path}`",
        requests: &[
            ("GET", "{m}/dicomweb/{i}/frames/1", Of(Retrieve)),
            ("GET", "{m}/dicomweb/{i}/bulkdata/7FE00010", Of(Retrieve)),
            ("GET", "{m}/dicomweb/{i}/pixeldata", Of(Retrieve)),
        ],
    },
    Row {
        named: "`GET …/rendered`, `…/thumbnail`",
        requests: &[
            ("GET", "{m}/dicomweb/{i}/rendered", Of(Render)),
            ("GET", "{m}/dicomweb/{i}/thumbnail", Of(Render)),
            ("GET", "{m}/dicomweb/{i}/frames/1/rendered", Of(Render)),
        ],
    },
    Row {
        named: "`GET /manifests/{id}/wado?requestType=WADO&…`",
        requests: &[
            (
                "GET",
                "{m}/wado?{w}&contentType=application/dicom",
                Of(Retrieve),
            ),
            ("GET", "{m}/wado?{w}", Of(Render)),
            ("GET", "{m}/dicomweb?{w}", Of(Render)),
        ],
    },
    Row {
        named: "the same below `/dicomweb`",
        requests: &[
            ("GET", "/dicomweb/studies", Any(Search)),
            ("GET", "/dicomweb/{s}/series", Any(Search)),
            ("GET", "/dicomweb/{s}", OfStudy(Retrieve)),
            ("GET", "/dicomweb/{i}", OfStudy(Retrieve)),
            ("GET", "/dicomweb/{s}/metadata", OfStudy(Retrieve)),
            ("GET", "/dicomweb/{i}/frames/1", OfStudy(Retrieve)),
            ("GET", "/dicomweb/{i}/rendered", OfStudy(Render)),
            ("GET", "/dicomweb/wado?{w}", OfStudy(Render)),
        ],
    },
    Row {
        named: "`GET`, `OPTIONS /manifests/{id}/dicomweb`",
        requests: &[
            ("GET", "{m}/dicomweb", Of(Search)),
            ("OPTIONS", "{m}/dicomweb", Of(Search)),
        ],
    },
    Row {
        named: "`GET /wado-rs/homeCommunityId/{oid}/RetrieveLocationUID/{uid}/studies/…[?retrieveURL=…]`",
        requests: &[("GET", "{x}", Never)],
    },
    Row {
        named: "`/metrics`, `/health/live`, `/health/ready`, `/version`, `DELETE /cache",
        requests: &[("GET", "/.well-known/oauth-protected-resource", Nothing)],
    },
];

/// What a kind of client may do, and to which manifests.
struct Kind {
    name: &'static str,
    token: Option<String>,
    rights: &'static [Right],
    sees_own: bool,
    sees_foreign: bool,
}

impl Kind {
    fn of(
        name: &'static str,
        token: Option<String>,
        rights: &'static [Right],
        sees: (bool, bool),
    ) -> Self {
        Self {
            name,
            token,
            rights,
            sees_own: sees.0,
            sees_foreign: sees.1,
        }
    }

    /// The status that an answer has to have; `None`: any that is a success.
    fn expected(&self, needs: Needs, whose: Whose) -> Option<u16> {
        let is_valid = self
            .token
            .as_deref()
            .is_some_and(|token| token != "expired");
        let sees = match whose {
            Whose::Own => self.sees_own,
            Whose::Foreign => self.sees_foreign,
            Whose::Unknown => false,
        };
        let (right, otherwise) = match needs {
            Nothing => return (self.name == "expired").then_some(401),
            _ if !is_valid => return Some(401),
            Never => return Some(404),
            Of(right) => (right, 404),
            OfStudy(right) | Any(right) => (right, 403),
        };
        if !self.rights.contains(&right) {
            return Some(otherwise);
        }
        (!sees && !matches!(needs, Any(_))).then_some(404)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Foreign,
    Unknown,
}

const RULES: &str = r#"
[[rule]]
roles = ["registrar"]
transactions = ["register", "list", "search", "retrieve", "render", "link"]
manifests = "own"

[[rule]]
roles = ["indexer"]
transactions = ["list", "search"]
manifests = "all"

[[rule]]
scopes = ["patient/ImagingStudy.read"]
purposes = ["TREAT"]
transactions = ["list", "search", "retrieve", "render"]
manifests = "patient"
"#;

const ALL: &[Right] = &[Register, List, Search, Retrieve, Render, Link];
const READ: &[Right] = &[List, Search, Retrieve, Render];

fn kinds(issuer: &Issuer) -> Vec<Kind> {
    let registrar =
        |name: &str| issuer.token(name, json!({ "subject_role": [{ "code": "registrar" }] }));
    let indexer = issuer.token("ina", json!({ "subject_role": [{ "code": "indexer" }] }));
    let patient = |id: &str, purpose: &str| {
        let claims = json!({ "person_id": id, "purpose_of_use": [{ "code": purpose }] });
        issuer.scoped("pat", "patient/ImagingStudy.read", claims)
    };
    vec![
        Kind::of("nobody", None, &[], (false, false)),
        Kind::of("expired", Some("expired".into()), &[], (false, false)),
        Kind::of(
            "without rights",
            Some(issuer.token("ned", json!({}))),
            &[],
            (false, false),
        ),
        Kind::of("owner", Some(registrar("anna")), ALL, (true, false)),
        Kind::of("other owner", Some(registrar("berta")), ALL, (false, true)),
        Kind::of("stranger", Some(registrar("carl")), ALL, (false, false)),
        Kind::of("indexer", Some(indexer), &[List, Search], (true, true)),
        Kind::of(
            "patient",
            Some(patient("A-1^^^&1.2.99&ISO", "TREAT")),
            READ,
            (true, false),
        ),
        Kind::of(
            "number of another issuer",
            Some(patient("A-1^^^&1.2.98&ISO", "TREAT")),
            READ,
            (false, false),
        ),
        Kind::of(
            "other purpose",
            Some(patient("A-1^^^&1.2.99&ISO", "HRESCH")),
            &[],
            (false, false),
        ),
    ]
}

/// A manifest, or one that is not there.
struct Target {
    whose: Whose,
    manifest: String,
    study: Study,
    /// Registered a second time by whoever may register.
    document: Vec<u8>,
}

impl Target {
    fn path(&self, template: &str) -> String {
        let instance = self.study.instances()[0].clone();
        let uids: Vec<String> = instance.path().split('/').map(str::to_owned).collect();
        let (study, series, uid) = (&uids[1], &uids[3], &uids[5]);
        let query = format!("requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={uid}");
        template
            .replace("{m}", &format!("/manifests/{}", self.manifest))
            .replace("{s}", &self.study.path())
            .replace("{i}", &instance.path())
            .replace("{w}", &query)
            .replace(
                "{x}",
                &crate::rig::rad_160(HERE, &location_uid(10), &self.study.path()),
            )
    }
}

pub(super) fn document(study: &Study, patient: &str) -> Vec<u8> {
    let mut document = study.fhir_document();
    let entries = document["entry"].as_array_mut().expect("entries");
    let last = entries.last_mut().expect("a patient");
    last["resource"]["identifier"] = json!([{ "system": "urn:oid:1.2.99", "value": patient }]);
    document.to_string().into_bytes()
}

#[test]
fn every_url_of_readme_has_a_row() {
    let readme = include_str!("../../../README.md");
    let table = readme.split("## URLs").nth(1).expect("a table");
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| serves |"));
    let cells: BTreeSet<&str> = rows.filter_map(|row| row.strip_prefix("| ")).collect();
    assert!(cells.len() > 10);
    for cell in &cells {
        let is_known = ROWS.iter().any(|row| cell.starts_with(row.named));
        assert!(is_known, "the matrix has no row for {cell}");
    }
    for row in &ROWS {
        let is_listed = cells.iter().any(|cell| cell.starts_with(row.named));
        assert!(is_listed, "README does not list {}", row.named);
    }
}

#[tokio::test]
async fn nobody_sees_more_than_the_rules_permit() {
    let studies = [1, 2, 3].map(|last| Study::new(last).with(2, at(10)));
    let held: Vec<_> = studies.iter().flat_map(Study::instances).collect();
    let origin = Origin::start(move |asked| honest(&held, asked)).await;
    let issuer = Issuer::new();
    let rig = Rig::start(&format!(
        "{}{RULES}{}",
        origin.location(10),
        issuer.settings()
    ));
    let kinds = kinds(&issuer);
    let register = async |kind: &str, document: &[u8]| {
        let owner = kinds.iter().find(|one| one.name == kind).expect("a kind");
        let field = format!("Bearer {}", owner.token.as_deref().unwrap_or_default());
        let fields = [("authorization", field.as_str())];
        Registered::of(&rig.post("/manifests", &fields, document.to_vec()).await).id
    };
    let [one, two, three] = studies;
    let documents = [document(&one, "A-1"), document(&two, "B-1")];
    let own = register("owner", &documents[0]).await;
    let foreign = register("other owner", &documents[1]).await;
    let [first, second] = documents;
    let targets = [
        (Whose::Own, own, one, first),
        (Whose::Foreign, foreign, two, second),
        (Whose::Unknown, "0".repeat(32), three, Vec::new()),
    ];
    let targets = targets.map(|(whose, manifest, study, document)| Target {
        whose,
        manifest,
        study,
        document,
    });
    // Whoever may see something comes between those who may not, so that each is asked cold and warm.
    let mut failures = Vec::new();
    for round in ["cold", "warm"] {
        for kind in &kinds {
            let asked = origin.asked().len();
            let wrong = ask_all(&rig, &issuer, kind, &targets).await;
            failures.extend(wrong.into_iter().map(|one| format!("{round}: {one}")));
            if !kind.sees_own && !kind.sees_foreign {
                assert_eq!(
                    origin.asked().len(),
                    asked,
                    "{}: a source is asked",
                    kind.name
                );
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{failures:#?}", failures.len());
}

async fn ask_all(rig: &Rig, issuer: &Issuer, kind: &Kind, targets: &[Target; 3]) -> Vec<String> {
    let mut failures = Vec::new();
    for (method, template, needs) in ROWS.iter().flat_map(|row| row.requests) {
        let mut unknown = None;
        for target in targets.iter().rev() {
            let path = target.path(template);
            let token = match kind.token.as_deref() {
                Some("expired") => Some(issuer.expired("anna")),
                token => token.map(str::to_owned),
            };
            let field = token.map(|token| format!("Bearer {token}"));
            let mut fields = vec![("accept", "*/*")];
            fields.extend(field.as_deref().map(|field| ("authorization", field)));
            let body = match *template {
                "/manifests" if *method == "POST" => Bytes::from(target.document.clone()),
                _ => Bytes::new(),
            };
            // Nothing is registered that does not exist.
            if *method == "POST" && *template == "/manifests" && body.is_empty() {
                continue;
            }
            // Another one's document becomes a manifest of one's own, whose links do not matter here.
            if *method == "POST" && *template == "/manifests" && kind.rights.contains(&Register) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = rig.ask(method.clone(), &path, &fields, body).await;
            let expected = kind.expected(*needs, target.whose);
            let is_right = match expected {
                Some(status) => answer.status == status,
                // The instances have no pixels: this says so to those who may see them.
                None => answer.status.is_success() || answer.status == 422,
            };
            let what = format!("{} {method} {template} {:?}", kind.name, target.whose);
            if !is_right {
                failures.push(format!("{what}: {} and not {expected:?}", answer.status));
            }
            let shown = Shown::of(&answer);
            if target.whose == Whose::Unknown {
                unknown = Some(shown);
            } else if expected.is_some() && unknown.as_ref().is_some_and(|one| *one != shown) {
                failures.push(format!("{what}: it tells that there is something"));
            }
        }
    }
    failures
}

#[tokio::test]
async fn lists_and_searches_show_what_the_client_may_see() {
    let studies = [1, 2].map(|last| Study::new(last).with(2, at(10)));
    let held: Vec<_> = studies.iter().flat_map(Study::instances).collect();
    let origin = Origin::start(move |asked| honest(&held, asked)).await;
    let issuer = Issuer::new();
    let rig = Rig::start(&format!(
        "{}{RULES}{}",
        origin.location(10),
        issuer.settings()
    ));
    let kinds = kinds(&issuer);
    let field = |kind: &str| {
        let kind = kinds.iter().find(|one| one.name == kind).expect("a kind");
        format!("Bearer {}", kind.token.as_deref().expect("a token"))
    };
    for (kind, study, patient) in [("owner", 0, "A-1"), ("other owner", 1, "B-1")] {
        let field = field(kind);
        let fields = [("authorization", field.as_str())];
        let registered = rig
            .post("/manifests", &fields, document(&studies[study], patient))
            .await;
        assert_eq!(registered.status, 201);
        let again = rig
            .post("/manifests", &fields, document(&studies[study], patient))
            .await;
        assert_eq!(again.status, 200);
    }
    let count = |answer: crate::rig::Answer| {
        let found = if answer.body.is_empty() {
            json!([])
        } else {
            answer.json()
        };
        let list = found.get("manifests").unwrap_or(&found).clone();
        list.as_array().map(Vec::len)
    };
    for (kind, expected) in [
        ("owner", 1),
        ("other owner", 1),
        ("stranger", 0),
        ("patient", 1),
        ("indexer", 2),
    ] {
        let field = field(kind);
        let fields = [("authorization", field.as_str())];
        let listed = rig.get("/manifests", &fields).await;
        assert_eq!(count(listed), Some(expected), "{kind}");
        for (path, expected) in [
            ("/dicomweb/studies".to_owned(), expected),
            ("/dicomweb/studies?limit=1".to_owned(), expected.min(1)),
            (format!("/dicomweb/studies?limit=5&offset={expected}"), 0),
            (
                "/dicomweb/studies?PatientID=B-1".to_owned(),
                usize::from(matches!(kind, "other owner" | "indexer")),
            ),
            ("/dicomweb/series".to_owned(), expected),
            ("/dicomweb/instances".to_owned(), 2 * expected),
        ] {
            let found = rig.get(&path, &fields).await;
            assert_eq!(count(found), Some(expected), "{kind} {path}");
        }
    }
    // The same document of two owners is two manifests, and neither learns of the other's.
    let field = field("stranger");
    let fields = [("authorization", field.as_str())];
    let registered = rig
        .post("/manifests", &fields, document(&studies[0], "A-1"))
        .await;
    assert_eq!(registered.status, 201);
    let other = rig
        .post("/manifests", &fields, document(&studies[1], "Z-9"))
        .await;
    assert_eq!(
        other.status, 201,
        "it would tell that somebody else has another patient: {other:?}"
    );
    let id = Registered::of(&registered).id;
    let path = format!("/manifests/{id}");
    let deleted = rig.ask(Method::DELETE, &path, &fields, Bytes::new()).await;
    assert_eq!(deleted.status, 204);
}
