use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::mem::InMemElement;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::*;
use crate::ihe::Location;
use crate::manifest::model::{Accession, Code, PatientId, Series};

const STUDY: &str = "1.2.3";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";

type Object = InMemDicomObject;

/// A document under construction.
struct Document {
    root: Object,
    evidence: Vec<Object>,
    content: Vec<Object>,
}

impl Document {
    fn new(title: Object) -> Self {
        let root = object([
            text(tags::SOP_CLASS_UID, VR::UI, SOP_CLASS),
            text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.9"),
            text(tags::STUDY_INSTANCE_UID, VR::UI, STUDY),
            sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, [title]),
        ]);
        Self {
            root,
            evidence: Vec::new(),
            content: Vec::new(),
        }
    }

    fn classic() -> Self {
        Self::new(code("113030", "DCM", "Manifest"))
    }

    /// A manifest of one series, 1.2.3.1, of two instances.
    fn mado() -> Self {
        let series = [series("1.2.3.1", ["1.2.3.1.1", "1.2.3.1.2"], [location()])];
        Self::new(code("131560", "DCM", "Manifest with Description")).listing(STUDY, series)
    }

    fn with(mut self, element: InMemElement) -> Self {
        self.root.put(element);
        self
    }

    fn without(mut self, tag: Tag) -> Self {
        self.root.remove_element(tag);
        self
    }

    fn listing(mut self, study: &str, series: impl IntoIterator<Item = Object>) -> Self {
        self.evidence.push(object([
            text(tags::STUDY_INSTANCE_UID, VR::UI, study),
            sequence(tags::REFERENCED_SERIES_SEQUENCE, series),
        ]));
        self
    }

    fn saying(mut self, content: impl IntoIterator<Item = Object>) -> Self {
        self.content.extend(content);
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.written_in(EXPLICIT)
    }

    fn written_in(self, transfer_syntax: &str) -> Vec<u8> {
        let mut root = self.root;
        for (tag, items) in [
            (
                tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
                self.evidence,
            ),
            (tags::CONTENT_SEQUENCE, self.content),
        ] {
            if !items.is_empty() {
                root.put(sequence(tag, items));
            }
        }
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(transfer_syntax)
            .media_storage_sop_class_uid(SOP_CLASS)
            .media_storage_sop_instance_uid("1.2.9")
            .build()
            .expect("a complete table");
        let mut bytes = Vec::new();
        root.with_exact_meta(meta)
            .write_all(&mut bytes)
            .expect("memory takes everything");
        bytes
    }

    fn read(self) -> Manifest {
        read(&self.bytes()).expect("a manifest")
    }

    fn refusal(self) -> Error {
        read(&self.bytes()).expect_err("no manifest")
    }
}

fn object(elements: impl IntoIterator<Item = InMemElement>) -> Object {
    Object::from_element_iter(elements)
}

fn text(tag: Tag, vr: VR, text: &str) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(text))
}

fn sequence(tag: Tag, items: impl IntoIterator<Item = Object>) -> InMemElement {
    let items: Vec<_> = items.into_iter().collect();
    DataElement::new(tag, VR::SQ, dicom_core::value::DataSetSequence::from(items))
}

fn series<const N: usize>(
    uid: &str,
    instances: [&str; N],
    more: impl IntoIterator<Item = InMemElement>,
) -> Object {
    let mut series = object(more);
    series.put(text(tags::SERIES_INSTANCE_UID, VR::UI, uid));
    series.put(sequence(
        tags::REFERENCED_SOP_SEQUENCE,
        instances.map(|uid| instance(CT, uid)),
    ));
    series
}

fn instance(class: &str, uid: &str) -> Object {
    object([
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid),
    ])
}

fn location() -> InMemElement {
    text(tags::RETRIEVE_LOCATION_UID, VR::UI, "1.2.40.1")
}

fn code(value: &str, scheme: &str, meaning: &str) -> Object {
    object([
        text(tags::CODE_VALUE, VR::SH, value),
        text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme),
        text(tags::CODE_MEANING, VR::LO, meaning),
    ])
}

fn dcm(value: &str) -> Object {
    code(value, "DCM", "whatever")
}

fn item(relation: &str, kind: &str, more: impl IntoIterator<Item = InMemElement>) -> Object {
    let mut item = object(more);
    item.put(text(tags::RELATIONSHIP_TYPE, VR::CS, relation));
    item.put(text(tags::VALUE_TYPE, VR::CS, kind));
    item
}

fn said(kind: &str, concept: Object, value: InMemElement) -> Object {
    let name = sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, [concept]);
    item("HAS ACQ CONTEXT", kind, [name, value])
}

fn said_text(concept: Object, value: &str) -> Object {
    said("TEXT", concept, text(tags::TEXT_VALUE, VR::UT, value))
}

fn said_code(concept: Object, value: Object) -> Object {
    said(
        "CODE",
        concept,
        sequence(tags::CONCEPT_CODE_SEQUENCE, [value]),
    )
}

