//! Sources that decide for each user: tokens of users are exchanged or passed through, and nothing
//! that one user has got answers another.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::server::{CLIENT, Server};
use super::{Guarded, SECRET};
use crate::access::tokens::Issuer;
use crate::commands::process::{outcome, run_beside};
use crate::rig::origin::{Asked, Origin, Reply, honest};
use crate::rig::program::Program;
use crate::rig::study::{Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, HERE, Rig, open, rad_160, request};

const RULES: &str = "[[rule]]\nmanifests = \"all\"\ntransactions = [\"register\", \"list\", \
    \"search\", \"retrieve\", \"render\", \"link\", \"xc_wado_responding\", \
    \"operate\"]\n";

/// A gateway with rules before a source that decides for each user.
struct Hospital {
    study: Study,
    origin: Origin,
    issuer: Issuer,
    rig: Rig,
    root: String,
}

impl Hospital {
    /// `judge`: whether the source answers a request.
    async fn new(
        location: impl Fn(&Origin) -> String,
        judge: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) -> Self {
        let study = Study::new(1).with(3, at(10));
        let held = study.instances();
        let origin = Origin::start(move |asked| match judge(asked) {
            true => honest(&held, asked),
            false => Reply::status(401),
        });
        let (origin, issuer) = (origin.await, Issuer::new());
        let settings = format!("{}{RULES}{}", location(&origin), issuer.settings());
        let rig = Rig::start(&settings);
        let token = format!("Bearer {}", issuer.token("anna", json!({})));
        let fields = [("authorization", token.as_str())];
        let registered = rig.post("/manifests", &fields, study.fhir()).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let id = registered.json()["id"].as_str().expect("an id").to_owned();
        Self {
            study,
            origin,
            issuer,
            rig,
            root: format!("/manifests/{id}/dicomweb/"),
        }
    }

    /// Purges instances, and gives their number.
    async fn forget(&self, query: &str) -> u64 {
        let operator = self.rig.operator;
        let path = format!("/cache{query}");
        let asked = request(Method::DELETE, &path, &[], operator, "".into());
        let answer = open(operator, asked).await.read().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["forgotten"].as_u64().expect("a number")
    }

    async fn get(&self, user: &str, path: &str) -> Answer {
        self.get_with(user, json!({}), path).await
    }

    async fn get_with(&self, user: &str, claims: Value, path: &str) -> Answer {
        let token = format!("Bearer {}", self.issuer.token(user, claims));
        let fields = [("authorization", token.as_str()), AS_STORED];
        self.rig.get(path, &fields).await
    }

    fn study_path(&self) -> String {
        format!("{}{}", self.root, self.study.path())
    }

    async fn is_served(&self, user: &str) {
        let answer = self.get(user, &self.study_path()).await;
        assert_eq!(answer.instances(), self.study.bytes(), "{user}");
    }
}

fn by_exchange(guarded: &Guarded, further: &str) -> String {
    guarded.by_assertion(
        &guarded.token_url(),
        &format!("token_exchange = {{ {further} }}"),
    )
}

#[tokio::test]
async fn what_one_user_has_got_answers_no_other() {
    let location = |origin: &Origin| {
        let location = origin.location(10);
        location.replacen("[[location]]\n", "[[location]]\nper_user = true\n", 1)
    };
    let hospital = Hospital::new(location, |_asked| true).await;
    hospital.is_served("anna").await;
    let asked = hospital.origin.asked().len();
    hospital.is_served("anna").await;
    assert_eq!(hospital.origin.asked().len(), asked, "anna has them");
    hospital.is_served("berta").await;
    let asked_again = hospital.origin.asked().len();
    assert!(asked_again > asked, "berta's right is unknown here");
    hospital.is_served("berta").await;
    assert_eq!(hospital.origin.asked().len(), asked_again);
    // The same person for another purpose may have other rights.
    let emergency = json!({"purpose_of_use": [{"system": "urn:x", "code": "BTG"}]});
    let path = hospital.study_path();
    let answer = hospital.get_with("anna", emergency, &path).await;
    assert_eq!(answer.status, 200);
    assert!(hospital.origin.asked().len() > asked_again);
    // What is forgotten is forgotten for all users.
    let id = hospital.root.split('/').nth(2).expect("an id");
    let forgotten = hospital.forget(&format!("?manifest={id}")).await;
    assert_eq!(forgotten, 9, "three instances of three users");
}

