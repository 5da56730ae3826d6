//! Rules without tokens: nobody in particular, and what is not for everybody.

use serde_json::json;

use crate::access::tokens::Issuer;
use crate::commands::process::{outcome, run_beside};
use crate::rig::origin::Origin;
use crate::rig::study::location_uid;
use crate::rig::study::{Study, at};
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

#[tokio::test]
async fn without_a_rule_everything_is_forbidden_and_says_how_to_get_in() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!(
        "[listen]\naccess = \"rules\"\n{}",
        origin.location(10)
    ));
    let unknown = format!("/manifests/{}", "0".repeat(32));
    for path in [
        "/manifests".to_owned(),
        unknown.clone(),
        format!("{unknown}/dicomweb/studies"),
        format!("{unknown}/viewers"),
        format!("{unknown}/links"),
        "/dicomweb".into(),
        "/dicomweb/studies".into(),
        format!("/dicomweb/{}", study.path()),
        format!("/dicomweb/{}/metadata", study.path()),
        format!("/dicomweb/{}/rendered", study.path()),
        "/dicomweb/wado?requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4".into(),
        rad_160(HERE, &location_uid(10), &study.path()),
        rad_160("1.2.3", &location_uid(10), &study.path()),
    ] {
        let refused = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(refused.status, 401, "{path}");
        let challenge = refused.field("www-authenticate");
        let metadata = format!("http://{}/.well-known/oauth-protected-resource", rig.public);
        assert_eq!(
            challenge,
            format!("Bearer resource_metadata=\"{metadata}\""),
            "{path}"
        );
    }
    let refused = rig.post("/manifests", &[], study.fhir()).await;
    assert_eq!(refused.status, 401);
    for wrong in ["Bearer x", "Bearer", "Basic eDp5", ""] {
        let refused = rig.get("/manifests", &[("authorization", wrong)]).await;
        assert_eq!(refused.status, 401, "{wrong}");
        assert!(
            refused.field("www-authenticate").contains("invalid_token"),
            "{wrong}"
        );
    }
    let metadata = rig.get("/.well-known/oauth-protected-resource", &[]).await;
    assert_eq!(metadata.status, 200);
    assert_eq!(
        metadata.json()["resource"],
        format!("http://{}", rig.public)
    );
    assert!(origin.asked().is_empty());
}