fn said_number(concept: Object, value: &str) -> Object {
    let value = object([text(tags::NUMERIC_VALUE, VR::DS, value)]);
    said(
        "NUM",
        concept,
        sequence(tags::MEASURED_VALUE_SEQUENCE, [value]),
    )
}

fn said_uid(uid: &str) -> Object {
    said("UIDREF", dcm("112002"), text(tags::UID, VR::UI, uid))
}

fn container(concept: Object, children: impl IntoIterator<Item = Object>) -> Object {
    item(
        "CONTAINS",
        "CONTAINER",
        [
            sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, [concept]),
            sequence(tags::CONTENT_SEQUENCE, children),
        ],
    )
}

fn library(children: impl IntoIterator<Item = Object>) -> Object {
    container(dcm("111028"), children)
}

fn group(children: impl IntoIterator<Item = Object>) -> Object {
    container(dcm("126200"), children)
}

fn reference(uid: &str, children: impl IntoIterator<Item = Object>) -> Object {
    let children: Vec<_> = children.into_iter().collect();
    let mut reference = item(
        "CONTAINS",
        "IMAGE",
        [sequence(tags::REFERENCED_SOP_SEQUENCE, [instance(CT, uid)])],
    );
    if !children.is_empty() {
        reference.put(sequence(tags::CONTENT_SEQUENCE, children));
    }
    reference
}

fn only_study(manifest: &Manifest) -> &Study {
    assert_eq!(manifest.studies.len(), 1);
    &manifest.studies[0]
}

fn first_series(manifest: &Manifest) -> &Series {
    &only_study(manifest).series[0]
}

fn warns_of(manifest: &Manifest, part: &'static str) -> bool {
    manifest.warnings.contains(&Warning::Malformed(part))
}

/// Published examples, which are not part of this project.
fn published(name: &str) -> Option<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ihe-mado");
    if folder.is_dir() {
        return Some(std::fs::read(folder.join(name)).expect("a file of the published data"));
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "the published data are missing"
    );
    eprintln!("left out: the published data are missing");
    None
}

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
    assert_eq!(manifest.warnings[0], Warning::OldCodes);
    assert!(warns_of(&manifest, "the place of instance descriptors"));
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

/// What a title, the name of a series description and that of a count are called.
const GENERATIONS: [(Generation, &str, [&str; 3], [&str; 3]); 3] = [
    (
        Generation::MadoFinal,
        "DCM",
        ["131560", "131563", "131565"],
        ["131561", "131562", "131564"],
    ),
    (
        Generation::MadoTemporary,
        "99IHE",
        ["MADOTEMP001", "MADOTEMP002", "MADOTEMP009"],
        ["MADOTEMP003", "MADOTEMP004", "MADOTEMP007"],
    ),
    (
        Generation::MadoDraft,
        "DCM",
        ["ddd001", "ddd002", "ddd009"],
        ["ddd003", "ddd004", "ddd007"],
    ),
];

#[test]
fn reads_every_generation_of_codes() {
    for (generation, scheme, [title, description, count], [date, time, instances]) in GENERATIONS {
        let own = |value| code(value, scheme, "whatever");
        let mut document = Document::mado();
        document
            .root
            .put(sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, [own(title)]));
        let manifest = document
            .saying([library([
                said_code(dcm("121139"), dcm("MR")),
                said_code(dcm("123014"), code("38266002", "SCT", "Entire body")),
                said_number(own(count), "1"),
                group([
                    said_uid("1.2.3.1"),
                    said_code(dcm("121139"), dcm("CT")),
                    said_text(dcm("113607"), "-7"),
                    said_text(own(description), "Thorax"),
                    said("DATE", own(date), text(tags::DATE, VR::DA, "20260102")),
                    said("TIME", own(time), text(tags::TIME, VR::TM, "101112.5")),
                    said_number(own(instances), "2"),
                    said_code(dcm("123014"), code("80891009", "SCT", "Heart")),
                    said_code(dcm("111027"), code("7771000", "SCT", "Left")),
                    reference(
                        "1.2.3.1.1",
                        [
                            said_text(dcm("113609"), "4"),
                            said_number(dcm("121140"), "12"),
                        ],
                    ),
                ]),
            ])])
            .read();
        assert_eq!(manifest.format, Format::Kos(generation));
        assert_eq!(
            manifest.warnings.contains(&Warning::OldCodes),
            generation != Generation::MadoFinal
        );
        assert!(manifest.warnings.len() <= 1, "{:?}", manifest.warnings);
        let study = only_study(&manifest);
        assert_eq!(study.declared_series, Some(1));
        assert_eq!(study.modalities, ["MR".into(), "CT".into()]);
        assert_eq!(&*study.regions[0].value, "38266002");
        let series = &study.series[0];
        assert_eq!(series.number, Some(-7));
        assert_eq!(series.modality.as_deref(), Some("CT"));
        assert_eq!(series.description.as_deref(), Some("Thorax"));
        assert_eq!(series.date.as_deref(), Some("20260102"));
        assert_eq!(series.time.as_deref(), Some("101112.5"));
        assert_eq!(series.declared_instances, Some(2));
        let value = |code: &Option<Code>| code.as_ref().map(|code| code.value.to_string());
        assert_eq!(value(&series.body_site).as_deref(), Some("80891009"));
        assert_eq!(value(&series.laterality).as_deref(), Some("7771000"));
        assert_eq!(series.instances[0].number, Some(4));
        assert_eq!(series.instances[0].frames, Some(12));
        assert_eq!(series.instances[1].number, None);
    }
}

