//! Search results from manifests: studies, series and instances as attributes (PS3.18 tables
//! 10.6.3-3 to 10.6.3-5). Counts cover the listed instances, or the declared ones of a series that
//! lists none.

mod body_part;
mod item;

use serde_json::{Value, json};

use super::model::{Code, Instance, Patient, Series, Study};
use super::outline::Outline;
use crate::resource::Level;
use crate::search::{FURTHER_ACCESSIONS, FURTHER_PATIENT_IDS, Row};
use item::{code_item, content_items, issuer_item, patient_id_item, request};

/// Anatomic Region Sequence, which a study and its series both have.
pub const ANATOMIC_REGION: &str = "00082218";

/// The Specific Character Set of the rows: UTF-8.
const UTF_8: &str = "ISO_IR 192";

/// The attributes of a study. `root` is its DICOMweb root.
#[must_use]
pub fn study_row(study: &Study, root: &str) -> Row {
    outline_row(&Outline::of(study), root)
}

/// The attributes of a study, from its outline.
#[must_use]
pub fn outline_row(study: &Outline, root: &str) -> Row {
    partial_outline_row(study, root, |_tag| true)
}

/// The attributes with these tags of a study, from its outline.
#[must_use]
pub fn partial_outline_row(study: &Outline, root: &str, is_wanted: impl Fn(&str) -> bool) -> Row {
    let mut row = Row::new();
    visit(study, root, |tag, vr, values| {
        if is_wanted(tag) {
            put(&mut row, tag, vr, values.iter().map(Cell::value));
        }
    });
    row
}

/// Writes what [`outline_row`] gives as JSON, at a tenth of the cost: a list has many rows.
pub fn write_outline_row(study: &Outline, root: &str, out: &mut Vec<u8>) {
    let mut separator = b'{';
    visit(study, root, |tag, vr, values| {
        out.push(separator);
        separator = b',';
        out.extend_from_slice(format!("\"{tag}\":{{").as_bytes());
        let mut before: &[u8] = b"\"Value\":[";
        for value in values {
            out.extend_from_slice(before);
            before = b",";
            value.write(out);
        }
        if !values.is_empty() {
            out.extend_from_slice(b"],");
        }
        out.extend_from_slice(format!("\"vr\":\"{vr}\"}}").as_bytes());
    });
    out.push(b'}');
}

