use std::sync::Arc;

use super::*;
use crate::access::links::{LinkTerms, Links};
use crate::access::partner::Partner;
use crate::dicom::PatientId;
use crate::ihe::HomeCommunityId;
use crate::manifest::Id;

fn community(text: &str) -> HomeCommunityId {
    HomeCommunityId::parse(text).expect("an OID")
}

fn claims() -> Claims {
    let code = |system: &str, code: &str| Code {
        system: Some(system.into()),
        code: code.into(),
    };
    Claims {
        issuer: "hospital".into(),
        subject: "anna".into(),
        client_id: Some("viewer".into()),
        scopes: vec!["RAD-107".into(), "openid".into()].into(),
        roles: vec![code("urn:roles", "radiologist")].into(),
        organisations: vec!["Clinic".into(), "1.2.3".into()].into(),
        purposes: vec![code("urn:reasons", "TREAT")].into(),
        home_community_id: Some(community("1.2.40")),
        patient: Vec::new().into(),
        expires: i64::MAX,
    }
}

fn subject() -> Caller {
    Caller::Subject(Arc::new(claims()))
}

fn link(purpose: Option<&str>) -> Caller {
    let links = Links::default();
    let terms = LinkTerms {
        manifest: Id::from_random([1; 16]),
        series: Vec::new(),
        purpose: purpose.map(Into::into),
        made: 0,
        expires: 9,
        uses: None,
        has_code: false,
        owner: None,
    };
    Caller::Link(links.make(terms, 0).expect("a link").grant)
}

fn partner() -> Caller {
    let partner = Partner::new(community("1.2.50"), "partner".into(), None);
    Caller::Partner(Arc::new(partner))
}

fn member(with_certificate: bool) -> Caller {
    Caller::Member { with_certificate }
}

/// Rules as settings write them.
fn rules(text: &str) -> Rules {
    #[derive(serde::Deserialize)]
    struct Written {
        rule: Vec<RuleSettings>,
    }
    let written: Written = toml::from_str(text).expect("rules");
    Rules::new(&written.rule, &["hospital"]).expect("rules without problems")
}

/// A rule with these conditions, which permits to search in everything.
fn rule(conditions: &str) -> Rules {
    rules(&format!(
        "[[rule]]\n{conditions}\ntransactions = [\"search\"]\nmanifests = \"all\""
    ))
}

#[test]
fn every_condition_that_is_set_must_hold() {
    for (conditions, expected) in [
        ("", true),
        ("issuers = ['hospital']", true),
        ("subjects = ['berta', 'anna']", true),
        ("subjects = ['ann']", false),
        ("subjects = ['ANNA']", false),
        ("clients = ['viewer']", true),
        ("clients = ['other']", false),
        ("scopes = ['RAD-107']", true),
        ("scopes = ['RAD']", false),
        ("roles = ['radiologist']", true),
        ("roles = ['urn:roles|radiologist']", true),
        ("roles = ['urn:other|radiologist']", false),
        ("organisations = ['1.2.3']", true),
        ("organisations = ['1.2']", false),
        ("communities = ['1.2.40']", true),
        ("communities = ['1.2.50']", false),
        ("purposes = ['TREAT']", true),
        ("purposes = ['HRESCH']", false),
        ("link = true", false),
        ("certificate = true", false),
        ("anyone = true", true),
        ("subjects = ['anna']\npurposes = ['HRESCH']", false),
        (
            "subjects = ['anna']\nroles = ['radiologist']\npurposes = ['TREAT']",
            true,
        ),
    ] {
        let view = rule(conditions).view(&subject(), Transaction::Search);
        assert_eq!(view.is_everything(), expected, "{conditions}");
        assert_eq!(view.is_nothing(), !expected, "{conditions}");
        // Another transaction is another right.
        let view = rule(conditions).view(&subject(), Transaction::Retrieve);
        assert!(view.is_nothing(), "{conditions}");
    }
}

#[test]
fn a_rule_is_for_the_kinds_of_clients_that_it_names() {
    let kinds = [
        ("subject", subject()),
        ("partner", partner()),
        ("certificate", member(true)),
        ("nobody", member(false)),
    ];
    for (conditions, expected) in [
        // Any client that is identified.
        ("", vec!["subject", "partner", "certificate"]),
        (
            "anyone = true",
            vec!["subject", "partner", "certificate", "nobody"],
        ),
        ("certificate = true", vec!["certificate"]),
        ("communities = ['1.2.50']", vec!["partner"]),
        (
            "communities = ['1.2.50', '1.2.40']",
            vec!["subject", "partner"],
        ),
        ("link = true", vec![]),
        ("purposes = ['TREAT']", vec!["subject"]),
        ("scopes = ['RAD-107']", vec!["subject"]),
        ("scopes = ['RAD-107']\ncertificate = true", vec![]),
    ] {
        let permitted = kinds.iter().filter(|(_, caller)| {
            let view = rule(conditions).view(caller, Transaction::Search);
            view.is_everything()
        });
        let permitted: Vec<_> = permitted.map(|(name, _)| *name).collect();
        assert_eq!(permitted, expected, "{conditions}");
    }
}

