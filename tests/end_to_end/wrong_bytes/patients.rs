//! An instance of another patient than its manifest's is not delivered as if nothing were wrong.

use http::StatusCode;
use serde_json::json;

use crate::rig::origin::Origin;
use crate::rig::study::{CT, EXPLICIT, Instance, Study, at, long, part10, sequence, text};
use crate::rig::{AS_STORED, Answer, HERE, Registered, Rig, rad_160};

const OURS: &str = "1.2.276.99";
const MISMATCHES: &str = "xcwado_patient_mismatches_total";

/// The same instance of this patient, whose identifier is `value@issuer` or has no issuer.
fn of_patient(instance: &Instance, patient: &str) -> Instance {
    let (id, issuer) = patient.split_once('@').unwrap_or((patient, ""));
    let mut set = vec![
        text(0x0008_0016, b"UI", CT),
        text(0x0008_0018, b"UI", &instance.uid),
        text(0x0008_0060, b"CS", "CT"),
        text(0x0010_0020, b"LO", id),
    ];
    if !issuer.is_empty() {
        let universal = long(0x0040_0032, b"UT", issuer.as_bytes());
        set.push(sequence(0x0010_0024, [universal]));
    }
    set.extend([
        text(0x0020_000D, b"UI", &instance.study),
        text(0x0020_000E, b"UI", &instance.series),
        long(0x7FE0_0010, b"OW", &[7; 5000]),
    ]);
    Instance {
        bytes: part10(CT, &instance.uid, EXPLICIT, &set.concat()).into(),
        ..instance.clone()
    }
}

/// The manifest of a study for a patient.
fn manifest(study: &Study, patient: &str) -> Vec<u8> {
    let (id, issuer) = patient.split_once('@').unwrap_or((patient, ""));
    let mut identifier = json!({ "value": id });
    if !issuer.is_empty() {
        identifier["system"] = format!("urn:oid:{issuer}").into();
    }
    let mut document = study.fhir_document();
    let entries = document["entry"].as_array_mut().expect("a list");
    let resource = &mut entries.last_mut().expect("a patient")["resource"];
    resource["identifier"] = json!([identifier]);
    document.to_string().into_bytes()
}

/// A source with a series of two instances of these patients.
struct Case {
    rig: Rig,
    study: Study,
    origin: Origin,
}

impl Case {
    async fn new(patients: [&str; 2], settings: &str) -> Self {
        let mut study = Study::new(1).with(2, at(10));
        for (instance, patient) in study.series[0].instances.iter_mut().zip(patients) {
            *instance = of_patient(instance, patient);
        }
        let origin = Origin::of(&study).await;
        let settings = format!("{settings}\n{}", origin.location(10));
        Self {
            rig: Rig::start(&settings),
            study,
            origin,
        }
    }

    async fn register(&self, query: &str, patient: &str) -> Registered {
        let path = format!("/manifests{query}");
        let body = manifest(&self.study, patient);
        Registered::of(&self.rig.post(&path, &[], body).await)
    }

    async fn get(&self, root: &str, path: &str) -> Answer {
        self.rig.get(&format!("{root}{path}"), &[AS_STORED]).await
    }

    async fn mismatches(&self, outcome: &str) -> f64 {
        let text = self.rig.operator("/metrics").await.text();
        let mut lines = text.lines();
        let found = lines.find_map(|line| {
            let is_meant = line.starts_with(MISMATCHES) && line.contains(outcome);
            is_meant.then(|| line.rsplit(' ').next().unwrap_or_default().to_owned())
        });
        found.and_then(|count| count.parse().ok()).unwrap_or(0.0)
    }
}

/// Whether an answer contains nothing of an instance and is not a success.
fn is_refused(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_GATEWAY && answer.problem().contains("another patient")
}

