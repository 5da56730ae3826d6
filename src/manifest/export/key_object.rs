//! Exports Key Object Selection documents.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::{Export, identity};
use crate::dicom::dataset::{self, DataSet};
use crate::dicom::explicit;
use crate::dicom::part10::{self, File, Meta};
use crate::manifest::kos::SOP_CLASS;

/// Elements that take the place of those with their tags, or are new.
type Replacements = BTreeMap<Tag, Vec<u8>>;

/// Writes the document with the export's Retrieve URLs, a SOP Instance UID of its own and the
/// original as its predecessor.
pub(super) fn write(document: &[u8], export: &Export<'_>) -> Result<Vec<u8>, part10::Error> {
    let file = File::open(document)?;
    let meta = Meta::read(document)?;
    let set = file.data_set();
    let original = Original::of(&set);
    let uid = identity::uid(&original.name(document), export.context);
    let mut replacements = Replacements::from([
        (tags::SOP_INSTANCE_UID, ui(tags::SOP_INSTANCE_UID, &uid)),
        (EVIDENCE, evidence(&set, export)?),
    ]);
    if let Some(item) = original.reference() {
        let predecessors = predecessors(&set, &item)?;
        replacements.insert(tags::PREDECESSOR_DOCUMENTS_SEQUENCE, predecessors);
    }
    let mut out = explicit::file_meta(&meta.elements(document), Some(&uid))?;
    merge(&set, replacements, &mut out)?;
    Ok(out)
}

/// The identifiers of the original document.
struct Original<'a> {
    study: Option<&'a str>,
    series: Option<&'a str>,
    instance: Option<&'a str>,
}

impl<'a> Original<'a> {
    fn of(set: &DataSet<'a>) -> Self {
        let uid = |tag| set.element(tag).and_then(|element| element.ascii());
        Self {
            study: uid(tags::STUDY_INSTANCE_UID),
            series: uid(tags::SERIES_INSTANCE_UID),
            instance: uid(tags::SOP_INSTANCE_UID),
        }
    }

    /// Its name for the derivation of the new one: its UID, else its bytes.
    fn name(&self, document: &[u8]) -> String {
        let hash = || blake3::hash(document).to_hex().to_string();
        self.instance.map_or_else(hash, ToOwned::to_owned)
    }

    /// It in the form of PS3.3 table C.17-3; `None` if it lacks a UID.
    fn reference(&self) -> Option<Vec<u8>> {
        let (study, series, instance) = (self.study?, self.series?, self.instance?);
        let mut object = ui(tags::REFERENCED_SOP_CLASS_UID, SOP_CLASS);
        object.extend(ui(tags::REFERENCED_SOP_INSTANCE_UID, instance));
        let mut of_series = sequence(tags::REFERENCED_SOP_SEQUENCE, &object);
        of_series.extend(ui(tags::SERIES_INSTANCE_UID, series));
        let mut of_study = sequence(tags::REFERENCED_SERIES_SEQUENCE, &of_series);
        of_study.extend(ui(tags::STUDY_INSTANCE_UID, study));
        Some(of_study)
    }
}

/// The predecessors of the original, and the original.
fn predecessors(set: &DataSet<'_>, original: &[u8]) -> Result<Vec<u8>, dataset::Error> {
    let mut out = Vec::new();
    explicit::begin_sequence(tags::PREDECESSOR_DOCUMENTS_SEQUENCE, &mut out);
    for item in set.items(tags::PREDECESSOR_DOCUMENTS_SEQUENCE) {
        let item = item?;
        explicit::begin_item(&mut out);
        explicit::write(&item, &mut false, &mut out)?;
        explicit::end_item(&mut out);
    }
    explicit::begin_item(&mut out);
    out.extend_from_slice(original);
    explicit::end_item(&mut out);
    explicit::end_sequence(&mut out);
    Ok(out)
}

/// The evidence, with the export's Retrieve URL in each of its series.
fn evidence(set: &DataSet<'_>, export: &Export<'_>) -> Result<Vec<u8>, dataset::Error> {
    let mut out = Vec::new();
    let Some(evidence) = set.element(EVIDENCE) else {
        return Ok(out);
    };
    explicit::sequence(&evidence, &mut out, |study, out| {
        let mut replacements = Replacements::new();
        if let Some(series) = study.element(tags::REFERENCED_SERIES_SEQUENCE) {
            let mut written = Vec::new();
            explicit::sequence(&series, &mut written, |item, out| {
                merge(item, of_series(item, export), out)
            })?;
            replacements.insert(tags::REFERENCED_SERIES_SEQUENCE, written);
        }
        merge(study, replacements, out)
    })?;
    Ok(out)
}

fn of_series(item: &DataSet<'_>, export: &Export<'_>) -> Replacements {
    let uid = item.element(tags::SERIES_INSTANCE_UID);
    let uid = uid.as_ref().and_then(|element| element.ascii());
    let mut replacements = Replacements::new();
    if uid.is_some_and(|uid| export.series.contains(uid)) {
        let url = format!("{}/", export.root);
        let url = value(tags::RETRIEVE_URL, VR::UR, &url, b' ');
        replacements.insert(tags::RETRIEVE_URL, url);
    }
    replacements
}

/// Writes a data set with these elements, which replace those with their tags.
fn merge(
    set: &DataSet<'_>,
    mut replacements: Replacements,
    out: &mut Vec<u8>,
) -> Result<(), dataset::Error> {
    let replaced: Vec<Tag> = replacements.keys().copied().collect();
    for element in set.elements() {
        let element = element?;
        while let Some(next) = replacements.first_entry()
            && *next.key() <= element.tag
        {
            out.extend(next.remove());
        }
        // Group lengths would be wrong, and are retired (PS3.5 7.2).
        if element.tag.element() != 0 && !replaced.contains(&element.tag) {
            explicit::write_element(&element, false, out)?;
        }
    }
    replacements.into_values().for_each(|rest| out.extend(rest));
    Ok(())
}

/// A sequence of one item.
fn sequence(tag: Tag, item: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    explicit::begin_sequence(tag, &mut out);
    explicit::begin_item(&mut out);
    out.extend_from_slice(item);
    explicit::end_item(&mut out);
    explicit::end_sequence(&mut out);
    out
}

fn ui(tag: Tag, uid: &str) -> Vec<u8> {
    value(tag, VR::UI, uid, 0)
}

fn value(tag: Tag, vr: VR, text: &str, padding: u8) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), padding);
    let mut out = Vec::new();
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    explicit::head(tag, vr, length, &mut out);
    out.extend_from_slice(&value);
    out
}

const EVIDENCE: Tag = tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE;