#[test]
fn the_first_rule_that_concerns_a_request_decides() {
    let deny = "[[rule]]\nsubjects = ['anna']\ntransactions = ['search']\neffect = 'deny'\nmanifests = 'all'\n";
    let allow = "[[rule]]\ntransactions = ['search', 'list']\nmanifests = 'all'\n";
    let of = |text: &str, transaction| rules(text).view(&subject(), transaction);
    assert!(of(&format!("{deny}{allow}"), Transaction::Search).is_nothing());
    assert!(of(&format!("{deny}{allow}"), Transaction::List).is_everything());
    assert!(of(&format!("{allow}{deny}"), Transaction::Search).is_everything());
}

#[test]
fn a_link_shows_its_manifest_unless_a_rule_for_links_forbids_it() {
    let permitted = |text: &str, purpose, transaction| {
        let rules = if text.is_empty() {
            Rules(Vec::new())
        } else {
            rules(text)
        };
        let view = rules.view(&link(purpose), transaction);
        assert!(!view.is_everything());
        !view.is_nothing()
    };
    let deny = "[[rule]]\nlink = true\ntransactions = ['render']\neffect = 'deny'";
    let everything = "[[rule]]\nanyone = true\ntransactions = ['register']\nmanifests = 'all'";
    use Transaction::{Link, List, Register, Render, Retrieve, Search};
    for transaction in [List, Search, Retrieve, Render] {
        assert!(permitted("", None, transaction));
        assert_eq!(permitted(deny, None, transaction), transaction != Render);
    }
    for transaction in [Register, Link, Transaction::Operate] {
        assert!(!permitted("", None, transaction));
        assert!(!permitted(everything, None, transaction));
    }
    let of_purpose = format!("{deny}\npurposes = ['TREAT']");
    assert!(permitted(&of_purpose, None, Render));
    assert!(!permitted(&of_purpose, Some("TREAT"), Render));
}

#[test]
fn a_patients_manifests_need_an_identifier_whose_issuer_is_known_everywhere() {
    let rules = rules("[[rule]]\ntransactions = ['search']\nmanifests = 'patient'");
    let of = |patient: Option<PatientId>| {
        let patient = patient.into_iter().collect::<Vec<_>>().into();
        let caller = Caller::Subject(Arc::new(Claims {
            patient,
            ..claims()
        }));
        !rules.view(&caller, Transaction::Search).is_nothing()
    };
    assert!(of(PatientId::new("A", Some("urn:oid:1.2.3"))));
    assert!(!of(PatientId::new("A", Some("LOCAL"))));
    assert!(!of(PatientId::new("A", None)));
    assert!(!of(None));
}

#[test]
fn a_partner_retrieves_from_the_locations_of_its_rule() {
    let rules = rules(
        "[[rule]]\ncommunities = ['1.2.50']\ntransactions = ['xc_wado_responding']\nlocations = ['1.9']",
    );
    let permit =
        |caller: &Caller, transaction, location| rules.permit(caller, transaction, location);
    let responding = Transaction::XcWadoResponding;
    assert!(permit(&partner(), responding, Some("1.9")));
    assert!(!permit(&partner(), responding, Some("1.8")));
    assert!(!permit(&partner(), responding, None));
    assert!(!permit(
        &partner(),
        Transaction::XcWadoInitiating,
        Some("1.9")
    ));
    assert!(!permit(&subject(), responding, Some("1.9")));
    assert!(!permit(&member(false), responding, Some("1.9")));
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    let problems = |rule: RuleSettings| {
        let problems = Rules::new(&[rule], &["hospital"]).expect_err("a problem");
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        problems.join("\n")
    };
    let usable = || RuleSettings {
        transactions: vec![Transaction::Search],
        ..RuleSettings::default()
    };
    assert!(problems(RuleSettings::default()).contains("transactions"));
    let unknown = RuleSettings {
        issuers: vec!["clinic".into()],
        ..usable()
    };
    assert!(problems(unknown).contains("clinic"));
    let located = RuleSettings {
        locations: vec!["1.2".into()],
        ..usable()
    };
    assert!(problems(located).contains("locations"));
    let contradictory = RuleSettings {
        anyone: true,
        subjects: vec!["anna".into()],
        ..usable()
    };
    assert!(problems(contradictory).contains("anyone"));
}
