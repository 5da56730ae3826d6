//! The manifest of the study as a Key Object Selection document (IHE RAD MADO, volume 3).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::dataset::Dataset;
use super::model::{Code, Instance, LocationIds, Series, Study};

/// The manifest as a Part 10 file. `locations` is in the order of `Location::index`; a series whose
/// location is missing there has no location in the manifest.
pub(super) fn write(study: &Study, locations: &[LocationIds]) -> Vec<u8> {
    document(study)
        .sequence(tags::REFERENCED_REQUEST_SEQUENCE, [request(study)])
        .sequence(
            tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
            [evidence(study, locations)],
        )
        .sequence(tags::CONTENT_SEQUENCE, content(study))
        .into_part10()
}

fn document(study: &Study) -> Dataset {
    let manifest = &study.manifest;
    let patient = Dataset::new()
        .patient_id(study.patient.id, study.patient.id_issuer)
        .text(tags::TYPE_OF_PATIENT_ID, VR::CS, "TEXT");
    let template = Dataset::new()
        .text(tags::MAPPING_RESOURCE, VR::CS, "DCMR")
        .text(tags::TEMPLATE_IDENTIFIER, VR::CS, "2010");
    Dataset::of_study(study)
        .text(
            tags::SOP_CLASS_UID,
            VR::UI,
            uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
        )
        .text(tags::SOP_INSTANCE_UID, VR::UI, manifest.uid.as_str())
        .text(
            tags::SERIES_INSTANCE_UID,
            VR::UI,
            manifest.series_uid.as_str(),
        )
        .text(tags::SERIES_NUMBER, VR::IS, "99")
        .text(tags::INSTANCE_NUMBER, VR::IS, "1")
        .text(tags::MODALITY, VR::CS, "KO")
        .text(tags::CONTENT_DATE, VR::DA, &manifest.created.da())
        .text(tags::CONTENT_TIME, VR::TM, &manifest.created.tm())
        .text(tags::INSTITUTION_NAME, VR::LO, &organization(study))
        .sequence(tags::OTHER_PATIENT_I_DS_SEQUENCE, [patient])
        .sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, [])
        .text(tags::VALUE_TYPE, VR::CS, "CONTAINER")
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, MANIFEST_WITH_DESCRIPTION)
        .text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE")
        .sequence(tags::CONTENT_TEMPLATE_SEQUENCE, [template])
}

// HL7 XON: the name, the assigning authority of the identifier, the identifier.
fn organization(study: &Study) -> String {
    let institution = &study.manifest.institution;
    let identifier = institution.identifier;
    format!(
        "{}^^^^^&{}&ISO^^^^{}",
        institution.name, identifier.issuer, identifier.value
    )
}

fn request(study: &Study) -> Dataset {
    Dataset::new()
        .text(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str())
        .sequence(tags::REFERENCED_STUDY_SEQUENCE, [])
        .text(tags::ACCESSION_NUMBER, VR::SH, study.accession.value)
        .issuer(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, study.accession)
        .text(
            tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
            VR::LO,
            study.placer_order.value,
        )
        .issuer(tags::ORDER_PLACER_IDENTIFIER_SEQUENCE, study.placer_order)
        .text(
            tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
            VR::LO,
            "",
        )
        .text(tags::REQUESTED_PROCEDURE_ID, VR::SH, study.id)
        .text(
            tags::REQUESTED_PROCEDURE_DESCRIPTION,
            VR::LO,
            study.procedure.meaning,
        )
        .code(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, study.procedure)
}

fn evidence(study: &Study, locations: &[LocationIds]) -> Dataset {
    let series = study.series.iter().map(|series| located(series, locations));
    Dataset::new()
        .text(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str())
        .sequence(tags::REFERENCED_SERIES_SEQUENCE, series)
}

fn located(series: &Series, locations: &[LocationIds]) -> Dataset {
    let item = Dataset::new()
        .text(tags::SERIES_INSTANCE_UID, VR::UI, series.uid.as_str())
        .sequence(
            tags::REFERENCED_SOP_SEQUENCE,
            series.instances.iter().map(reference),
        );
    match series.location.ids(locations) {
        Some(ids) => item
            .text(
                tags::RETRIEVE_LOCATION_UID,
                VR::UI,
                &ids.retrieve_location_uid,
            )
            .text(tags::RETRIEVE_URL, VR::UR, &ids.retrieve_url),
        None => item,
    }
}

fn reference(instance: &Instance) -> Dataset {
    Dataset::new()
        .text(
            tags::REFERENCED_SOP_CLASS_UID,
            VR::UI,
            instance.sop_class.as_str(),
        )
        .text(
            tags::REFERENCED_SOP_INSTANCE_UID,
            VR::UI,
            instance.uid.as_str(),
        )
}

// TID 2010: the instances as a flat list, and the library that describes them.
fn content(study: &Study) -> Vec<Dataset> {
    let instances = study.series.iter().flat_map(|series| &series.instances);
    let mut items = vec![
        Item::modifier(PROCEDURE_CODE).code(study.procedure),
        Item::contained(KEY_OBJECT_DESCRIPTION).text(study.description),
    ];
    items.extend(instances.map(image));
    items.push(library(study));
    items
}

fn image(instance: &Instance) -> Dataset {
    Item::unnamed("CONTAINS").image(instance)
}

// TID 1600.
fn library(study: &Study) -> Dataset {
    let modalities = study
        .modalities()
        .into_iter()
        .map(|code| Item::described(MODALITY).code(code));
    let mut children: Vec<Dataset> = modalities.collect();
    children.push(Item::described(TARGET_REGION).code(study.region));
    children.push(Item::described(NUMBER_OF_SERIES).count(study.series.len(), SERIES));
    children.extend(study.series.iter().map(group));
    Item::contained(IMAGE_LIBRARY).container(children)
}