#[test]
fn reads_a_classic_manifest() {
    let ae_title = || text(tags::RETRIEVE_AE_TITLE, VR::AE, "PACS");
    let manifest = Document::classic()
        .listing(
            STUDY,
            [
                series("1.2.3.1", ["1.2.3.1.1"], [location(), ae_title()]),
                series("1.2.3.2", ["1.2.3.2.1"], [ae_title()]),
            ],
        )
        .read();
    assert_eq!(manifest.format, Format::Kos(Generation::Classic));
    let series = &only_study(&manifest).series;
    assert!(series[0].locations[0].retrieve_location_uid.is_some());
    assert_eq!(
        series[1].locations,
        [Location {
            retrieve_ae_title: Some("PACS".into()),
            ..Location::default()
        }]
    );
    assert_eq!(
        manifest.warnings,
        [Warning::NoLocation(series[1].uid.clone())]
    );
}

#[test]
fn merges_the_studies_and_series_of_a_classic_manifest() {
    let manifest = Document::classic()
        .with(text(tags::ACCESSION_NUMBER, VR::SH, "A1"))
        .with(text(tags::STUDY_DESCRIPTION, VR::LO, "of 1.2.3"))
        .with(sequence(
            tags::REFERENCED_REQUEST_SEQUENCE,
            [object([
                text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.4"),
                text(tags::ACCESSION_NUMBER, VR::SH, "A2"),
            ])],
        ))
        .listing(STUDY, [series("1.2.3.1", ["1.2.3.1.1"], [location()])])
        .listing("1.2.4", [series("1.2.4.1", ["1.2.4.1.1"], [location()])])
        .listing(
            STUDY,
            [
                series("1.2.3.1", ["1.2.3.1.1", "1.2.3.1.2"], [location()]),
                series("1.2.3.2", ["1.2.3.2.1"], [location()]),
            ],
        )
        .read();
    let listed: Vec<_> = manifest
        .studies
        .iter()
        .map(|study| {
            let instances: Vec<_> = study.series.iter().map(|s| s.instances.len()).collect();
            (study.uid.as_str(), instances)
        })
        .collect();
    assert_eq!(listed, [(STUDY, vec![2, 1]), ("1.2.4", vec![1])]);
    assert_eq!(manifest.studies[0].series[0].locations.len(), 1);
    assert_eq!(manifest.warnings, [Warning::Duplicates(1)]);
    assert_eq!(&*manifest.studies[0].accessions[0].value, "A1");
    assert_eq!(&*manifest.studies[1].accessions[0].value, "A2");
    assert_eq!(manifest.studies[1].description, None);
}

#[test]
fn a_series_whose_instances_stand_in_another_one_lacks_none() {
    let listed = [
        series("1.2.3.1", ["1.2.3.1.1"], [location()]),
        series("1.2.3.2", ["1.2.3.1.1"], [location()]),
    ];
    let manifest = Document::classic().listing(STUDY, listed).read();
    let unlisted: Vec<_> = manifest.studies[0]
        .series
        .iter()
        .map(|series| (series.instances.len(), series.unlisted()))
        .collect();
    assert_eq!(unlisted, [(1, 0), (0, 0)]);
    assert_eq!(manifest.warnings, [Warning::Duplicates(1)]);
}