#[tokio::test]
async fn a_token_is_exchanged_for_each_user_and_shared_by_their_requests() {
    let server = Arc::new(Server::start().await);
    let judge = server.judge_users();
    let guarded = Guarded::with(Arc::clone(&server), |_shown| false).await;
    let further = "audience = \"pacs\", resource = \"https://pacs.example/\"";
    let settings = by_exchange(&guarded, further);
    let location = |origin: &Origin| settings.replace(&guarded.origin.url(), &origin.url());
    let hospital = Hospital::new(location, move |asked| {
        judge(asked.field("authorization"), &["anna", "berta"])
    })
    .await;
    for user in ["anna", "berta", "anna", "berta"] {
        hospital.is_served(user).await;
    }
    let exchanges = server.exchanges();
    let subjects: Vec<_> = exchanges.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(subjects, ["anna", "berta"]);
    let anna = &exchanges[0];
    assert_eq!(anna.audience.as_deref(), Some("pacs"));
    assert_eq!(anna.resource.as_deref(), Some("https://pacs.example/"));
    assert_eq!(
        anna.scope.as_deref(),
        Some("system/ImagingStudy.read RAD-107")
    );
    // The gateway says for which community it acts; a purpose it was told it tells.
    let here = json!({"ihe_iua": {"home_community_id": format!("urn:oid:{HERE}")}});
    assert_eq!(anna.actor, Some(here));
    let purposes = json!([{"system": "urn:x", "code": "ETREAT"}]);
    let told = json!({"purpose_of_use": purposes, "home_community_id": "urn:oid:1.2.4"});
    let path = hospital.study_path();
    assert_eq!(
        hospital.get_with("anna", told.clone(), &path).await.status,
        200
    );
    assert_eq!(server.exchanges()[2].actor, Some(json!({"ihe_iua": told})));

    // The source lets one user in and the other not: nothing that is kept bridges that.
    let refused = hospital.get("carla", &hospital.study_path()).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.problem().to_string().contains("this one"),
        "{refused:?}"
    );
    let single = format!("{}{}", hospital.root, hospital.study.instances()[0].path());
    let carla = format!("Bearer {}", hospital.issuer.token("carla", json!({})));
    let fields = [("authorization", carla.as_str()), ("accept", "*/*")];
    for below in ["", "/metadata", "/frames/1", "/rendered", "/thumbnail"] {
        let refused = hospital.rig.get(&format!("{single}{below}"), &fields).await;
        assert_eq!(refused.status, 403, "{below}: {refused:?}");
    }
    // The authorization server refuses the user.
    let refused = hospital.get("mallory", &hospital.study_path()).await;
    assert_eq!(refused.status, 403);
    let text = refused.problem().to_string();
    assert!(text.contains("authorization server"), "{text}");

    // A rejected token is replaced once.
    hospital.forget("").await;
    server.revoke_users();
    hospital.is_served("anna").await;
    let exchanges = server.exchanges();
    assert_eq!(
        exchanges.iter().filter(|one| one.subject == "anna").count(),
        3
    );
}