#[tokio::test]
async fn a_transaction_that_no_rule_permits_is_refused_and_others_work() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rules = r#"
        [[rule]]
        anyone = true
        transactions = ["render"]
        manifests = "all"
        effect = "deny"

        [[rule]]
        anyone = true
        transactions = ["register", "search", "retrieve", "render"]
        manifests = "all"

        [[rule]]
        anyone = true
        transactions = ["xc_wado_responding"]
        locations = ["1.2.3"]
    "#;
    let rig = Rig::start(&format!("{}{rules}", origin.location(10)));
    let registered = rig.register(study.fhir()).await;
    let root = &registered.root;
    let (study_path, instance) = (study.path(), study.instances()[0].path());
    for (path, expected) in [
        (format!("{root}studies"), 200),
        (format!("{root}{study_path}"), 200),
        (format!("{root}{study_path}/metadata"), 200),
        (format!("{root}{instance}/rendered"), 401),
        (format!("{root}{instance}/thumbnail"), 401),
        (format!("{root}{instance}/frames/1/rendered"), 401),
        (format!("/dicomweb/{study_path}"), 200),
        (format!("/dicomweb/{study_path}/rendered"), 401),
        ("/dicomweb/studies".into(), 200),
        ("/manifests".into(), 401),
        (rad_160(HERE, &location_uid(10), &study_path), 401),
    ] {
        let accept = [("accept", "*/*")];
        assert_eq!(rig.get(&path, &accept).await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn fetch_sends_a_token_or_follows_a_link() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let issuer = Issuer::new();
    let rules = "[[rule]]\ntransactions = [\"register\", \"list\", \"retrieve\", \"link\"]\n";
    let settings = format!("{}{rules}{}", origin.location(10), issuer.settings());
    let rig = Rig::start(&settings);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("manifest.json"), study.fhir()).expect("written");
    let token = issuer.token("anna", json!({}));
    std::fs::write(path("token"), &token).expect("written");
    let gateway = format!("http://{}", rig.public);
    let fetch = async |manifest: &str, into: &str, more: &[&str]| {
        let (into, gateway) = (path(into), gateway.as_str());
        let mut arguments = vec!["fetch", manifest, "-o", &into, "--gateway", gateway];
        arguments.extend(more);
        outcome(&run_beside(&arguments).await)
    };
    let manifest = path("manifest.json");
    let (code, _, errors) = fetch(&manifest, "none", &[]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("401"), "{errors}");
    let file = path("token");
    let (code, told, errors) = fetch(&manifest, "one", &["--token-file", &file]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(told.contains("2 of 2 instances"), "{told}");
    let field = format!("Bearer {token}");
    let fields = [("authorization", field.as_str())];
    let listed = rig.get("/manifests", &fields).await.json();
    let id = listed["manifests"][0]["id"].as_str().expect("an id");
    let link = rig
        .post(&format!("/manifests/{id}/links"), &fields, "")
        .await
        .json();
    let link = link["url"].as_str().expect("an address");
    let (code, told, errors) = fetch(link, "two", &[]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(told.contains("2 of 2 instances"), "{told}");
    // A token does not leave the machine in clear.
    let elsewhere = ["--token-file", &file];
    let (code, _, errors) = fetch("http://gateway.example/manifests/1", "three", &elsewhere).await;
    assert_eq!(code, 1);
    assert!(errors.contains("in clear"), "{errors}");
}

#[tokio::test]
async fn explain_names_the_rule_that_decides() {
    let issuer = Issuer::new();
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.toml");
    let rules = "[[rule]]\nname = \"no research\"\npurposes = [\"HRESCH\"]\neffect = \"deny\"\n\
                 transactions = [\"search\"]\nmanifests = \"all\"\n\
                 [[rule]]\nname = \"staff\"\nroles = [\"nurse\"]\n\
                 transactions = [\"search\"]\nmanifests = \"all\"\n";
    let text = format!(
        "home_community_id = \"1.2.3\"\ndata_directory = {:?}\n{rules}{}",
        directory.path().join("var"),
        issuer.settings()
    );
    std::fs::write(&config, text).expect("written");
    let config = config.display().to_string();
    let explain = async |token: Option<&str>, path: &str| {
        let mut arguments = vec!["rules", "explain", "--config", &config];
        arguments.extend(token.iter().flat_map(|token| ["--token", token]));
        arguments.extend(["GET", path]);
        outcome(&run_beside(&arguments).await)
    };
    let of = |role: &str, purpose: &str| {
        issuer.token(
            "anna",
            json!({
                "subject_role": [{ "code": role }],
                "purpose_of_use": [{ "code": purpose }],
            }),
        )
    };
    let (nurse, research, other) = (
        of("nurse", "TREAT"),
        of("nurse", "HRESCH"),
        of("cook", "TREAT"),
    );
    for (token, expected) in [
        (
            Some(nurse.as_str()),
            ["rule 2 (staff): decides", "permitted"],
        ),
        (Some(&research), ["rule 1 (no research): decides", "403: "]),
        (
            Some(&other),
            ["rule 2 (staff): is for other roles", "403: "],
        ),
        (
            None,
            [
                "rule 2 (staff): is for clients that are identified",
                "401: ",
            ],
        ),
    ] {
        let (code, told, errors) = explain(token, "/dicomweb/studies").await;
        assert_eq!(code, 0, "{errors}");
        for text in expected {
            assert!(told.contains(text), "{text}: {told}");
        }
    }
    let unknown = format!("/manifests/{}/dicomweb/studies", "0".repeat(32));
    let (_, told, _) = explain(Some(&nurse), &unknown).await;
    assert!(
        told.contains("which is not registered") && told.contains("404: "),
        "{told}"
    );
    let (code, _, errors) = explain(Some("x"), "/dicomweb/studies").await;
    assert!(code == 1 && errors.contains("401: "), "{errors}");
}