#[test]
fn reads_what_xt_ehr_writes_beside_the_evidence() {
    let key_object = {
        let mut item = instance(SOP_CLASS, "1.2.3.1.2");
        let mut flagged = instance(CT, "1.2.3.1.1");
        flagged.put(sequence(
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
            [dcm("113000")],
        ));
        item.put(sequence(
            tags::RELATED_SERIES_SEQUENCE,
            [object([
                text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.1"),
                sequence(tags::REFERENCED_SOP_SEQUENCE, [flagged]),
            ])],
        ));
        item.put(sequence(
            tags::CONTENT_SEQUENCE,
            [object([text(tags::TEXT_VALUE, VR::UT, "look here")])],
        ));
        item
    };
    let image = {
        let mut item = instance(CT, "1.2.3.1.1");
        item.put(text(tags::INSTANCE_NUMBER, VR::IS, "3"));
        item.put(text(tags::NUMBER_OF_FRAMES, VR::IS, "9"));
        item
    };
    let url = "https://pacs.example/rs/studies/1.2.3/series/1.2.3.1";
    let listed = object([
        text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.1"),
        text(tags::RETRIEVE_URL, VR::UR, url),
        text(tags::MODALITY, VR::CS, "CT"),
        text(tags::SERIES_DATE, VR::DA, "20260102"),
        text(tags::SERIES_TIME, VR::TM, "1011"),
        text(tags::SERIES_DESCRIPTION, VR::LO, "direct"),
        sequence(tags::REFERENCED_SOP_SEQUENCE, [image, key_object]),
    ]);
    let bare = Document::classic().listing(STUDY, [listed.clone()]).read();
    let series = first_series(&bare);
    assert_eq!(bare.warnings, []);
    let base = series.locations[0].retrieve_url.as_deref();
    assert_eq!(
        base.map(|url| url.trim_end_matches('/')),
        Some("https://pacs.example/rs")
    );
    assert_eq!(series.description.as_deref(), Some("direct"));
    assert_eq!(series.time.as_deref(), Some("1011"));
    assert_eq!(only_study(&bare).modalities, ["CT".into()]);
    assert_eq!(series.instances[0].number, Some(3));
    assert_eq!(series.instances[0].frames, Some(9));
    assert_eq!(series.instances[0].key_object, None);
    let key_object = series.instances[1].key_object.as_deref().expect("a KOS");
    assert_eq!(key_object.description.as_deref(), Some("look here"));
    assert!(
        key_object
            .title
            .as_ref()
            .is_some_and(|title| &*title.value == "113000")
    );

    let group = group([
        said_uid("1.2.3.1"),
        said_text(dcm("131563"), "in the library"),
        reference("1.2.3.1.1", [said_text(dcm("113609"), "4")]),
    ]);
    let both = Document::classic()
        .listing(STUDY, [listed])
        .saying([library([group])])
        .read();
    let series = first_series(&both);
    assert_eq!(series.description.as_deref(), Some("in the library"));
    assert_eq!(series.time.as_deref(), Some("1011"));
    assert_eq!(series.instances[0].number, Some(4));
    assert_eq!(series.instances[0].frames, Some(9));
}

#[test]
fn ignores_a_retrieve_url_of_another_series() {
    let url = "https://pacs.example/rs/studies/1.2.3/series/9.9";
    let url = text(tags::RETRIEVE_URL, VR::UR, url);
    let manifest = Document::classic()
        .listing(STUDY, [series("1.2.3.1", ["1.2.3.1.1"], [url])])
        .read();
    let series = first_series(&manifest);
    assert_eq!(series.locations, []);
    assert_eq!(
        manifest.warnings,
        [
            Warning::ForeignRetrieveUrl(series.uid.clone()),
            Warning::NoLocation(series.uid.clone()),
        ]
    );
}

#[test]
fn warns_of_strange_retrieve_location_uids() {
    let at = |uid| [text(tags::RETRIEVE_LOCATION_UID, VR::UI, uid)];
    let manifest = Document::classic()
        .listing(
            STUDY,
            [
                series("1.2.3.1", ["1.2.3.1.1"], at("ACME")),
                series("1.2.3.2", ["1.2.3.2.1"], at("urn:oid:5.6.7")),
                series("1.2.3.3", ["1.2.3.3.1"], at("no such place")),
            ],
        )
        .read();
    let series = &only_study(&manifest).series;
    let places: Vec<_> = series
        .iter()
        .map(|s| {
            Some(
                s.locations
                    .first()?
                    .retrieve_location_uid
                    .as_ref()?
                    .as_str(),
            )
        })
        .collect();
    assert_eq!(places, [Some("ACME"), Some("5.6.7"), None]);
    assert_eq!(
        manifest.warnings,
        [
            Warning::OpaqueLocation("ACME".into()),
            Warning::UnregistrableOid("5.6.7".into()),
            Warning::Malformed("a retrieve location UID"),
            Warning::NoLocation(series[2].uid.clone()),
        ]
    );
}

#[test]
fn reads_descriptors_that_stand_before_their_instance() {
    let manifest = Document::mado()
        .saying([library([group([
            said_uid("1.2.3.1"),
            said_text(dcm("131563"), "Thorax"),
            said_text(dcm("113609"), "8"),
            said_number(dcm("121140"), "2"),
            reference("1.2.3.1.1", []),
            reference("1.2.3.1.2", []),
            said_text(dcm("113609"), "99"),
        ])])])
        .read();
    let series = first_series(&manifest);
    assert_eq!(series.description.as_deref(), Some("Thorax"));
    assert_eq!(series.number, None);
    let said: Vec<_> = series
        .instances
        .iter()
        .map(|i| (i.number, i.frames))
        .collect();
    assert_eq!(said, [(Some(8), Some(2)), (None, None)]);
    assert_eq!(
        manifest.warnings,
        [Warning::Malformed("the place of instance descriptors")]
    );
}

#[test]
fn prefers_descriptors_below_an_instance() {
    let manifest = Document::mado()
        .saying([library([group([
            said_uid("1.2.3.1"),
            said_text(dcm("113609"), "8"),
            reference("1.2.3.1.1", [said_text(dcm("113609"), "5")]),
        ])])])
        .read();
    assert_eq!(first_series(&manifest).instances[0].number, Some(5));
    assert_eq!(manifest.warnings, []);
}

