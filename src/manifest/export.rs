//! A manifest as it was registered, with the Retrieve URLs of what it selects pointing here:
//! MADO vol 3 6.X.2.14 for Key Object Selection documents, the addresses of Endpoints for Bundles.
//! Everything else stays as it is; a Bundle even to the byte.

use std::collections::HashSet;

use dicom_core::{Tag, VR};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Error;
use crate::dicom::dataset::{self, DataSet};
use crate::dicom::explicit;
use crate::dicom::part10::{self, File, Meta};

const EVIDENCE: Tag = Tag(0x0040, 0xA375);
const REFERENCED_SERIES: Tag = Tag(0x0008, 0x1115);
const RETRIEVE_URL: Tag = Tag(0x0008, 0x1190);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);

/// Writes a registered document anew. `series`: the series that are to be retrieved from `root`, a
/// DICOMweb root without a slash at its end.
///
/// # Errors
/// Why it cannot be read any more.
pub fn export(document: &[u8], series: &HashSet<&str>, root: &str) -> Result<Vec<u8>, Error> {
    if document.get(128..132) == Some(b"DICM") {
        key_object(document, series, root).map_err(|error| Error::Kos(error.into()))
    } else {
        bundle(document, root).ok_or(Error::Unrecognised)
    }
}

fn key_object(
    document: &[u8],
    series: &HashSet<&str>,
    root: &str,
) -> Result<Vec<u8>, part10::Error> {
    let file = File::open(document)?;
    let meta = Meta::read(document)?;
    let mut out = explicit::file_meta(&document[..meta.end])?;
    let address = format!("{root}/");
    let writer = Writer {
        series,
        address: &address,
    };
    writer.set(&file.data_set(), &mut out)?;
    Ok(out)
}

/// Writes the evidence of a document.
struct Writer<'a> {
    series: &'a HashSet<&'a str>,
    address: &'a str,
}

impl Writer<'_> {
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
        let mut is_due = uid.is_some_and(|uid| self.series.contains(uid));
        let is_ours = is_due;
        for element in item.elements() {
            let element = element?;
            if is_due && element.tag >= RETRIEVE_URL {
                self.retrieve_url(out);
                is_due = false;
            }
            if !(is_ours && element.tag == RETRIEVE_URL) {
                explicit::write_element(&element, false, out)?;
            }
        }
        if is_due {
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
    #[serde(borrow)]
    entry: Vec<Entry<'a>>,
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

/// Every address from which images are retrieved becomes ours; nothing else is touched.
fn bundle(document: &[u8], root: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(document).ok()?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let bundle: Bundle<'_> = serde_json::from_str(text).ok()?;
    let address = serde_json::to_string(root).ok()?;
    // Where something is replaced, what with, and how long what was there is.
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    for resource in bundle.entry.iter().filter_map(|entry| entry.resource) {
        let read: Resource<'_> = serde_json::from_str(resource.get()).ok()?;
        for raw in std::iter::once(resource).chain(read.contained.iter().copied()) {
            edits.extend(edit(text, raw, &address));
        }
    }
    edits.sort();
    let mut out = String::with_capacity(text.len() + edits.len() * address.len());
    let mut from = 0;
    for (at, length, replaced) in edits {
        out.push_str(text.get(from..at)?);
        out.push_str(&replaced);
        from = at + length;
    }
    out.push_str(text.get(from..)?);
    Some(out.into_bytes())
}

/// What becomes of an Endpoint that images are retrieved from.
fn edit(text: &str, raw: &RawValue, address: &str) -> Option<(usize, usize, String)> {
    let read: Resource<'_> = serde_json::from_str(raw.get()).ok()?;
    let retrieves = read
        .connection_type
        .is_some_and(|kind| kind.get().to_ascii_lowercase().contains("wado"));
    if read.kind.as_deref() != Some("Endpoint") || !retrieves {
        return None;
    }
    let offset = |part: &str| part.as_ptr().addr().checked_sub(text.as_ptr().addr());
    match read.address {
        Some(old) => Some((offset(old.get())?, old.get().len(), address.to_owned())),
        // It said that it has none: behind the brace.
        None => Some((offset(raw.get())? + 1, 0, format!("\"address\":{address},"))),
    }
}
