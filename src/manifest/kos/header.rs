//! The top level of a document: its patient and its study.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::SOP_CLASS;
use super::evidence::Evidence;
use super::reader::{MAX_LIST, Reader, add};
use crate::dicom::dataset::{self, DataSet, Element};
use crate::dicom::{SopInstanceUid, StudyInstanceUid};
use crate::ihe::Location;
use crate::manifest::location;
use crate::manifest::model::{Accession, Patient, PatientId, Study};
use crate::manifest::warning::Defect;
use crate::resource::Target;

const FIELDS: [Tag; 25] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::OTHER_PATIENT_I_DS_SEQUENCE,
    tags::STUDY_INSTANCE_UID,
    tags::CONCEPT_NAME_CODE_SEQUENCE,
    tags::REFERENCED_REQUEST_SEQUENCE,
    tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
    tags::CONTENT_SEQUENCE,
    tags::DISPLAY_URI,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_ID,
    tags::RETRIEVE_URL,
    tags::TEXT_VALUE,
];

/// The top-level elements that a manifest uses, selected in one pass.
pub(super) struct Header<'a> {
    fields: [Option<Element<'a>>; FIELDS.len()],
}

impl<'a> Header<'a> {
    pub(super) fn read(set: &DataSet<'a>, reader: &mut Reader) -> Result<Self, dataset::Error> {
        let fields = reader.select(set, FIELDS)?;
        Ok(Self { fields })
    }

    pub(super) fn is_kos(&self) -> bool {
        let class = self.field(tags::SOP_CLASS_UID);
        class.as_ref().and_then(Element::ascii) == Some(SOP_CLASS)
    }

    pub(super) fn title(&self) -> Option<Element<'a>> {
        self.field(tags::CONCEPT_NAME_CODE_SEQUENCE)
    }

    pub(super) fn evidence(&self) -> Option<Element<'a>> {
        self.field(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE)
    }

    pub(super) fn content(&self) -> Option<Element<'a>> {
        self.field(tags::CONTENT_SEQUENCE)
    }

    /// A text at the top level, where some DRIM-M documents describe their series.
    pub(super) fn text(&self) -> Option<Element<'a>> {
        self.field(tags::TEXT_VALUE)
    }

    /// The position of the study to which this document belongs. The document describes that study;
    /// it only lists any other one.
    pub(super) fn described_study(
        &self,
        evidence: &Evidence,
        reader: &mut Reader,
    ) -> Option<usize> {
        let uid = self.field(tags::STUDY_INSTANCE_UID);
        let uid = uid.as_ref().and_then(Element::ascii).unwrap_or_default();
        let described = evidence.find(uid);
        if described.is_none() {
            const PART: &str = "study instance UID of the document";
            let defect = match StudyInstanceUid::parse(uid) {
                Ok(_) => Defect::NotListed(PART),
                Err(_not_a_uid) => Defect::Malformed(PART),
            };
            // The document can only describe its only study.
            match evidence.only() {
                Some(_) => reader.warnings.read_all_the_same(defect),
                None => reader.warnings.left_out(defect),
            }
        }
        described.or_else(|| evidence.only())
    }

    /// Adds the description of the study.
    pub(super) fn describe(&self, study: &mut Study, reader: &mut Reader) {
        if let date @ Some(_) = reader.date(self.field(tags::STUDY_DATE), "study date") {
            if study.date != date {
                // The image library gives a time on another day.
                study.time = None;
            }
            study.date = date;
        }
        if let time @ Some(_) = reader.time(self.field(tags::STUDY_TIME), "study time") {
            study.time = time;
        }
        let description = self.field(tags::STUDY_DESCRIPTION);
        study.description = reader.text(description, "study description");
        let physician = self.field(tags::REFERRING_PHYSICIAN_NAME);
        study.referring_physician = reader.text(physician, "referring physician");
        study.study_id = reader.text(self.field(tags::STUDY_ID), "study ID");
        // The place of the display URI in the letter ballot of CP-2595.
        if let Some(uri) = reader.plain(self.field(tags::DISPLAY_URI), "display URI") {
            add(&mut study.viewer_urls, uri.into());
        }
        let accession = accession(
            self.field(tags::ACCESSION_NUMBER),
            self.field(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE),
            reader,
        );
        if let Some(accession) = accession {
            merge_accession(&mut study.accessions, accession);
        }
    }

    /// Adds a Retrieve URL at the top level (DRIM-M) to the series that have no location.
    pub(super) fn locate(&self, study: &mut Study, reader: &mut Reader) {
        let target = Target::Study(study.uid.clone());
        let url = reader
            .plain(self.field(tags::RETRIEVE_URL), "Retrieve URL")
            .and_then(|url| location::base_uri(url, &target, &mut reader.warnings));
        let Some(url) = url else { return };
        for series in &mut study.series {
            if series.locations.is_empty() {
                series.locations.push(Location {
                    retrieve_url: Some(url.clone()),
                    ..Location::default()
                });
            }
        }
    }

    /// Adds the accession numbers of the requests (0040,A370), one for each order.
    pub(super) fn describe_requests(
        &self,
        evidence: &mut Evidence,
        described: Option<usize>,
        reader: &mut Reader,
    ) {
        let requests = self.field(tags::REFERENCED_REQUEST_SEQUENCE);
        for item in requests.iter().flat_map(Element::items) {
            let Some(item) = reader.item(item) else { break };
            let [study, number, issuer] = reader.describe(
                &item,
                [
                    tags::STUDY_INSTANCE_UID,
                    tags::ACCESSION_NUMBER,
                    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
                ],
            );
            let study = study.as_ref().and_then(Element::ascii);
            let at = study.and_then(|uid| evidence.find(uid)).or(described);
            if let Some(at) = at
                && let Some(accession) = accession(number, issuer, reader)
            {
                merge_accession(&mut evidence.study_mut(at).accessions, accession);
            }
        }
    }

    pub(super) fn timezone(&self, reader: &mut Reader) -> Option<Box<str>> {
        const PART: &str = "time zone";
        let text = reader.plain(self.field(tags::TIMEZONE_OFFSET_FROM_UTC), PART)?;
        if is_timezone(text) {
            Some(text.into())
        } else {
            reader.malformed(PART);
            None
        }
    }

    pub(super) fn document_id(&self, reader: &mut Reader) -> Option<Box<str>> {
        const PART: &str = "SOP instance UID of the document";
        let text = reader.plain(self.field(tags::SOP_INSTANCE_UID), PART);
        let uid = text.and_then(|text| SopInstanceUid::parse(text).ok());
        if uid.is_none() {
            reader.malformed(PART);
        }
        uid.map(|uid| uid.as_str().into())
    }

    pub(super) fn patient(&self, reader: &mut Reader) -> Patient {
        let mut ids = Vec::new();
        let id = patient_id(
            self.field(tags::PATIENT_ID),
            self.field(tags::ISSUER_OF_PATIENT_ID),
            self.field(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE),
            reader,
        );
        merge_patient_id(&mut ids, id);
        let others = self.field(tags::OTHER_PATIENT_I_DS_SEQUENCE);
        for item in others.iter().flat_map(Element::items) {
            let Some(item) = reader.item(item) else { break };
            let [id, issuer, qualifiers] = reader.describe(
                &item,
                [
                    tags::PATIENT_ID,
                    tags::ISSUER_OF_PATIENT_ID,
                    tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
                ],
            );
            let id = patient_id(id, issuer, qualifiers, reader);
            merge_patient_id(&mut ids, id);
        }
        Patient {
            ids,
            name: reader.text(self.field(tags::PATIENT_NAME), "name of the patient"),
            birth_date: reader.date(
                self.field(tags::PATIENT_BIRTH_DATE),
                "birth date of the patient",
            ),
            sex: self.sex(reader),
        }
    }

    // PS3.3 C.7.1.1: M, F or O.
    fn sex(&self, reader: &mut Reader) -> Option<Box<str>> {
        const PART: &str = "sex of the patient";
        match reader.plain(self.field(tags::PATIENT_SEX), PART)? {
            sex @ ("M" | "F" | "O") => Some(sex.into()),
            _ => {
                reader.malformed(PART);
                None
            }
        }
    }

    fn field(&self, tag: Tag) -> Option<Element<'a>> {
        let at = FIELDS.iter().position(|field| *field == tag)?;
        self.fields[at]
    }
}