#[tokio::test]
async fn without_a_token_of_a_user_nothing_is_asked() {
    let server = Arc::new(Server::start().await);
    let guarded = Guarded::with(Arc::clone(&server), |_shown| false).await;
    for (further, expected) in [
        ("audience = \"pacs\"", 403),
        ("without_user = \"refuse\"", 403),
        ("without_user = \"client_credentials\"", 200),
    ] {
        let judge = server.judge();
        let settings = by_exchange(&guarded, further);
        let location = |origin: &Origin| settings.replace(&guarded.origin.url(), &origin.url());
        let hospital =
            Hospital::new(location, move |asked| judge(asked.field("authorization"))).await;
        let manifest = hospital.root.trim_end_matches("dicomweb/");
        let token = format!("Bearer {}", hospital.issuer.token("anna", json!({})));
        let fields = [("authorization", token.as_str())];
        let made = hospital
            .rig
            .post(&format!("{manifest}links"), &fields, "{}")
            .await;
        let link = made.json()["url"].as_str().expect("a URL").to_owned();
        let path = link.split_once("/link/").expect("a link").1.to_owned();
        let path = format!("/link/{path}/dicomweb/{}", hospital.study.path());
        let answer = hospital.rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, expected, "{further}");
        let asked = hospital.origin.asked().len();
        assert_eq!(asked > 0, expected == 200, "{further}");
    }
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn a_token_passes_through_where_settings_say_so_and_nowhere_else() {
    let location = |origin: &Origin| {
        let http = "authorization_in_clear = true\nauthorization = \"pass_through\"";
        origin.location_with(10, http)
    };
    let hospital = Hospital::new(location, |asked| {
        asked.field("authorization").starts_with("Bearer ey")
    })
    .await;
    hospital.is_served("anna").await;
    let asked = hospital.origin.asked();
    let token = asked[0].field("authorization").to_owned();
    hospital.is_served("anna").await;
    assert_eq!(hospital.origin.asked().len(), asked.len());
    hospital.is_served("berta").await;
    let other = hospital.origin.asked();
    assert_ne!(other[asked.len()].field("authorization"), token);
    // RAD-160 is another way to the same source.
    let path = rad_160(HERE, &location_uid(10), &hospital.study.path());
    let before = hospital.origin.asked().len();
    assert_eq!(hospital.get("carla", &path).await.status, 200);
    let asked = hospital.origin.asked();
    assert!(
        asked[before]
            .field("authorization")
            .starts_with("Bearer ey")
    );

    let elsewhere = Hospital::new(|origin| origin.location(10), |_asked| true).await;
    elsewhere.is_served("anna").await;
    for asked in elsewhere.origin.asked() {
        assert_eq!(asked.field("authorization"), "");
    }
}

#[tokio::test]
async fn a_check_needs_no_user_and_no_output_shows_a_token() {
    let server = Arc::new(Server::start().await);
    let guarded = Guarded::with(Arc::clone(&server), |_shown| false).await;
    let issuer = Issuer::new();
    let settings = format!("{}{RULES}{}", by_exchange(&guarded, ""), issuer.settings());
    let config = guarded.directory.path().join("config.toml");
    let text = format!("home_community_id = \"1.2.3\"\n{settings}");
    std::fs::write(&config, text).expect("written");
    let config = config.display().to_string();
    let (code, told, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
    assert_eq!(code, 0, "{told} {errors}");
    let program = Program::serve(&settings).await;
    let token = issuer.token("mallory", json!({}));
    let field = format!("Bearer {token}");
    let fields = [("authorization", field.as_str()), AS_STORED];
    let refused = program.get(&guarded.path(), &fields).await;
    assert_eq!(refused.status, 403);
    let log = format!("{:?}", program.log());
    for text in [log, told, errors] {
        for secret in ["eyJ", "mallory", SECRET, CLIENT] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let folder = format!(
        "home_community_id = \"1.2.3\"\n[[location]]\nfolder = {:?}\nper_user = true\n",
        guarded.directory.path()
    );
    std::fs::write(&config, folder).expect("written");
    let (code, _told, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
    assert_ne!(code, 0);
    assert!(errors.contains("per_user"), "{errors}");
}
