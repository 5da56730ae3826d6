//! Key Object Selection documents: the published ones, and small ones built here.

mod document;
mod evidence;
mod library;
mod limits;
mod published;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::mem::InMemElement;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::*;
use crate::ihe::Location;
use crate::manifest::model::{Accession, Code, PatientId, Series};
use crate::manifest::warning::{Outcome, Warning};

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

    fn with_content(mut self, content: impl IntoIterator<Item = Object>) -> Self {
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

fn value_item(kind: &str, concept: Object, value: InMemElement) -> Object {
    let name = sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, [concept]);
    item("HAS ACQ CONTEXT", kind, [name, value])
}

fn text_item(concept: Object, value: &str) -> Object {
    value_item("TEXT", concept, text(tags::TEXT_VALUE, VR::UT, value))
}

fn code_item(concept: Object, value: Object) -> Object {
    value_item(
        "CODE",
        concept,
        sequence(tags::CONCEPT_CODE_SEQUENCE, [value]),
    )
}

fn number_item(concept: Object, value: &str) -> Object {
    let value = object([text(tags::NUMERIC_VALUE, VR::DS, value)]);
    value_item(
        "NUM",
        concept,
        sequence(tags::MEASURED_VALUE_SEQUENCE, [value]),
    )
}

fn uid_item(uid: &str) -> Object {
    value_item("UIDREF", dcm("112002"), text(tags::UID, VR::UI, uid))
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
    defects(manifest).contains(&Defect::Malformed(part))
}

fn defects(manifest: &Manifest) -> Vec<Defect> {
    let warnings = manifest.warnings.iter();
    warnings.map(|warning| warning.defect.clone()).collect()
}

fn left_out(subject: Subject, defect: Defect) -> Warning {
    Warning::about(subject, Outcome::LeftOut, defect)
}

fn read_all_the_same(subject: Subject, defect: Defect) -> Warning {
    Warning::about(subject, Outcome::ReadAllTheSame, defect)
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