// TID 1602, with an entry for each instance.
fn group(series: &Series) -> Dataset {
    let mut children = vec![
        Item::described(MODALITY).code(series.modality),
        Item::described(TARGET_REGION).code(series.body_part),
        Item::described(SERIES_DATE).date(&series.started.da()),
        Item::described(SERIES_TIME).time(&series.started.tm()),
        Item::described(SERIES_DESCRIPTION).text(series.description),
        Item::described(SERIES_NUMBER).text(&series.number.to_string()),
        Item::described(SERIES_INSTANCE_UID).uid(series.uid.as_str()),
        Item::described(NUMBER_OF_INSTANCES).count(series.instances.len(), INSTANCES),
    ];
    children.extend(series.instances.iter().map(entry));
    Item::contained(IMAGE_LIBRARY_GROUP).container(children)
}

fn entry(instance: &Instance) -> Dataset {
    let mut children = vec![Item::described(INSTANCE_NUMBER).text(&instance.number.to_string())];
    if let Some(frames) = instance.frames {
        children.push(Item::described(NUMBER_OF_FRAMES).count(frames as usize, FRAMES));
    }
    image(instance).sequence(tags::CONTENT_SEQUENCE, children)
}

/// A content item (PS3.3 C.17.3) without its value.
struct Item(Dataset);

impl Item {
    fn unnamed(relationship: &str) -> Self {
        Self(Dataset::new().text(tags::RELATIONSHIP_TYPE, VR::CS, relationship))
    }

    fn named(relationship: &str, concept: Code) -> Self {
        Self(
            Self::unnamed(relationship)
                .0
                .code(tags::CONCEPT_NAME_CODE_SEQUENCE, concept),
        )
    }

    fn contained(concept: Code) -> Self {
        Self::named("CONTAINS", concept)
    }

    fn described(concept: Code) -> Self {
        Self::named("HAS ACQ CONTEXT", concept)
    }

    fn modifier(concept: Code) -> Self {
        Self::named("HAS CONCEPT MOD", concept)
    }

    fn of_type(self, value_type: &str) -> Dataset {
        self.0.text(tags::VALUE_TYPE, VR::CS, value_type)
    }

    fn value(self, value_type: &str, tag: Tag, vr: VR, value: &str) -> Dataset {
        self.of_type(value_type).text(tag, vr, value)
    }

    fn text(self, value: &str) -> Dataset {
        self.value("TEXT", tags::TEXT_VALUE, VR::UT, value)
    }

    fn date(self, value: &str) -> Dataset {
        self.value("DATE", tags::DATE, VR::DA, value)
    }

    fn time(self, value: &str) -> Dataset {
        self.value("TIME", tags::TIME, VR::TM, value)
    }

    fn uid(self, value: &str) -> Dataset {
        self.value("UIDREF", tags::UID, VR::UI, value)
    }

    fn code(self, value: Code) -> Dataset {
        self.of_type("CODE")
            .code(tags::CONCEPT_CODE_SEQUENCE, value)
    }

    fn image(self, instance: &Instance) -> Dataset {
        self.of_type("IMAGE")
            .sequence(tags::REFERENCED_SOP_SEQUENCE, [reference(instance)])
    }

    fn count(self, count: usize, units: Code) -> Dataset {
        let measured = Dataset::new()
            .text(tags::NUMERIC_VALUE, VR::DS, &count.to_string())
            .code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, units);
        self.of_type("NUM")
            .sequence(tags::MEASURED_VALUE_SEQUENCE, [measured])
    }

    fn container(self, children: Vec<Dataset>) -> Dataset {
        self.of_type("CONTAINER")
            .text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE")
            .sequence(tags::CONTENT_SEQUENCE, children)
    }
}

// PS3.16 annex D.
const MANIFEST_WITH_DESCRIPTION: Code = dcm("131560", "Manifest with Description");
const PROCEDURE_CODE: Code = dcm("121023", "Procedure Code");
const KEY_OBJECT_DESCRIPTION: Code = dcm("113012", "Key Object Description");
const IMAGE_LIBRARY: Code = dcm("111028", "Image Library");
const IMAGE_LIBRARY_GROUP: Code = dcm("126200", "Image Library Group");
const MODALITY: Code = dcm("121139", "Modality");
const TARGET_REGION: Code = dcm("123014", "Target Region");
const NUMBER_OF_SERIES: Code = dcm("131565", "Number of Study Related Series");
const SERIES_DATE: Code = dcm("131561", "Series Date");
const SERIES_TIME: Code = dcm("131562", "Series Time");
const SERIES_DESCRIPTION: Code = dcm("131563", "Series Description");
const NUMBER_OF_INSTANCES: Code = dcm("131564", "Number of Series Related Instances");
const SERIES_NUMBER: Code = dcm("113607", "Series Number");
const SERIES_INSTANCE_UID: Code = dcm("112002", "Series Instance UID");
const INSTANCE_NUMBER: Code = dcm("113609", "Instance Number");
const NUMBER_OF_FRAMES: Code = dcm("121140", "Number of Frames");

// UCUM: an annotation in braces is not a unit; it names the counted things.
const SERIES: Code = Code {
    value: "{series}",
    scheme: "UCUM",
    meaning: "series",
};
const INSTANCES: Code = Code {
    value: "{instances}",
    scheme: "UCUM",
    meaning: "instances",
};
const FRAMES: Code = Code {
    value: "{frames}",
    scheme: "UCUM",
    meaning: "frames",
};

const fn dcm(value: &'static str, meaning: &'static str) -> Code {
    Code {
        value,
        scheme: "DCM",
        meaning,
    }
}

#[cfg(test)]
mod tests;