#[tokio::test]
async fn instances_of_another_patient_are_refused_by_every_url_cold_and_warm() {
    let foreign = format!("P-2@{OURS}");
    for is_warm in [false, true] {
        let case = Case::new([&foreign, &foreign], "").await;
        let instance = &case.study.series[0].instances[0];
        let location = crate::rig::study::location_uid(10);
        let between = rad_160(HERE, &location, &case.study.path());
        if is_warm {
            // RAD-160 without a registration delivers, and fills the cache.
            let given = case.rig.get(&between, &[AS_STORED]).await;
            assert_eq!(given.parts().len(), 2);
        }
        let asked = case.origin.asked().len();
        let mine = case.register("", &format!("P-1@{OURS}")).await;
        let path = instance.path();
        let wado = format!(
            "/manifests/{}/wado?requestType=WADO&studyUID={}&seriesUID={}&objectUID={}",
            mine.id, instance.study, instance.series, instance.uid
        );
        for root in [&*mine.root, "/dicomweb/"] {
            for path in [
                case.study.path(),
                case.study.series_path(0),
                path.clone(),
                format!("{path}/metadata"),
                format!("{}/metadata", case.study.path()),
                format!("{path}/rendered"),
                format!("{path}/thumbnail"),
                format!("{path}/frames/1"),
                format!("{path}/bulkdata/7FE00010"),
            ] {
                let field = match path.rsplit('/').next() {
                    Some("metadata") => ("accept", "application/dicom+json"),
                    Some("rendered" | "thumbnail") => ("accept", "image/png"),
                    Some("1" | "7FE00010") => (
                        "accept",
                        "multipart/related; type=\"application/octet-stream\"",
                    ),
                    _ => AS_STORED,
                };
                let answer = case.rig.get(&format!("{root}{path}"), &[field]).await;
                assert!(is_refused(&answer), "{is_warm} {root}{path}: {answer:?}");
            }
        }
        for query in [
            "&contentType=application%2Fdicom",
            "&contentType=image%2Fpng",
        ] {
            let answer = case.rig.get(&format!("{wado}{query}"), &[]).await;
            assert!(is_refused(&answer), "{is_warm} {query}: {answer:?}");
        }
        assert!(!is_warm || case.origin.asked().len() == asked, "not warm");
        let answer = case.rig.get(&between, &[AS_STORED]).await;
        assert!(is_refused(&answer), "{is_warm} {between}: {answer:?}");
        assert!(case.mismatches("refused").await > 0.0);
    }
}

#[tokio::test]
async fn a_study_with_an_instance_of_another_patient_does_not_look_complete() {
    let patients = [format!("P-1@{OURS}"), format!("P-2@{OURS}")];
    let case = Case::new([&patients[0], &patients[1]], "").await;
    let mine = case.register("", &patients[0]).await;
    let first = case.get(&mine.root, &case.study.path()).await;
    assert!(
        !first.is_whole() || first.status == StatusCode::PARTIAL_CONTENT,
        "{first:?}"
    );
    assert!(first.split().0.len() <= 1);
    // From now on the head says so.
    for _ in 0..2 {
        let again = case.get(&mine.root, &case.study.path()).await;
        assert_eq!(again.status, StatusCode::PARTIAL_CONTENT, "{again:?}");
        let given: Vec<_> = again.parts().into_iter().map(|part| part.bytes).collect();
        assert_eq!(given, [case.study.series[0].instances[0].bytes.clone()]);
        assert!(again.field("warning").contains("1 of 2"), "{again:?}");
    }
    let between = rad_160(
        HERE,
        &crate::rig::study::location_uid(10),
        &case.study.path(),
    );
    let relayed = case.rig.get(&between, &[AS_STORED]).await;
    assert!(!relayed.is_whole() || relayed.status == StatusCode::PARTIAL_CONTENT);
    assert!(relayed.split().0.len() <= 1);
}

