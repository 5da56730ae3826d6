//! Search results from manifests: studies, series and instances as attributes (PS3.18 tables
//! 10.6.3-3 to 10.6.3-5). Counts cover the listed instances, or the declared ones of a series that
//! lists none.

use serde_json::{Value, json};

use super::model::{Instance, Series, Study};
use super::outline::Outline;
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
    let mut row = Row::new();
    let patient = &study.patient;
    let id = patient.ids.first();
    put(&mut row, "00080005", "CS", [UTF_8]);
    put(&mut row, "00080020", "DA", study.date.as_deref());
    put(&mut row, "00080030", "TM", study.time.as_deref());
    put(&mut row, "00080050", "SH", study.accession.as_deref());
    put(
        &mut row,
        "00080061",
        "CS",
        study.modalities.iter().map(|value| &**value),
    );
    put(&mut row, "00080090", "PN", None::<&str>);
    put_present(&mut row, "00080201", "SH", study.timezone.as_deref());
    put_present(&mut row, "00081030", "LO", study.description.as_deref());
    put(
        &mut row,
        "00081190",
        "UR",
        [format!("{root}/studies/{}", study.uid)],
    );
    let name = patient.name.as_deref().map(person_name);
    put(&mut row, "00100010", "PN", name);
    put(&mut row, "00100020", "LO", id.map(|id| &*id.value));
    let issuer = id.and_then(|id| id.issuer.as_deref());
    put_present(&mut row, "00100021", "LO", issuer);
    put(&mut row, "00100030", "DA", patient.birth_date.as_deref());
    put(&mut row, "00100040", "CS", patient.sex.as_deref());
    put(&mut row, "0020000D", "UI", [study.uid.as_str()]);
    put(&mut row, "00200010", "SH", None::<&str>);
    put(&mut row, "00201206", "IS", [study.series]);
    put(&mut row, "00201208", "IS", [study.instances]);
    row
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
