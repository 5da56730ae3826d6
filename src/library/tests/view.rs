//! Which manifests are visible to whom.

use super::*;
use crate::dicom::PatientId;
use crate::manifest::Owner;

/// Registers a study of a patient for an owner.
fn owned(store: &Library, owner: Option<u8>, patient: &str) -> Id {
    let patient = format!(
        r#"{{"fullUrl": "urn:uuid:9", "resource": {{"resourceType": "Patient",
          "identifier": [{{"system": "urn:oid:1.2.99", "value": "{patient}"}}]}}}},"#
    );
    let subject = r#""status": "available", "subject": {"reference": "urn:uuid:9"},"#;
    let bundle = BUNDLE.replacen("\"entry\": [", &format!("\"entry\": [{patient}"), 1);
    let bundle = bundle.replacen(r#""status": "available","#, subject, 1);
    let registration = Registration {
        owner: owner.map(|number| Owner([number; 16])),
        ..Registration::default()
    };
    let submission = Submission {
        registration,
        ..Submission::default()
    };
    let registered = store.register(bundle.as_bytes(), submission, 1, &alone());
    registered.expect("registered").0.id
}

fn view(clauses: &[(Whose, bool)]) -> View {
    let clauses = clauses.iter().cloned();
    let clauses = clauses.map(|(whose, is_visible)| Clause { whose, is_visible });
    View::of(clauses.collect())
}

fn patient(value: &str) -> Whose {
    let id = PatientId::new(value, Some("1.2.99")).expect("an identifier");
    Whose::About(vec![id].into())
}

#[test]
fn a_view_shows_what_its_first_clause_decides() {
    let directory = tempfile::tempdir().expect("a directory");
    let before = store(directory.path());
    let nobodys = owned(&before, None, "A");
    let first = owned(&before, Some(1), "A");
    let second = owned(&before, Some(2), "A");
    let one = |number| Whose::OwnedBy(Some(Owner([number; 16])));
    // The same bytes of three owners are three manifests, also after a restart.
    for store in [before, store(directory.path())] {
        for (clauses, expected) in [
            (vec![], vec![]),
            (vec![(Whose::All, true)], vec![nobodys, first, second]),
            (vec![(Whose::All, false), (one(1), true)], vec![]),
            (vec![(one(1), true)], vec![first]),
            (
                vec![(one(1), false), (Whose::All, true)],
                vec![nobodys, second],
            ),
            (vec![(Whose::OwnedBy(None), true)], vec![nobodys]),
            (vec![(Whose::Only(second), true)], vec![second]),
            (vec![(patient("A"), true)], vec![nobodys, first, second]),
            (vec![(patient("B"), true)], vec![]),
        ] {
            let view = view(&clauses);
            let ids = store.of_study(&study(), &view);
            assert_eq!(ids, expected, "{clauses:?}");
            let (mut listed, _) = store.list(&view, None, 9);
            listed.reverse();
            let listed: Vec<Id> = listed.iter().map(|one| one.id).collect();
            assert_eq!(listed, expected, "{clauses:?}");
            let found = store.studies(&Query::default(), &view, None, 99).studies;
            let found: Vec<Id> = found.into_iter().flat_map(|one| one.manifests).collect();
            assert_eq!(found, expected, "{clauses:?}");
            for id in [nobodys, first, second] {
                assert_eq!(store.shows(&view, id), expected.contains(&id));
            }
        }
    }
}

#[test]
fn an_identifier_of_another_issuer_or_of_none_is_another_patient() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let id = owned(&store, None, "A");
    for (issuer, expected) in [
        (Some("1.2.99"), true),
        (Some("urn:oid:1.2.99"), true),
        (Some("1.2.98"), false),
        (Some("1.2.9"), false),
        (None, false),
    ] {
        let patient = PatientId::new("A", issuer).expect("an identifier");
        let view = view(&[(Whose::About(vec![patient].into()), true)]);
        assert_eq!(store.shows(&view, id), expected, "{issuer:?}");
    }
}
