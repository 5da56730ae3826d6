//! The index finds what a walk over all studies finds, and looks at few entries.

use serde_json::json;

use super::*;
use crate::manifest::{is_told, outline_row};
use crate::resource::Level;
use crate::search::{AttributePath, Key};

/// A Bundle of one study.
struct Described {
    number: usize,
    patient: String,
    name: String,
    accession: String,
    date: String,
    modality: &'static str,
}

impl Described {
    /// Studies whose attributes repeat with different periods.
    fn of(number: usize) -> Self {
        const NAMES: [&str; 4] = ["DOE^Jane", "Doe^John", "MÜLLER^Eva", "Öz^Can"];
        Self {
            number,
            patient: format!("P{}", number % 7),
            name: NAMES[number % 4].to_owned(),
            accession: format!("A{number}"),
            date: format!(
                "{}-{:02}-{:02}",
                2019 + number % 4,
                1 + number % 12,
                1 + number % 28
            ),
            modality: ["CT", "MR", "US"][number % 3],
        }
    }

    fn bundle(&self) -> String {
        let uid = format!("1.2.{}", self.number);
        let (family, given) = self.name.split_once('^').expect("two components");
        json!({
            "resourceType": "Bundle", "type": "collection",
            "entry": [
                { "fullUrl": "urn:uuid:p", "resource": {
                    "resourceType": "Patient",
                    "identifier": [{ "system": "urn:oid:1.2.9", "value": self.patient }],
                    "name": [{ "family": family, "given": [given] }],
                }},
                { "fullUrl": "urn:uuid:1", "resource": {
                    "resourceType": "ImagingStudy", "status": "available",
                    "subject": { "reference": "urn:uuid:p" },
                    "started": self.date,
                    "identifier": [
                        { "system": "urn:dicom:uid", "value": format!("urn:oid:{uid}") },
                        { "type": { "coding": [{ "code": "ACSN",
                            "system": "http://terminology.hl7.org/CodeSystem/v2-0203" }] },
                          "value": self.accession },
                    ],
                    "modality": [{ "code": self.modality }],
                    "series": [{ "uid": format!("{uid}.1"), "modality": { "code": self.modality },
                        "instance": [{ "uid": format!("{uid}.1.1"),
                            "sopClass": { "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2" } }] }],
                }},
            ]
        })
        .to_string()
    }
}

/// A store of so many studies, whose files were put there.
fn filled(directory: &Path, count: usize) -> (Library, Vec<Id>) {
    let ids = (0..count).map(|number| {
        let document = Described::of(number).bundle().into_bytes();
        let id = random_id().expect("an id");
        let manifest = manifest::read(&document).expect("a manifest");
        let registered = Registered::new(id, Registration::default(), manifest).expect("whole");
        let record = Record {
            registered_at: 7,
            media_type: media_type(registered.format),
            sequence: number as u64 + 1,
            registration: Registration::default(),
            studies: packed(&outlines(&registered.holding)),
            digest: digest(&document, &Registration::default()),
            length: document.len() as u64,
        };
        let stored = serde_json::to_vec(&record::StoredRecord::from(&record)).expect("JSON");
        fs::write(directory.join(format!("{id}.json")), stored).expect("written");
        fs::write(directory.join(format!("{id}.manifest")), document).expect("written");
        id
    });
    let ids = ids.collect();
    (store(directory), ids)
}

fn query(keys: &[(&str, &str)]) -> Query {
    let keys = keys.iter().map(|(name, value)| Key {
        path: AttributePath::parse(name).expect("an attribute"),
        value: (*value).to_owned(),
    });
    Query {
        keys: keys.collect(),
        ..Query::default()
    }
}

const QUERIES: [&[(&str, &str)]; 24] = [
    &[],
    &[("StudyInstanceUID", "1.2.5")],
    &[("StudyInstanceUID", "1.2.5,1.2.40,1.2.999")],
    &[("PatientID", "P3")],
    &[("PatientID", "P9")],
    &[("PatientID", "P*")],
    &[("PatientID", "P3"), ("IssuerOfPatientID", "1.2.9")],
    &[("PatientID", "P3"), ("IssuerOfPatientID", "1.2.8")],
    &[("AccessionNumber", "A17")],
    &[("ModalitiesInStudy", "MR")],
    &[("ModalitiesInStudy", "MR"), ("PatientID", "P3")],
    &[("StudyDate", "20200101-20201231")],
    &[("StudyDate", "20200102")],
    &[("StudyDate", "20190215-202103")],
    &[("StudyDate", "-2020")],
    &[("StudyDate", "20210301-"), ("ModalitiesInStudy", "CT")],
    &[("StudyDate", "-")],
    &[("PatientName", "doe^jane")],
    &[("PatientName", "DOE*")],
    &[("PatientName", "müller^E*"), ("StudyDate", "2021-")],
    &[("PatientName", "*oh*")],
    &[("PatientName", "ö*")],
    &[("ModalitiesInStudy", "MR,CT")],
    &[("ModalitiesInStudy", "MR\\US"), ("StudyDescription", "x")],
];

