//! Search results from manifests: studies, series and instances as attributes (PS3.18 tables
//! 10.6.3-3 to 10.6.3-5). Counts cover the listed instances, or the declared ones of a series that
//! lists none.

use serde_json::{Value, json};

use super::model::{Instance, Series, Study};
use super::outline::Outline;
use crate::resource::Level;
use crate::search::Row;

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
    let patient = &study.patient;
    let id = patient.ids.first();
    let issuer = id.and_then(|id| id.issuer.as_deref());
    let modalities: Vec<_> = study
        .modalities
        .iter()
        .map(|text| Cell::Text(text))
        .collect();
    let link = format!("{root}/studies/{}", study.uid);
    put("00080005", "CS", &[Cell::Text(UTF_8)]);
    put("00080020", "DA", text(&study.date).as_slice());
    put("00080030", "TM", text(&study.time).as_slice());
    put("00080050", "SH", text(&study.accession).as_slice());
    put("00080061", "CS", &modalities);
    put("00080090", "PN", &[]);
    if let Some(timezone) = &study.timezone {
        put("00080201", "SH", &[Cell::Text(timezone)]);
    }
    if let Some(description) = &study.description {
        put("00081030", "LO", &[Cell::Text(description)]);
    }
    put("00081190", "UR", &[Cell::Text(&link)]);
    put(
        "00100010",
        "PN",
        patient.name.as_deref().map(Cell::Name).as_slice(),
    );
    put(
        "00100020",
        "LO",
        id.map(|id| Cell::Text(&id.value)).as_slice(),
    );
    if let Some(issuer) = issuer {
        put("00100021", "LO", &[Cell::Text(issuer)]);
    }
    put("00100030", "DA", text(&patient.birth_date).as_slice());
    put("00100040", "CS", text(&patient.sex).as_slice());
    put("0020000D", "UI", &[Cell::Text(study.uid.as_str())]);
    put("00200010", "SH", &[]);
    put("00201206", "IS", &[Cell::Number(study.series)]);
    put("00201208", "IS", &[Cell::Number(study.instances)]);
}

fn text(text: &Option<Box<str>>) -> Option<Cell<'_>> {
    text.as_deref().map(Cell::Text)
}

/// A value of an attribute of a study.
enum Cell<'a> {
    Text(&'a str),
    Name(&'a str),
    Number(usize),
}

impl Cell<'_> {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(*text),
            Self::Name(name) => person_name(name),
            Self::Number(number) => Value::from(*number),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let written = match self {
            Self::Text(text) => serde_json::to_writer(out, text),
            Self::Name(name) => serde_json::to_writer(out, &person_name(name)),
            Self::Number(number) => serde_json::to_writer(out, number),
        };
        written.expect("memory takes every text and number");
    }
}

/// The attributes of a series, without those of its study.
#[must_use]
pub fn series_row(study: &Study, series: &Series, root: &str) -> Row {
    let mut row = Row::new();
    let site = series.body_site.as_ref();
    // The attribute takes defined terms in upper case (CS); the closest text is the code's meaning.
    let site = site
        .and_then(|code| code.meaning.as_deref())
        .map(str::to_uppercase);
    let laterality = series
        .laterality
        .as_ref()
        .and_then(|code| match &*code.value {
            "G-A100" | "24028007" | "R" => Some("R"),
            "G-A101" | "7771000" | "L" => Some("L"),
            _ => None,
        });
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
    put_present(&mut row, "00180015", "CS", site);
    put(&mut row, "0020000D", "UI", [study.as_str()]);
    put(&mut row, "0020000E", "UI", [uid.as_str()]);
    put(&mut row, "00200011", "IS", series.number);
    put_present(&mut row, "00200060", "CS", laterality);
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
    row
}

/// Whether rows of a level have an attribute, if the manifest tells it. A row without it has no
/// value for it.
#[must_use]
pub fn is_told(level: Level, tag: &str) -> bool {
    const OF_STUDIES: &[&str] = &["00080201", "00081030", "00100021"];
    const OF_SERIES: &[&str] = &[
        "00080021", "00080031", "0008103E", "00180015", "00200060", "00400244", "00400245",
    ];
    const OF_INSTANCES: &[&str] = &["00280008"];
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
    use crate::manifest::{Patient, PatientId};

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
            accession: Some("A1".into()),
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
            accession: None,
            ..outline()
        };
        for outline in [outline(), bare] {
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
