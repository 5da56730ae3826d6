//! Usage errors, help, and `xcwado manifest show`.

use serde_json::Value;

use crate::commands::process::{file, run};
use crate::rig::study::{Study, at, location_uid};

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["serve", "--colour"],
        &["manifest"],
        &["fetch"],
        &["fetch", "x"],
    ] {
        let (code, _, errors) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(errors.contains("Usage"), "{errors}");
    }
    for arguments in [
        &["check", "--config", "/nowhere.toml"][..],
        &["manifest", "show", "/nowhere"],
    ] {
        let (code, output, errors) = run(arguments);
        assert_eq!((code, output.as_str()), (1, ""), "{arguments:?}");
        assert!(errors.contains("/nowhere"), "{errors}");
    }
}

#[test]
fn the_help_of_every_command_has_an_example() {
    for arguments in [
        &["serve"][..],
        &["demo"],
        &["check"],
        &["manifest", "show"],
        &["fetch"],
    ] {
        let (code, output, _) = run(&[arguments, &["--help"]].concat());
        assert_eq!(code, 0, "{arguments:?}");
        assert!(output.contains("Example"), "{output}");
        assert!(
            output.contains(&format!("xcwado {}", arguments.join(" "))),
            "{output}"
        );
    }
}

#[test]
fn a_manifest_is_shown_as_a_table_and_as_json() {
    let directory = tempfile::tempdir().expect("a directory");
    let study = Study::new(6).with(3, at(10)).with(1, vec![]);
    for (name, bytes, format) in [
        ("m.dcm", study.kos(), "Kos"),
        ("m.json", study.fhir(), "FhirR4"),
    ] {
        let manifest = file(&directory, name, bytes);
        let (code, output, errors) = run(&["manifest", "show", &manifest]);
        assert_eq!(code, 0, "{errors}");
        for expected in [
            &study.uid,
            &study.series[1].uid,
            &location_uid(10),
            "2 series, 4 instances",
        ] {
            assert!(output.contains(expected), "{expected} in {output}");
        }
        assert!(
            errors.contains("warning: ") && errors.contains(&study.series[1].uid),
            "{errors}"
        );
        let (code, output, _) = run(&["manifest", "show", &manifest, "--json"]);
        assert_eq!(code, 0);
        let shown: Value = serde_json::from_str(&output).expect("JSON and nothing else");
        assert!(
            shown["format"]
                .as_str()
                .is_some_and(|f| f.starts_with(format)),
            "{shown}"
        );
        let instances = &shown["studies"][0]["series"][0]["instances"];
        assert_eq!(
            instances[2]["sop_instance_uid"],
            study.series[0].instances[2].uid
        );
    }
    let bad = file(&directory, "bad.dcm", "hello");
    let (code, output, errors) = run(&["manifest", "show", &bad]);
    assert_eq!(
        (code, output.as_str(), errors.lines().count()),
        (1, "", 1),
        "{errors}"
    );
}