fn accession(
    number: Option<Element<'_>>,
    issuer: Option<Element<'_>>,
    reader: &mut Reader,
) -> Option<Accession> {
    let value = reader.text(number, "accession number")?;
    let issuer = issuer_in(issuer, reader);
    Some(Accession { value, issuer })
}

fn patient_id(
    id: Option<Element<'_>>,
    label: Option<Element<'_>>,
    qualifiers: Option<Element<'_>>,
    reader: &mut Reader,
) -> Option<PatientId> {
    let value = reader.text(id, "identifier of the patient")?;
    let issuer = issuer_in(qualifiers, reader).or_else(|| reader.text(label, ISSUER));
    Some(PatientId { value, issuer })
}

/// The name of an issuer in warnings.
const ISSUER: &str = "issuer of an identifier";

/// The issuer of a number (PS3.3 10.14): the universal entity, else the local one.
fn issuer_in(sequence: Option<Element<'_>>, reader: &mut Reader) -> Option<Box<str>> {
    let item = reader.first(sequence)?;
    let [universal, local] = reader.describe(
        &item,
        [tags::UNIVERSAL_ENTITY_ID, tags::LOCAL_NAMESPACE_ENTITY_ID],
    );
    let universal = reader.text(universal, ISSUER);
    let issuer = universal.or_else(|| reader.text(local, ISSUER))?;
    let bare = issuer
        .get(..8)
        .filter(|head| head.eq_ignore_ascii_case("urn:oid:"))
        .map(|head| issuer[head.len()..].into());
    Some(bare.unwrap_or(issuer))
}

fn merge_accession(list: &mut Vec<Accession>, new: Accession) {
    merge(list, new, |accession| {
        (&accession.value, &mut accession.issuer)
    });
}

fn merge_patient_id(list: &mut Vec<PatientId>, new: Option<PatientId>) {
    if let Some(new) = new {
        merge(list, new, |id| (&id.value, &mut id.issuer));
    }
}

/// Borrows a number and its issuer.
type ValueAndIssuer<T> = fn(&mut T) -> (&Box<str>, &mut Option<Box<str>>);

/// Adds a number unless the list has it. The same number often has its issuer in one place of the
/// document only.
fn merge<T>(list: &mut Vec<T>, mut new: T, fields: ValueAndIssuer<T>) {
    let (value, issuer) = fields(&mut new);
    for old in list.iter_mut() {
        let (old_value, old_issuer) = fields(old);
        let is_same = old_issuer.is_none() || issuer.is_none() || old_issuer == issuer;
        if old_value == value && is_same {
            *old_issuer = old_issuer.take().or(issuer.take());
            return;
        }
    }
    if list.len() < MAX_LIST {
        list.push(new);
    }
}

// PS3.3 C.12.1.1.8: &ZZXX.
fn is_timezone(text: &str) -> bool {
    match text.as_bytes() {
        [b'+' | b'-', digits @ ..] => digits.len() == 4 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