/// Gives the attributes of a study in the order of their tags.
fn visit(study: &Outline, root: &str, mut put: impl FnMut(&str, &str, &[Cell<'_>])) {
    put("00080005", "CS", &[Cell::Text(UTF_8)]);
    put("00080020", "DA", text(&study.date).as_slice());
    put("00080030", "TM", text(&study.time).as_slice());
    visit_accession(study, &mut put);
    let modalities = study.modalities.iter().map(|text| Cell::Text(text));
    put("00080061", "CS", &modalities.collect::<Vec<_>>());
    let physician = study.referring_physician.as_deref();
    put("00080090", "PN", physician.map(Cell::Name).as_slice());
    put_text(&mut put, "00080201", "SH", study.timezone.as_deref());
    put_text(&mut put, "00081030", "LO", study.description.as_deref());
    put_items(&mut put, "00081032", study.procedures.iter().map(code_item));
    let link = format!("{root}/studies/{}", study.uid);
    put("00081190", "UR", &[Cell::Text(&link)]);
    put_items(
        &mut put,
        ANATOMIC_REGION,
        study.regions.iter().map(code_item),
    );
    visit_patient(&study.patient, &mut put);
    put("0020000D", "UI", &[Cell::Text(study.uid.as_str())]);
    put("00200010", "SH", text(&study.study_id).as_slice());
    put("00201206", "IS", &[Cell::Number(study.series)]);
    put("00201208", "IS", &[Cell::Number(study.instances)]);
    if study.accessions.len() > 1 {
        let requests = study.accessions.iter().map(|one| request(one, study));
        put_items(&mut put, FURTHER_ACCESSIONS, requests);
    }
}

// A study of several orders does not have a single accession number (MADO 6.X.2.8.1, group case).
fn visit_accession(study: &Outline, put: &mut impl FnMut(&str, &str, &[Cell<'_>])) {
    let [accession] = study.accessions.as_slice() else {
        return put("00080050", "SH", &[]);
    };
    put("00080050", "SH", &[Cell::Text(&accession.value)]);
    put_items(
        put,
        "00080051",
        accession.issuer.as_deref().map(issuer_item),
    );
}

fn visit_patient(patient: &Patient, put: &mut impl FnMut(&str, &str, &[Cell<'_>])) {
    let name = patient.name.as_deref().map(Cell::Name);
    put("00100010", "PN", name.as_slice());
    let id = patient.ids.first();
    put(
        "00100020",
        "LO",
        id.map(|id| Cell::Text(&id.value)).as_slice(),
    );
    let issuer = id.and_then(|id| id.issuer.as_deref());
    put_text(put, "00100021", "LO", issuer);
    put_items(put, "00100024", issuer.map(issuer_item));
    put("00100030", "DA", text(&patient.birth_date).as_slice());
    put("00100040", "CS", text(&patient.sex).as_slice());
    put_items(
        put,
        FURTHER_PATIENT_IDS,
        patient.ids.iter().skip(1).map(patient_id_item),
    );
}

/// Puts a text if there is one.
fn put_text(
    put: &mut impl FnMut(&str, &str, &[Cell<'_>]),
    tag: &str,
    vr: &str,
    text: Option<&str>,
) {
    if let Some(text) = text {
        put(tag, vr, &[Cell::Text(text)]);
    }
}

/// Puts a sequence if it has items.
fn put_items(
    put: &mut impl FnMut(&str, &str, &[Cell<'_>]),
    tag: &str,
    items: impl IntoIterator<Item = Value>,
) {
    let items: Vec<_> = items.into_iter().map(Cell::Item).collect();
    if !items.is_empty() {
        put(tag, "SQ", &items);
    }
}

fn text(text: &Option<Box<str>>) -> Option<Cell<'_>> {
    text.as_deref().map(Cell::Text)
}

/// A value of an attribute of a study.
enum Cell<'a> {
    Text(&'a str),
    Name(&'a str),
    Number(usize),
    /// An item of a sequence.
    Item(Value),
}

impl Cell<'_> {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(*text),
            Self::Name(name) => person_name(name),
            Self::Number(number) => Value::from(*number),
            Self::Item(item) => item.clone(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let written = match self {
            Self::Text(text) => serde_json::to_writer(out, text),
            Self::Name(name) => serde_json::to_writer(out, &person_name(name)),
            Self::Number(number) => serde_json::to_writer(out, number),
            Self::Item(item) => serde_json::to_writer(out, item),
        };
        written.expect("memory takes every text and number");
    }
}

/// The attributes of a series, without those of its study.
#[must_use]
pub fn series_row(study: &Study, series: &Series, root: &str) -> Row {
    let mut row = Row::new();
    put(&mut row, "00080005", "CS", [UTF_8]);
    put_present(&mut row, "00080021", "DA", series.date.as_deref());
    put_present(&mut row, "00080031", "TM", series.time.as_deref());
    put(&mut row, "00080060", "CS", series.modality.as_deref());
    put_present(&mut row, "00080201", "SH", study.timezone.as_deref());
    put_present(&mut row, "0008103E", "LO", series.description.as_deref());
    let (study, uid) = (&study.uid, &series.uid);
    put(
        &mut row,
        "00081190",
        "UR",
        [format!("{root}/studies/{study}/series/{uid}")],
    );
    let site = series.body_site.as_ref();
    let regions = site.filter(|site| !site.value.is_empty()).map(code_item);
    put_present(&mut row, ANATOMIC_REGION, "SQ", regions);
    put_present(&mut row, "00180015", "CS", site.and_then(body_part::of));
    put(&mut row, "0020000D", "UI", [study.as_str()]);
    put(&mut row, "0020000E", "UI", [uid.as_str()]);
    put(&mut row, "00200011", "IS", series.number);
    let laterality = series.laterality.as_ref();
    put_present(&mut row, "00200060", "CS", laterality.and_then(side));
    put(
        &mut row,
        "00201209",
        "IS",
        [series.instances.len() + series.unlisted()],
    );
    put_present(&mut row, "00400244", "DA", series.date.as_deref());
    put_present(&mut row, "00400245", "TM", series.time.as_deref());
    row
}

// PS3.3 C.7.3.1: one of paired body parts; both have no code.
fn side(laterality: &Code) -> Option<&'static str> {
    match &*laterality.value {
        "R" | "G-A100" | "24028007" | "419465000" => Some("R"),
        "L" | "G-A101" | "7771000" | "419161000" => Some("L"),
        _ => None,
    }
}

/// The attributes of an instance, without those of its study and series.
#[must_use]
pub fn instance_row(study: &Study, series: &Series, instance: &Instance, root: &str) -> Row {
    let mut row = Row::new();
    let (study_uid, series_uid, uid) = (&study.uid, &series.uid, &instance.uid);
    let path = format!("{root}/studies/{study_uid}/series/{series_uid}/instances/{uid}");
    put(&mut row, "00080005", "CS", [UTF_8]);
    put(&mut row, "00080016", "UI", [instance.sop_class.as_str()]);
    put(&mut row, "00080018", "UI", [uid.as_str()]);
    put_present(&mut row, "00080201", "SH", study.timezone.as_deref());
    put(&mut row, "00081190", "UR", [path]);
    put(&mut row, "0020000D", "UI", [study_uid.as_str()]);
    put(&mut row, "0020000E", "UI", [series_uid.as_str()]);
    put(&mut row, "00200013", "IS", instance.number);
    put_present(&mut row, "00280008", "IS", instance.frames);
    if let Some(key_object) = &instance.key_object {
        let title = key_object.title.as_ref().map(code_item);
        put_present(&mut row, "0040A043", "SQ", title);
        let content = content_items(key_object);
        if !content.is_empty() {
            put(&mut row, "0040A730", "SQ", content);
        }
    }
    row
}

/// Whether rows of a level have an attribute, if the manifest tells it. A row without it has no
/// value for it.
#[must_use]
pub fn is_told(level: Level, tag: &str) -> bool {
    const OF_STUDIES: &[&str] = &[
        "00080051",
        "00080201",
        "00081030",
        "00081032",
        ANATOMIC_REGION,
        "00100021",
        "00100024",
        FURTHER_PATIENT_IDS,
        FURTHER_ACCESSIONS,
    ];
    const OF_SERIES: &[&str] = &[
        "00080021", "00080031", "0008103E", "00180015", "00200060", "00400244", "00400245",
    ];
    const OF_INSTANCES: &[&str] = &["00280008", "0040A043", "0040A730"];
    let levels: &[_] = match level {
        Level::Study => &[OF_STUDIES],
        Level::Series => &[OF_STUDIES, OF_SERIES],
        Level::Instance => &[OF_STUDIES, OF_SERIES, OF_INSTANCES],
    };
    levels.iter().any(|tags| tags.contains(&tag))
}

/// Puts an attribute, with or without a value.
fn put<V: Into<Value>>(row: &mut Row, tag: &str, vr: &str, values: impl IntoIterator<Item = V>) {
    let values: Vec<Value> = values.into_iter().map(Into::into).collect();
    let attribute = if values.is_empty() {
        json!({ "vr": vr })
    } else {
        json!({ "vr": vr, "Value": values })
    };
    row.insert(tag.to_owned(), attribute);
}

/// Puts an attribute if it has a value.
fn put_present<V: Into<Value>>(row: &mut Row, tag: &str, vr: &str, value: Option<V>) {
    if value.is_some() {
        put(row, tag, vr, value);
    }
}

/// The component groups of a person name (PS3.5 6.2.1.1).
fn person_name(name: &str) -> Value {
    let groups = ["Alphabetic", "Ideographic", "Phonetic"];
    let named = groups.into_iter().zip(name.split('='));
    named
        .filter(|(_group, part)| !part.is_empty())
        .map(|(group, part)| (group.to_owned(), Value::from(part)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dicom::StudyInstanceUid;
    use crate::manifest::{Accession, Patient, PatientId};

    fn accession(value: &str, issuer: Option<&str>) -> Accession {
        Accession {
            value: value.into(),
            issuer: issuer.map(Into::into),
        }
    }

    fn code(value: &str, scheme: &str, meaning: &str) -> Code {
        Code {
            value: value.into(),
            scheme: Some(scheme.into()),
            meaning: Some(meaning.into()),
        }
    }

    fn outline() -> Outline {
        let id = PatientId {
            value: "P \"1\"".into(),
            issuer: Some("1.2.9".into()),
        };
        Outline {
            uid: StudyInstanceUid::parse("1.2.1").expect("a uid"),
            patient: Arc::new(Patient {
                ids: vec![id],
                name: Some("Yamada^Tarou=山田^太郎".into()),
                birth_date: None,
                sex: Some("M".into()),
            }),
            date: Some("20260131".into()),
            time: None,
            timezone: Some("+0100".into()),
            description: Some("Knee\n".into()),
            accessions: vec![accession("A1", Some("1.2.8"))],
            referring_physician: Some("Who^Doctor".into()),
            study_id: Some("7".into()),
            procedures: vec![code("RPID16", "http://radlex.org", "CT Chest")],
            regions: vec![code("67734004", "SCT", "Upper trunk")],
            modalities: vec!["CT".into(), "KO".into()],
            series: 2,
            instances: 7,
        }
    }

    #[test]
    fn a_written_row_is_the_row() {
        let bare = Outline {
            patient: Arc::new(Patient::default()),
            modalities: Vec::new(),
            date: None,
            timezone: None,
            description: None,
            accessions: Vec::new(),
            procedures: Vec::new(),
            regions: Vec::new(),
            study_id: None,
            ..outline()
        };
        let ids = ["1", "2", "3"].map(|value| PatientId {
            value: value.into(),
            issuer: None,
        });
        let of_group = Outline {
            patient: Arc::new(Patient {
                ids: ids.into(),
                ..Patient::default()
            }),
            accessions: vec![accession("A1", None), accession("A2", Some("RIS"))],
            ..outline()
        };
        for outline in [outline(), bare, of_group] {
            let mut written = Vec::new();
            write_outline_row(&outline, "http://h/dicomweb", &mut written);
            let row = serde_json::to_vec(&outline_row(&outline, "http://h/dicomweb"));
            assert_eq!(
                String::from_utf8(written).ok(),
                String::from_utf8(row.expect("JSON")).ok()
            );
        }
    }

    #[test]
    fn a_packed_outline_is_the_outline() {
        let packed = crate::manifest::PackedOutline::of(&outline());
        assert_eq!(packed.unpack(), outline());
        assert!(!format!("{packed:?}").contains("Yamada"));
    }
}
