//! Exports a registered manifest with Retrieve URLs that point to this gateway (MADO vol 3
//! 6.X.2.14 for Key Object Selection documents; the addresses of Endpoints for Bundles). Nothing
//! else changes; the rest of a Bundle stays the same byte for byte.

use std::collections::HashSet;

use dicom_core::{Tag, VR};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Error;
use super::form::Document;
use crate::dicom::dataset::{self, DataSet};
use crate::dicom::explicit;
use crate::dicom::part10::{self, File, Meta};

const EVIDENCE: Tag = Tag(0x0040, 0xA375);
const REFERENCED_SERIES: Tag = Tag(0x0008, 0x1115);
const RETRIEVE_URL: Tag = Tag(0x0008, 0x1190);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);

/// Exports a registered document. Clients retrieve `series` from `root`, a DICOMweb root without a
/// trailing slash.
///
/// # Errors
/// [`Error`] if the document is no longer readable.
pub fn export(document: &[u8], series: &HashSet<&str>, root: &str) -> Result<Vec<u8>, Error> {
    match Document::open(document)? {
        Document::Kos(file) => {
            key_object(&file, series, root).map_err(|error| Error::Kos(error.into()))
        }
        Document::Fhir(text) => bundle(&text, root).ok_or(Error::Unrecognised),
    }
}

fn key_object(
    document: &[u8],
    series: &HashSet<&str>,
    root: &str,
) -> Result<Vec<u8>, part10::Error> {
    let file = File::open(document)?;
    let meta = Meta::read(document)?;
    let mut out = explicit::file_meta(&meta.elements(document))?;
    let address = format!("{root}/");
    let writer = EvidenceWriter {
        series,
        address: &address,
    };
    writer.set(&file.data_set(), &mut out)?;
    Ok(out)
}

/// Writes the evidence of a document.
struct EvidenceWriter<'a> {
    series: &'a HashSet<&'a str>,
    address: &'a str,
}

impl EvidenceWriter<'_> {
    fn set(&self, set: &DataSet<'_>, out: &mut Vec<u8>) -> Result<(), dataset::Error> {
        for element in set.elements() {
            let element = element?;
            match element.tag {
                EVIDENCE | REFERENCED_SERIES => {
                    explicit::sequence(&element, out, |item, out| {
                        if element.tag == EVIDENCE {
                            self.set(item, out)
                        } else {
                            self.series(item, out)
                        }
                    })?;
                }
                _ => explicit::write_element(&element, false, out)?,
            }
        }
        Ok(())
    }

    fn series(&self, item: &DataSet<'_>, out: &mut Vec<u8>) -> Result<(), dataset::Error> {
        let uid = item.element(SERIES_INSTANCE_UID);
        let uid = uid.as_ref().and_then(|element| element.ascii());
        let mut is_pending = uid.is_some_and(|uid| self.series.contains(uid));
        let is_selected = is_pending;
        for element in item.elements() {
            let element = element?;
            if is_pending && element.tag >= RETRIEVE_URL {
                self.retrieve_url(out);
                is_pending = false;
            }
            if !(is_selected && element.tag == RETRIEVE_URL) {
                explicit::write_element(&element, false, out)?;
            }
        }
        if is_pending {
            self.retrieve_url(out);
        }
        Ok(())
    }

    fn retrieve_url(&self, out: &mut Vec<u8>) {
        let mut value = self.address.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), b' ');
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        explicit::head(RETRIEVE_URL, VR::UR, length, out);
        out.extend_from_slice(&value);
    }
}

#[derive(Deserialize)]
struct Bundle<'a> {
    /// Absent in an ImagingStudy without a Bundle.
    #[serde(borrow)]
    entry: Option<Vec<Entry<'a>>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(rename = "resourceType")]
    kind: Option<String>,
    #[serde(borrow)]
    address: Option<&'a RawValue>,
    #[serde(borrow, rename = "connectionType")]
    connection_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    contained: Vec<&'a RawValue>,
}

/// Replaces the address of every Endpoint that serves images, and nothing else.
fn bundle(document: &[u8], root: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(document).ok()?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let bundle: Bundle<'_> = serde_json::from_str(text).ok()?;
    let address = serde_json::to_string(root).ok()?;
    let mut edits: Vec<Edit> = Vec::new();
    let resources: Vec<&RawValue> = match bundle.entry {
        Some(entries) => entries.iter().filter_map(|entry| entry.resource).collect(),
        None => vec![serde_json::from_str(text).ok()?],
    };
    for resource in resources {
        let read: Resource<'_> = serde_json::from_str(resource.get()).ok()?;
        for raw in std::iter::once(resource).chain(read.contained.iter().copied()) {
            edits.extend(edit(text, raw, &address));
        }
    }
    edits.sort();
    let mut out = String::with_capacity(text.len() + edits.len() * address.len());
    let mut from = 0;
    for edit in edits {
        out.push_str(text.get(from..edit.at)?);
        out.push_str(&edit.replacement);
        from = edit.at + edit.length;
    }
    out.push_str(text.get(from..)?);
    Some(out.into_bytes())
}

/// A replacement of `length` bytes at `at`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Edit {
    at: usize,
    length: usize,
    replacement: String,
}

/// Gives an Endpoint the address, if it serves images.
fn edit(text: &str, raw: &RawValue, address: &str) -> Option<Edit> {
    let read: Resource<'_> = serde_json::from_str(raw.get()).ok()?;
    let retrieves = read
        .connection_type
        .is_some_and(|kind| kind.get().to_ascii_lowercase().contains("wado"));
    if read.kind.as_deref() != Some("Endpoint") || !retrieves {
        return None;
    }
    let offset = |part: &str| part.as_ptr().addr().checked_sub(text.as_ptr().addr());
    match read.address {
        Some(old) => Some(Edit {
            at: offset(old.get())?,
            length: old.get().len(),
            replacement: address.to_owned(),
        }),
        // Without an address (data-absent-reason), insert one after the brace.
        None => Some(Edit {
            at: offset(raw.get())? + 1,
            length: 0,
            replacement: format!("\"address\":{address},"),
        }),
    }
}