#[test]
fn joins_a_group_without_series_uid_by_its_instances() {
    let manifest = Document::mado()
        .saying([library([
            group([
                said_text(dcm("131563"), "Thorax"),
                reference("1.2.3.1.2", []),
            ]),
            group([said_uid("1.2.9.9"), said_text(dcm("131563"), "foreign")]),
        ])])
        .read();
    assert_eq!(
        first_series(&manifest).description.as_deref(),
        Some("Thorax")
    );
    assert_eq!(
        manifest.warnings,
        [
            Warning::Malformed("an image library group without a series instance UID"),
            Warning::Malformed("an image library group that is not in the evidence"),
        ]
    );
}

/// The habits of one published example.
#[test]
fn reads_wrong_representations_relations_and_containers() {
    let mut nameless = code("111028", "DCM", "Image Library");
    nameless.remove_element(tags::CODING_SCHEME_DESIGNATOR);
    let mut by_meaning = dcm("");
    by_meaning.put(text(tags::CODE_MEANING, VR::SH, "Series Description"));
    by_meaning.remove_element(tags::CODE_VALUE);
    let mut modality = said_code(dcm("121139"), dcm("CT"));
    modality.put(text(tags::RELATIONSHIP_TYPE, VR::CS, "HAS_ACQ_CONTEXT"));
    let mut described = said("TEXT", by_meaning, text(tags::TEXT_VALUE, VR::LO, "Thorax"));
    described.remove_element(tags::RELATIONSHIP_TYPE);
    let mut group = group([said_uid("1.2.3.1"), modality, described]);
    group.remove_element(tags::RELATIONSHIP_TYPE);
    let manifest = Document::mado()
        .with(text(tags::STUDY_INSTANCE_UID, VR::SH, STUDY))
        .with(text(tags::PATIENT_ID, VR::UI, "P1"))
        .with(text(tags::ACCESSION_NUMBER, VR::IS, "77"))
        .with(DataElement::new(
            tags::PATIENT_NAME,
            VR::OB,
            dicom_value!(U8, [1, 2]),
        ))
        .saying([container(dcm("ddd001"), [container(nameless, [group])])])
        .read();
    let series = first_series(&manifest);
    assert_eq!(series.modality.as_deref(), Some("CT"));
    assert_eq!(series.description.as_deref(), Some("Thorax"));
    assert_eq!(&*manifest.studies[0].patient.ids[0].value, "P1");
    assert_eq!(manifest.studies[0].patient.name, None);
    assert_eq!(&*only_study(&manifest).accessions[0].value, "77");
    for part in [
        "a value representation",
        "a relationship type",
        "the code of a concept",
        "the place of the image library",
    ] {
        assert!(warns_of(&manifest, part), "{part}");
    }
    assert_eq!(manifest.warnings.len(), 4);
}

#[test]
fn looks_for_the_library_four_levels_deep() {
    let below = |levels| {
        let wanted = library([group([
            said_uid("1.2.3.1"),
            said_code(dcm("121139"), dcm("CT")),
        ])]);
        let wrapped = (1..levels).fold(wanted, |inner, _| container(dcm("1"), [inner]));
        Document::mado().saying([wrapped]).read()
    };
    assert_eq!(first_series(&below(4)).modality.as_deref(), Some("CT"));
    assert_eq!(first_series(&below(5)).modality, None);
    assert_eq!(below(5).warnings, [Warning::NoLibrary]);
}

#[test]
fn misses_the_library_only_where_the_title_promises_one() {
    assert_eq!(Document::mado().read().warnings, [Warning::NoLibrary]);
    let listed = [series("1.2.3.1", ["1.2.3.1.1"], [location()])];
    let classic = Document::classic().listing(STUDY, listed).read();
    assert_eq!(classic.warnings, []);
}

#[test]
fn reads_counts_that_are_written_as_text() {
    let manifest = Document::mado()
        .saying([library([
            said_number(dcm("131565"), "3"),
            group([
                said_uid("1.2.3.1"),
                said_text(dcm("131564"), "(50, UCUM, \"instances\")"),
            ]),
        ])])
        .read();
    assert_eq!(first_series(&manifest).declared_instances, Some(50));
    assert_eq!(
        manifest.warnings,
        [
            Warning::Malformed("a count that is written as text"),
            Warning::CountDiffers {
                what: "series",
                declared: 3,
                listed: 1
            },
            Warning::CountDiffers {
                what: "instances",
                declared: 50,
                listed: 2
            },
        ]
    );
}