/// Everything that the index finds step by step, and what of it matches.
fn found(store: &Library, query: &Query, looks: usize) -> (Vec<String>, usize) {
    let (mut uids, mut looked_at, mut before) = (Vec::new(), 0, None);
    loop {
        let page = store.studies(query, &View::everything(), before, looks);
        looked_at += page.looked_at;
        let outlines = page.studies.iter().map(|study| study.outline.unpack());
        let matching = outlines.filter(|outline| {
            query.finds(&outline_row(outline, ""), |tag| is_told(Level::Study, tag))
        });
        uids.extend(matching.map(|outline| outline.uid.to_string()));
        match page.next {
            Some(next) => before = Some(next),
            None => return (uids, looked_at),
        }
    }
}

fn walked(store: &Library, query: &Query) -> Vec<String> {
    let all = store
        .studies(&Query::default(), &View::everything(), None, usize::MAX)
        .studies;
    let outlines = all.iter().map(|study| study.outline.unpack());
    let matching = outlines
        .filter(|outline| query.finds(&outline_row(outline, ""), |tag| is_told(Level::Study, tag)));
    matching.map(|outline| outline.uid.to_string()).collect()
}

#[test]
fn the_index_finds_what_a_walk_finds_in_the_same_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let (library, ids) = filled(directory.path(), 90);
    let check = |library: &Library| {
        for keys in QUERIES {
            let query = query(keys);
            for looks in [1, 7, 1000] {
                assert_eq!(
                    found(library, &query, looks).0,
                    walked(library, &query),
                    "{keys:?}"
                );
            }
        }
    };
    check(&library);
    assert_eq!(found(&library, &query(QUERIES[1]), 9).0, ["1.2.5"]);
    assert_eq!(found(&library, &query(QUERIES[8]), 9).0, ["1.2.17"]);
    assert!(found(&library, &query(QUERIES[18]), 9).0.len() > 20);
    for id in ids.iter().step_by(3) {
        library.forget(*id).expect("forgotten");
    }
    check(&library);
    check(&store(directory.path()));
    for id in &ids {
        library.forget(*id).expect("forgotten");
    }
    check(&library);
    assert!(studies(&library).is_empty());
}

#[test]
fn what_a_search_looks_at_does_not_grow_with_what_is_registered() {
    let looks = |count| {
        let directory = tempfile::tempdir().expect("a directory");
        let library = filled(directory.path(), count).0;
        // One study, a patient's, one day's, and the first page of a list.
        let [one, accession] =
            [QUERIES[1], QUERIES[8]].map(|keys| found(&library, &query(keys), 99).1);
        let list = library
            .studies(&query(&[]), &View::everything(), None, 11)
            .looked_at;
        let behind = library
            .studies(&query(&[]), &View::everything(), Some(library.behind(5)), 6)
            .looked_at;
        let of_modality = library
            .studies(&query(QUERIES[9]), &View::everything(), None, 11)
            .looked_at;
        [one, accession, list, behind, of_modality]
    };
    assert_eq!(looks(40), looks(400));
}

#[test]
fn an_offset_counts_from_the_newest() {
    let directory = tempfile::tempdir().expect("a directory");
    let (library, ids) = filled(directory.path(), 30);
    for id in &ids[10..15] {
        library.forget(*id).expect("forgotten");
    }
    let all = walked(&library, &Query::default());
    assert_eq!(all.len(), 25);
    assert_eq!(all[0], "1.2.29");
    for offset in [0, 1, 14, 15, 24, 25, 26, 9999] {
        let page = library.studies(
            &Query::default(),
            &View::everything(),
            Some(library.behind(offset)),
            99,
        );
        let uids = page
            .studies
            .iter()
            .map(|study| study.outline.unpack().uid.to_string());
        assert_eq!(uids.collect::<Vec<_>>(), all[offset.min(25)..], "{offset}");
    }
}

#[test]
fn a_study_keeps_its_place_and_takes_that_of_the_next_manifest_when_the_first_goes() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = store(directory.path());
    let register = |series: &str| {
        submit(&library, narrowed(series), 7)
            .expect("registered")
            .0
            .id
    };
    let first = register("1.2.2");
    let other = Described::of(5).bundle();
    let between = library.register(other.as_bytes(), Submission::default(), 7, &alone());
    between.expect("registered");
    let second = register("1.2.3");
    let uids = || walked(&library, &Query::default());
    assert_eq!(uids(), ["1.2.5", "1.2.1"]);
    assert_eq!(
        library.of_study(&study(), &View::everything()),
        [first, second]
    );
    library.forget(first).expect("forgotten");
    assert_eq!(uids(), ["1.2.1", "1.2.5"]);
    let of_uid = query(&[("StudyInstanceUID", "1.2.1")]);
    assert_eq!(found(&library, &of_uid, 9).0, ["1.2.1"]);
    library.forget(second).expect("forgotten");
    assert_eq!(uids(), ["1.2.5"]);
    assert!(found(&library, &of_uid, 9).0.is_empty());
}
