//! Data sets as they are built here: element after element, then written as a Part 10 file.

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;

use super::model::{Code, Identifier, Moment, Study};

/// A data set, or an item of a sequence.
#[derive(Debug, Clone)]
pub(super) struct Dataset(InMemDicomObject);

impl Dataset {
    pub(super) fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    /// The Patient, General Study and General Equipment modules that every instance of the study
    /// has, and its manifest too.
    pub(super) fn of_study(study: &Study) -> Self {
        let patient = &study.patient;
        Self::new()
            .text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")
            .text(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, &Moment::timezone())
            .text(
                tags::PATIENT_NAME,
                VR::PN,
                &format!("{}^{}", patient.family, patient.given),
            )
            .patient_id(patient.id, patient.id_issuer)
            .text(tags::PATIENT_BIRTH_DATE, VR::DA, &patient.born.da())
            .text(tags::PATIENT_SEX, VR::CS, "O")
            .text(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str())
            .text(tags::STUDY_DATE, VR::DA, &study.started.da())
            .text(tags::STUDY_TIME, VR::TM, &study.started.tm())
            .text(tags::STUDY_ID, VR::SH, study.id)
            .text(tags::STUDY_DESCRIPTION, VR::LO, study.description)
            .text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "")
            .text(tags::ACCESSION_NUMBER, VR::SH, study.accession.value)
            .issuer(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, study.accession)
            .text(tags::MANUFACTURER, VR::LO, study.manifest.manufacturer)
            .text(
                tags::INSTITUTION_NAME,
                VR::LO,
                study.manifest.institution.name,
            )
    }

    /// An element of text; several values are separated by backslashes.
    #[must_use]
    pub(super) fn text(mut self, tag: Tag, vr: VR, value: &str) -> Self {
        self.0
            .put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        self
    }

    /// A US element.
    #[must_use]
    pub(super) fn unsigned(mut self, tag: Tag, value: u16) -> Self {
        self.0
            .put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        self
    }

    /// Pixel Data, as stored.
    #[must_use]
    pub(super) fn pixel_data(mut self, vr: VR, bytes: Vec<u8>) -> Self {
        self.0.put(DataElement::new(
            tags::PIXEL_DATA,
            vr,
            PrimitiveValue::from(bytes),
        ));
        self
    }

    /// A sequence with these items.
    #[must_use]
    pub(super) fn sequence(mut self, tag: Tag, items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<_> = items.into_iter().map(|item| item.0).collect();
        self.0
            .put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// A code sequence with one item (PS3.3 8.8).
    #[must_use]
    pub(super) fn code(self, tag: Tag, code: Code) -> Self {
        let item = Self::new()
            .text(tags::CODE_VALUE, VR::SH, code.value)
            .text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, code.scheme)
            .text(tags::CODE_MEANING, VR::LO, code.meaning);
        self.sequence(tag, [item])
    }

    /// Patient ID and its issuer.
    #[must_use]
    pub(super) fn patient_id(self, id: Identifier, label: &str) -> Self {
        self.text(tags::PATIENT_ID, VR::LO, id.value)
            .text(tags::ISSUER_OF_PATIENT_ID, VR::LO, label)
            .issuer(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, id)
    }

    /// A sequence with the issuer of `identifier`.
    #[must_use]
    pub(super) fn issuer(self, tag: Tag, identifier: Identifier) -> Self {
        let item = Self::new()
            .text(tags::UNIVERSAL_ENTITY_ID, VR::UT, identifier.issuer)
            .text(tags::UNIVERSAL_ENTITY_ID_TYPE, VR::CS, "ISO");
        self.sequence(tag, [item])
    }

    /// A Part 10 file in Explicit VR Little Endian.
    pub(super) fn into_part10(self) -> Vec<u8> {
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .implementation_class_uid(IMPLEMENTATION_CLASS)
            .implementation_version_name("XCWADO_DEMO");
        let file = self.0.with_meta(meta).expect("the UIDs are text");
        let mut bytes = Vec::new();
        file.write_all(&mut bytes)
            .expect("a vector takes everything");
        bytes
    }
}

/// Implementation Class UID (0002,0012): below the study's own UIDs, so that a new release of the
/// DICOM library does not change the files.
const IMPLEMENTATION_CLASS: &str = "2.25.5260584752800091357059910238462748676.6";