#[test]
fn finds_display_uris_in_their_three_places() {
    let manifest = |document: Document| {
        let mut read = document.saying([library([])]).read();
        assert_eq!(read.warnings, []);
        read.studies.remove(0).viewer_urls
    };
    let uri = "https://viewer.example/?study=1.2.3";
    let display_uri = || text(tags::DISPLAY_URI, VR::UR, uri);

    assert_eq!(manifest(Document::mado().with(display_uri())), [uri.into()]);

    let mut final_place = Document::mado();
    final_place.evidence[0].put(display_uri());
    assert_eq!(manifest(final_place), [uri.into()]);

    // The creator of another block comes first.
    let mut private = Document::mado();
    for element in [
        text(Tag(0x000D, 0x0010), VR::LO, "SOMEBODY ELSE"),
        text(Tag(0x000D, 0x0042), VR::LO, "IHE_MADO_PRIVATE"),
        text(Tag(0x000D, 0x1001), VR::UR, "https://wrong.example/"),
        text(Tag(0x000D, 0x4201), VR::UR, uri),
    ] {
        private.evidence[0].put(element);
    }
    assert_eq!(manifest(private), [uri.into()]);

    let mut twice = Document::mado().with(display_uri());
    twice.evidence[0].put(display_uri());
    assert_eq!(manifest(twice), [uri.into()]);
}

#[test]
fn gathers_numbers_and_who_gave_them() {
    let issuer = |tag, id: &str| {
        sequence(
            tag,
            [object([
                text(tags::UNIVERSAL_ENTITY_ID, VR::UT, id),
                text(tags::UNIVERSAL_ENTITY_ID_TYPE, VR::CS, "ISO"),
            ])],
        )
    };
    let of_accession = |id| issuer(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, id);
    let of_patient = |id| issuer(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, id);
    let request = |number, id| {
        object([
            text(tags::STUDY_INSTANCE_UID, VR::UI, STUDY),
            text(tags::ACCESSION_NUMBER, VR::SH, number),
            of_accession(id),
        ])
    };
    let other = |value, more| object([text(tags::PATIENT_ID, VR::LO, value), more]);
    let manifest = Document::mado()
        .with(text(tags::ACCESSION_NUMBER, VR::SH, "A1"))
        .with(sequence(
            tags::REFERENCED_REQUEST_SEQUENCE,
            [
                request("A1", "1.2"),
                request("A1", "1.3"),
                request("A2", "urn:oid:1.2"),
            ],
        ))
        .with(text(tags::PATIENT_ID, VR::LO, "P1"))
        .with(text(tags::ISSUER_OF_PATIENT_ID, VR::LO, "LABEL"))
        .with(of_patient("1.4"))
        .with(sequence(
            tags::OTHER_PATIENT_I_DS_SEQUENCE,
            [
                other("P1", of_patient("1.4")),
                other("P2", text(tags::ISSUER_OF_PATIENT_ID, VR::LO, "LABEL")),
            ],
        ))
        .read();
    let pair = |value: &str, issuer: &str| (value.to_owned(), Some(issuer.to_owned()));
    let accessions = only_study(&manifest).accessions.iter();
    let accessions: Vec<_> = accessions
        .map(|a| (a.value.to_string(), a.issuer.as_deref().map(str::to_owned)))
        .collect();
    assert_eq!(
        accessions,
        [pair("A1", "1.2"), pair("A1", "1.3"), pair("A2", "1.2")]
    );
    let ids = manifest.studies[0].patient.ids.iter();
    let ids: Vec<_> = ids
        .map(|id| {
            (
                id.value.to_string(),
                id.issuer.as_deref().map(str::to_owned),
            )
        })
        .collect();
    assert_eq!(ids, [pair("P1", "1.4"), pair("P2", "LABEL")]);
}

#[test]
fn leaves_out_malformed_values_and_says_so() {
    let manifest = Document::mado()
        .with(text(tags::STUDY_DATE, VR::DA, "yesterday"))
        .with(text(tags::STUDY_TIME, VR::TM, "25"))
        .with(text(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, "CET"))
        .with(text(tags::PATIENT_SEX, VR::CS, "?"))
        .with(text(
            tags::STUDY_DESCRIPTION,
            VR::UT,
            &"x".repeat(MAX_TEXT + 2),
        ))
        .saying([library([])])
        .read();
    let study = only_study(&manifest);
    assert_eq!(
        (&study.date, &study.time, &study.timezone),
        (&None, &None, &None)
    );
    assert_eq!(study.description, None);
    assert_eq!(manifest.studies[0].patient.sex, None);
    for part in [
        "a date",
        "a time",
        "the time zone",
        "the patient's sex",
        "a text that is too long",
    ] {
        assert!(warns_of(&manifest, part), "{part}");
    }
}

#[test]
fn reads_implicit_vr() {
    let document = || {
        let mut document = Document::mado().saying([library([group([
            said_uid("1.2.3.1"),
            said_text(dcm("131563"), "Thorax"),
            reference("1.2.3.1.1", [said_text(dcm("113609"), "5")]),
        ])])]);
        let creator = text(Tag(0x000D, 0x0010), VR::LO, "IHE_MADO_PRIVATE");
        document.evidence[0].put(creator);
        document.evidence[0].put(text(Tag(0x000D, 0x1001), VR::UR, "https://v.example/"));
        document
    };
    let implicit = read(&document().written_in(IMPLICIT)).expect("a manifest");
    assert_eq!(implicit, document().read());
    assert_eq!(only_study(&implicit).viewer_urls.len(), 1);
}