#[tokio::test]
async fn doubt_is_a_warning_and_settings_decide_otherwise() {
    let ours = format!("P-1@{OURS}");
    let strange = format!("P-2@{OURS}");
    let elsewhere = "P-1@1.2.276.98";
    for (setting, manifest, instance, status, is_warned) in [
        ("", "P-1", "P-1", 200, false),
        ("", " P-1 ", "P-1 ", 200, false),
        ("", &*ours, &*ours, 200, false),
        ("", &*ours, "", 200, false),
        ("", "P-1", "P-2", 200, true),
        ("", &*ours, "P-2", 200, true),
        ("", &*ours, elsewhere, 502, false),
        ("refuse", "P-1", "P-2", 502, false),
        ("warn", &*ours, &*strange, 200, true),
    ] {
        let settings = match setting {
            "" => String::new(),
            setting => format!("[retrieve]\npatient_mismatch = \"{setting}\""),
        };
        let case = Case::new([instance; 2], &settings).await;
        let mine = case.register("", manifest).await;
        let path = case.study.series[0].instances[0].path();
        for path in [
            &*case.study.path(),
            &*path,
            &*path,
            &*format!("{path}/metadata"),
        ] {
            let accept = ("accept", "application/dicom+json");
            let field = if path.ends_with("data") {
                accept
            } else {
                AS_STORED
            };
            let answer = case
                .rig
                .get(&format!("{}{path}", mine.root), &[field])
                .await;
            let told = format!("{setting} {manifest} {instance} {path}: {answer:?}");
            assert_eq!(answer.status.as_u16(), status, "{told}");
            let has_warning = answer.field("warning").contains("another patient");
            assert_eq!(has_warning, is_warned, "{told}");
        }
        assert_eq!(case.mismatches("warned").await > 0.0, is_warned);
    }
}

#[tokio::test]
async fn a_study_that_was_registered_for_another_patient_has_to_say_whose_it_is() {
    let [first, second] = [format!("P-1@{OURS}"), format!("P-2@{OURS}")];
    for (instances, of_first, of_second) in
        [(&*first, 200, 502), (&*second, 502, 200), ("P-2", 200, 502)]
    {
        let case = Case::new([instances; 2], "").await;
        let one = case.register("", &first).await;
        let other = case.register("?conflict=keep_first", &second).await;
        for _ in 0..2 {
            for (root, status) in [
                (&*one.root, of_first),
                ("/dicomweb/", of_first),
                (&*other.root, of_second),
            ] {
                let answer = case.get(root, &case.study.path()).await;
                assert_eq!(
                    answer.status.as_u16(),
                    status,
                    "{instances} {root}: {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn files_with_patient_data_are_for_the_gateway_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start_in(directory.path(), &origin.location(10));
    let mine = rig.register(study.fhir()).await;
    let path = format!("{}{}", mine.root, study.path());
    assert_eq!(rig.get(&path, &[AS_STORED]).await.parts().len(), 2);
    rig.tell_to_stop();
    rig.stopped().await;
    let mut folders = vec![directory.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable").flatten() {
            let metadata = entry.metadata().expect("there");
            let mode = metadata.permissions().mode() & 0o777;
            if metadata.is_dir() {
                assert_eq!(mode, 0o700, "{:?}", entry.path());
                folders.push(entry.path());
            } else {
                assert_eq!(mode, 0o600, "{:?}", entry.path());
                files += 1;
            }
        }
    }
    assert!(files >= 4, "{files}");
}

#[tokio::test]
async fn every_answer_tells_browsers_what_they_may_do() {
    for (settings, policy) in [
        ("", "same-origin"),
        (
            "[cors]\norigins = [\"https://viewer.example.org\"]",
            "cross-origin",
        ),
    ] {
        let case = Case::new(["P-1"; 2], settings).await;
        let mine = case.register("", "P-1").await;
        let instance = case.study.series[0].instances[0].path();
        for path in [
            format!("{}{instance}", mine.root),
            format!("{}{instance}/metadata", mine.root),
            format!("{}studies", mine.root),
            format!("/manifests/{}", mine.id),
            "/nowhere".to_owned(),
        ] {
            let answer = case.rig.get(&path, &[]).await;
            assert_eq!(answer.field("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.field("referrer-policy"), "no-referrer", "{path}");
            assert_eq!(
                answer.field("cross-origin-resource-policy"),
                policy,
                "{path}"
            );
            let rules = answer.field("content-security-policy");
            assert!(rules.contains("default-src 'none'"), "{path}: {rules}");
            assert!(rules.contains("sandbox"), "{path}: {rules}");
        }
    }
}
