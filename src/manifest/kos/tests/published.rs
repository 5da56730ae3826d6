//! The published examples of the implementation guide.

use super::*;
use crate::manifest::Names;

#[test]
fn reads_published_example_a() {
    let Some(bytes) = published("MADO_KOS_A.dcm") else {
        return;
    };
    let manifest = read(&bytes).expect("a manifest");
    let study = only_study(&manifest);
    assert_eq!(manifest.format, Format::Kos(Generation::MadoTemporary));
    assert_eq!(
        manifest.document_id.as_deref(),
        Some("1.2.250.1.59.40211.22756022.2.3.101.259.31")
    );
    assert_eq!(study.uid.as_str(), "1.2.250.1.59.40211.22756022.2.1.101");
    assert_eq!(study.timezone.as_deref(), Some("+0100"));
    assert_eq!(
        study.accessions,
        [Accession {
            value: "1731954284869428".into(),
            issuer: Some("1.3.6.1.4.1.19376.1.1.100.2".into()),
        }]
    );
    assert_eq!(&*study.regions[0].value, "38266002");
    assert_eq!(
        study.viewer_urls,
        [concat!(
            "https://dicomviewer/IHEInvokeImageDisplay?requestType=STUDY&studyUID=",
            "1.2.250.1.59.40211.22756022.2.1.101"
        )
        .into()]
    );
    assert_eq!(
        manifest.studies[0].patient.ids,
        [PatientId {
            value: "UV59569735".into(),
            issuer: Some("1.3.6.1.4.1.19376.1.1.100.1".into()),
        }]
    );
    let series: Vec<_> = study.series.iter().map(summary).collect();
    let url = "https://dicomserver.com/AET/rs/";
    assert_eq!(
        series,
        [
            ("Series A1", 1, 50, 50, "1.3.6.1.4.1.19376.1.1.200.1", url),
            ("Series A2", 2, 36, 36, "1.3.6.1.4.1.19376.1.1.200.2", url),
        ]
    );
    let numbers = study.series[0].instances.iter().map(|i| i.number);
    assert!(numbers.eq((1..=50).map(Some)));
    let texts: Vec<_> = texts(&manifest);
    assert_eq!(texts, PUBLISHED_WARNINGS);
}

/// Of both examples: everything in them is used.
const PUBLISHED_WARNINGS: [&str; 3] = [
    "read all the same: the codes are temporary ones (MADOTEMP…, ddd…), which MADO 1.2 has replaced",
    "read all the same: series 1 \"Series A1\", series 2 \"Series A2\": the number of instances is \
     written as text, not as a number",
    "read all the same: series 1 \"Series A1\", series 2 \"Series A2\": the descriptions of \
     instances stand beside them, not below them",
];

fn texts(manifest: &Manifest) -> Vec<String> {
    let names = Names::of(&manifest.studies);
    let warnings = manifest.warnings.iter();
    warnings.map(|warning| names.text(warning)).collect()
}

fn summary(series: &Series) -> (&str, i32, u32, usize, &str, &str) {
    let location = &series.locations[0];
    (
        series.description.as_deref().unwrap_or_default(),
        series.number.unwrap_or_default(),
        series.declared_instances.unwrap_or_default(),
        series.instances.len(),
        location
            .retrieve_location_uid
            .as_ref()
            .map_or("", |uid| uid.as_str()),
        location.retrieve_url.as_deref().unwrap_or_default(),
    )
}

#[test]
fn reads_published_example_b() {
    let Some(bytes) = published("MADO_KOS_B.dcm") else {
        return;
    };
    let manifest = read(&bytes).expect("a manifest");
    let is_used = |warning: &Warning| warning.outcome == Outcome::ReadAllTheSame;
    assert!(
        manifest.warnings.iter().all(is_used),
        "{:?}",
        texts(&manifest)
    );
    let study = only_study(&manifest);
    let numbers: Vec<_> = study.accessions.iter().map(|a| &*a.value).collect();
    assert_eq!(numbers, ["8529258169397744", "9426932401715315"]);
    assert_eq!(study.modalities, ["CT".into(), "KO".into()]);
    let listed: Vec<_> = study.series.iter().map(|s| s.instances.len()).collect();
    assert_eq!(listed, [20, 1]);
    let key_object = study.series[1].instances[0].key_object.as_deref();
    let key_object = key_object.expect("the key object is described");
    assert_eq!(
        key_object.title.as_ref().map(|title| &*title.value),
        Some("113000")
    );
    assert_eq!(
        key_object.description.as_deref(),
        Some("Significant DICOM Instances")
    );
    assert!(
        study.series[0]
            .instances
            .iter()
            .all(|i| i.key_object.is_none())
    );
}

#[test]
fn never_panics_on_a_published_example_that_was_cut_off() {
    let Some(bytes) = published("MADO_KOS_B.dcm") else {
        return;
    };
    let whole = read(&bytes).expect("a manifest");
    for end in (0..bytes.len()).step_by(64) {
        if let Ok(manifest) = read(&bytes[..end]) {
            let listed = |m: &Manifest| m.studies[0].series.len();
            assert!(listed(&manifest) <= listed(&whole), "{end}");
        }
    }
}