#[test]
fn accepts_what_is_no_manifest_by_its_title_and_says_so() {
    for title in [
        dcm("113000"),
        code("131560", "99XYZ", "private"),
        code("113001", "99XYZ", ""),
    ] {
        let listed = [series("1.2.3.1", ["1.2.3.1.1"], [location()])];
        let manifest = Document::new(title).listing(STUDY, listed).read();
        assert_eq!(manifest.format, Format::Kos(Generation::Classic));
        assert_eq!(manifest.warnings, [Warning::UnexpectedTitle]);
    }
}

#[test]
fn refuses_rejection_notes() {
    for title in ["113001", "113037", "113038", "113039"] {
        let listed = [series("1.2.3.1", ["1.2.3.1.1"], [location()])];
        let document = Document::new(dcm(title)).listing(STUDY, listed);
        assert_eq!(document.refusal(), Error::RejectionNote, "{title}");
    }
}

#[test]
fn refuses_other_sop_classes() {
    let document = Document::mado().with(text(tags::SOP_CLASS_UID, VR::UI, CT));
    assert_eq!(document.refusal(), Error::NotAKos);
    let document = Document::mado().without(tags::SOP_CLASS_UID);
    assert_eq!(document.refusal(), Error::NotAKos);
}

#[test]
fn refuses_a_document_without_instances() {
    assert_eq!(Document::classic().refusal(), Error::NoEvidence);
    let document = Document::classic().listing(STUDY, []);
    assert_eq!(document.refusal(), Error::NoEvidence);
    let document = Document::classic().listing(STUDY, [series("1.2.3.1", [], [])]);
    assert_eq!(document.refusal(), Error::NoEvidence);
}

#[test]
fn refuses_malformed_uids_in_the_evidence() {
    let document = |study, of_series, of_instance| {
        Document::classic().listing(study, [series(of_series, [of_instance], [])])
    };
    for bad in ["", "..", "1.02", "1/../2", "../..", "patient"] {
        for (document, what) in [
            (document(bad, "1.2.1", "1.2.2"), "study instance UID"),
            (document("1.2", bad, "1.2.2"), "series instance UID"),
            (document("1.2", "1.2.1", bad), "SOP instance UID"),
        ] {
            assert_eq!(document.refusal(), Error::InvalidUid(what), "{bad}");
        }
    }
}

#[test]
fn refuses_what_is_no_part_10_file() {
    assert_eq!(
        read(b"{\"resourceType\":\"Bundle\"}").map(|_| ()),
        Err(Error::Part10(dataset::Error::Truncated.into()))
    );
    assert_eq!(
        read(&[0; 200]).map(|_| ()),
        Err(Error::Part10(part10::Error::NotPart10))
    );
}

#[test]
fn survives_every_damage_of_one_byte() {
    let bytes = Document::mado()
        .saying([library([group([
            said_uid("1.2.3.1"),
            reference("1.2.3.1.1", [said_text(dcm("113609"), "5")]),
        ])])])
        .bytes();
    let listed = |manifest: &Manifest| -> usize {
        let series = manifest.studies.iter().flat_map(|study| &study.series);
        series.map(|series| series.instances.len()).sum()
    };
    for at in 0..bytes.len() {
        for damage in [0x01, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] ^= damage;
            if let Ok(manifest) = read(&damaged) {
                assert!((1..=2).contains(&listed(&manifest)), "{at}");
            }
        }
        assert!(read(&bytes[..at]).map_or(0, |cut| listed(&cut)) <= 2);
    }
}

/// Writes a large document quickly.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, tag: Tag, vr: &[u8; 2], text: &str) {
        let pad = text.len() % 2;
        self.tag(tag);
        self.0.extend(vr);
        if vr == b"UT" {
            self.0.extend([0, 0]);
            self.0.extend(((text.len() + pad) as u32).to_le_bytes());
        } else {
            self.0.extend(((text.len() + pad) as u16).to_le_bytes());
        }
        self.0.extend(text.as_bytes());
        self.0.extend(&[0][..pad]);
    }

    fn sequence(&mut self, tag: Tag, inside: impl FnOnce(&mut Self)) {
        self.tag(tag);
        self.0.extend(b"SQ\0\0\xFF\xFF\xFF\xFF");
        inside(self);
        self.tag(Tag(0xFFFE, 0xE0DD));
        self.0.extend([0; 4]);
    }

    fn item(&mut self, inside: impl FnOnce(&mut Self)) {
        self.tag(Tag(0xFFFE, 0xE000));
        self.0.extend([0xFF; 4]);
        inside(self);
        self.tag(Tag(0xFFFE, 0xE00D));
        self.0.extend([0; 4]);
    }

    fn tag(&mut self, tag: Tag) {
        self.0.extend(tag.group().to_le_bytes());
        self.0.extend(tag.element().to_le_bytes());
    }

    fn code(&mut self, tag: Tag, value: &str) {
        self.sequence(tag, |w| {
            w.item(|w| {
                w.text(tags::CODE_VALUE, b"SH", value);
                w.text(tags::CODING_SCHEME_DESIGNATOR, b"SH", "DCM");
                w.text(tags::CODE_MEANING, b"LO", "whatever");
            });
        });
    }

    fn content(
        &mut self,
        relation: &str,
        kind: &str,
        concept: &str,
        value: impl FnOnce(&mut Self),
    ) {
        self.item(|w| {
            w.text(tags::RELATIONSHIP_TYPE, b"CS", relation);
            w.text(tags::VALUE_TYPE, b"CS", kind);
            w.code(tags::CONCEPT_NAME_CODE_SEQUENCE, concept);
            value(w);
        });
    }

    fn instance(&mut self, uid: &str) {
        self.sequence(tags::REFERENCED_SOP_SEQUENCE, |w| {
            w.item(|w| w.instance_uids(uid));
        });
    }

    fn instance_uids(&mut self, uid: &str) {
        self.text(tags::REFERENCED_SOP_CLASS_UID, b"UI", CT);
        self.text(tags::REFERENCED_SOP_INSTANCE_UID, b"UI", uid);
    }

    /// A manifest of `series` series of `instances` instances each.
    fn manifest(series: usize, instances: usize, with_library: bool) -> Vec<u8> {
        let mut w = Self(vec![0; 128]);
        w.0.extend(b"DICM");
        w.text(tags::TRANSFER_SYNTAX_UID, b"UI", EXPLICIT);
        w.text(tags::SOP_CLASS_UID, b"UI", SOP_CLASS);
        w.text(tags::SOP_INSTANCE_UID, b"UI", "1.2.9");
        w.text(tags::STUDY_INSTANCE_UID, b"UI", STUDY);
        w.code(tags::CONCEPT_NAME_CODE_SEQUENCE, "131560");
        w.sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, |w| {
            w.item(|w| w.evidence(series, instances));
        });
        if with_library {
            w.sequence(tags::CONTENT_SEQUENCE, |w| {
                w.content("CONTAINS", "CONTAINER", "111028", |w| {
                    w.sequence(tags::CONTENT_SEQUENCE, |w| {
                        (0..series).for_each(|s| w.group(s, instances));
                    });
                });
            });
        }
        w.0
    }

    fn evidence(&mut self, series: usize, instances: usize) {
        self.sequence(tags::REFERENCED_SERIES_SEQUENCE, |w| {
            for s in 0..series {
                w.item(|w| {
                    w.sequence(tags::REFERENCED_SOP_SEQUENCE, |w| {
                        for i in 0..instances {
                            w.item(|w| w.instance_uids(&format!("1.2.3.{s}.{i}")));
                        }
                    });
                    w.text(tags::SERIES_INSTANCE_UID, b"UI", &format!("1.2.3.{s}"));
                    w.text(tags::RETRIEVE_LOCATION_UID, b"UI", "1.2.40.1");
                });
            }
        });
        self.text(tags::STUDY_INSTANCE_UID, b"UI", STUDY);
    }

    fn group(&mut self, s: usize, instances: usize) {
        self.content("CONTAINS", "CONTAINER", "126200", |w| {
            w.sequence(tags::CONTENT_SEQUENCE, |w| {
                w.content("HAS ACQ CONTEXT", "UIDREF", "112002", |w| {
                    w.text(tags::UID, b"UI", &format!("1.2.3.{s}"));
                });
                for i in 0..instances {
                    w.content("CONTAINS", "IMAGE", "121112", |w| {
                        w.instance(&format!("1.2.3.{s}.{i}"));
                        w.sequence(tags::CONTENT_SEQUENCE, |w| {
                            w.content("HAS ACQ CONTEXT", "TEXT", "113609", |w| {
                                w.text(tags::TEXT_VALUE, b"UT", &i.to_string());
                            });
                        });
                    });
                }
            });
        });
    }
}

#[test]
fn reads_tens_of_thousands_of_instances() {
    let bytes = Writer::manifest(40, 1000, true);
    let manifest = read(&bytes).expect("a manifest");
    let study = only_study(&manifest);
    assert_eq!(study.series.len(), 40);
    for series in &study.series {
        let numbers = series.instances.iter().map(|instance| instance.number);
        assert!(numbers.eq((0..1000).map(Some)));
    }
    assert_eq!(manifest.warnings, []);
}

#[test]
fn refuses_more_series_and_instances_than_it_reads() {
    let refusal = |series, instances| {
        read(&Writer::manifest(series, instances, false)).map(|manifest| manifest.studies.len())
    };
    assert_eq!(refusal(MAX_SERIES, 1), Ok(1));
    assert!(matches!(
        refusal(1, MAX_INSTANCES + 1),
        Err(Error::TooLarge {
            what: "instances",
            ..
        })
    ));
    assert!(matches!(
        refusal(MAX_SERIES + 1, 1),
        Err(Error::TooLarge { what: "series", .. })
    ));
    assert!(matches!(
        read(&vec![0; part10::MAX_FILE + 1]),
        Err(Error::TooLarge { what: "bytes", .. })
    ));
}
