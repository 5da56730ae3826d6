//! Manifests in FHIR: a Bundle with an ImagingStudy and its Endpoints (MADO 1.2 6.X.3; HL7 Europe,
//! R4 and R5), or an ImagingStudy that contains them (the EU Health Data API).
//!
//! The parser is lenient with descriptions and strict with the index. It ignores a malformed
//! descriptive member with a [`Warning`](crate::manifest::Warning); a study, series or instance without its UID, or an
//! instance without its SOP class, is an error, because an incomplete index would select less than
//! its author intended.
//!
//! # Cost
//! One pass over the text, without buffered JSON values. Memory is at most ten times the size of
//! the document, and only a hostile one reaches that: an instance, some 150 bytes of JSON and never
//! less than 30, costs [`Instance`](crate::manifest::Instance) (56 bytes) and the text of its UID;
//! SOP class UIDs are shared. Series may inherit locations from their study in addition: at most 8
//! addresses of 2048 bytes for each of 10 000 series. Limits: 64 MiB, 32 levels of nesting, 10 000
//! series, 200 000 instances, 100 studies, 50 000 other resources; a larger document is refused. A
//! descriptive list is read up to 1 000 items.

mod concept;
mod date_time;
mod endpoint;
mod location;
mod member;
mod merge;
mod patient;
mod reference;
mod resource;
mod series;
mod study;

use std::fmt::Write as _;

use serde_path_to_error::{Path, Segment};

use self::member::Member;
use self::reference::Directory;
use self::resource::{Bundle, Entries, Resource};
use self::series::Fault;
use crate::manifest::warning::{Subject, Warnings};
use crate::manifest::{Format, MAX_MANIFEST, Manifest, Study};

const MOST_LEVELS: usize = 32;
const MOST_SERIES: usize = 10_000;
const MOST_INSTANCES: usize = 200_000;
const MOST_STUDIES: usize = 100;
const MOST_RESOURCES: usize = 50_000;

/// The reason why a document is not a usable manifest. No text contains a value from the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document is XML.
    #[error("FHIR in XML is not supported: send the manifest as application/fhir+json")]
    UnsupportedXml,
    /// The document is not JSON, or an object in it has a member twice.
    #[error("not valid JSON at line {line}, column {column} ({path})")]
    NotJson {
        /// The path of members to the error; unknown names are replaced.
        path: String,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// The document is JSON, but neither a Bundle nor an ImagingStudy.
    #[error("neither a FHIR Bundle nor an ImagingStudy")]
    NotABundle,
    /// The Bundle has no ImagingStudy.
    #[error("the Bundle has no ImagingStudy")]
    NoImagingStudy,
    /// A study, series or instance has no valid UID or SOP class.
    #[error("{what} at {path} is missing or is not a DICOM UID")]
    InvalidUid {
        /// The kind of UID.
        what: &'static str,
        /// Its path.
        path: String,
    },
    /// The member for entries, series or instances is not a list.
    #[error("{path} is not a list")]
    NotAList {
        /// Its path.
        path: String,
    },
    /// A limit is exceeded.
    #[error("the manifest exceeds the limit for {what}")]
    TooLarge {
        /// The limited quantity.
        what: &'static str,
    },
    /// The manifest does not list any instance.
    #[error("the manifest lists no instances")]
    Empty,
}

/// Reads a manifest from FHIR JSON, with or without a byte order mark.
///
/// # Errors
/// [`Error`] if the retrieval index is missing or unreliable. Every other defect becomes a
/// [`Warning`](crate::manifest::Warning) of the manifest.
pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
    let text = text(bytes)?;
    let bundle = parse(text)?;
    let document_id = document_id(&bundle);
    let is_lone_study = bundle.is_lone_study;
    let mut entries = entries(bundle)?;
    let mut warnings = Warnings::default();
    if entries.is_malformed {
        warnings.malformed("entry");
    }
    let format = format(&entries);
    let studies = std::mem::take(&mut entries.studies);
    let directory = Directory::new(&entries);
    let mut study_entries = Vec::with_capacity(studies.len());
    for study in studies {
        let path = match is_lone_study {
            true => "ImagingStudy".to_owned(),
            false => format!("entry[{}].resource", study.position),
        };
        let entry =
            study::read(study, &directory, &mut warnings).map_err(|fault| fault.within(&path))?;
        study_entries.push(entry);
    }
    let mut studies = merge::merge(study_entries, &mut warnings);
    if let [study] = &mut *studies {
        warnings.turn_to(Subject::Study(study.uid.clone()));
        study::add_orders(study, &entries.orders, &mut warnings);
    }
    check_not_empty(&studies)?;
    Ok(Manifest {
        format,
        document_id,
        studies,
        warnings: warnings.into_list(),
    })
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Uid { what, path } => Self::InvalidUid { what, path },
            Fault::List { path } => Self::NotAList { path },
            Fault::TooLarge { what } => Self::TooLarge { what },
        }
    }
}

fn text(bytes: &[u8]) -> Result<&[u8], Error> {
    if bytes.len() > MAX_MANIFEST {
        return Err(Error::TooLarge { what: "bytes" });
    }
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if text.trim_ascii_start().starts_with(b"<") {
        return Err(Error::UnsupportedXml);
    }
    if is_too_deep(text) {
        Err(Error::TooLarge {
            what: "levels of nesting",
        })
    } else {
        Ok(text)
    }
}

// The parser's own limit is 128, but the types here are recursive and debug builds need more stack.
fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST_LEVELS {
            return true;
        }
    }
    false
}

fn parse(text: &[u8]) -> Result<Bundle, Error> {
    let bundle: Member<Bundle> =
        serde_json::from_slice(text).map_err(|error| not_json(text, &error))?;
    let bundle = bundle.present().ok_or(Error::NotABundle)?;
    match bundle.resource_type.as_ref().map(|name| &**name) {
        Some("Bundle") => Ok(bundle),
        Some("ImagingStudy") => lone_study(text),
        Some(_) | None => Err(Error::NotABundle),
    }
}

// The type of a resource may come last, so the text is read again when it turns out to be a study.
fn lone_study(text: &[u8]) -> Result<Bundle, Error> {
    let study: Member<Resource> =
        serde_json::from_slice(text).map_err(|error| not_json(text, &error))?;
    let study = study.present().ok_or(Error::NoImagingStudy)?;
    Ok(Bundle::of_study(study))
}

// The path is expensive, so only this second pass over a broken document tracks it.
fn not_json(text: &[u8], error: &serde_json::Error) -> Error {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let again: Result<Member<Bundle>, _> = serde_path_to_error::deserialize(&mut deserializer);
    let path = again.err().map_or_else(
        || "after the document".to_owned(),
        |error| known_path(error.path()),
    );
    Error::NotJson {
        path,
        line: error.line(),
        column: error.column(),
    }
}

// In a hostile or broken document, member names may be patient data: show only those of FHIR.
fn known_path(path: &Path) -> String {
    let mut text = "Bundle".to_owned();
    for segment in path {
        // Writing to a string cannot fail.
        let _ = match segment {
            Segment::Seq { index } => write!(text, "[{index}]"),
            Segment::Map { key } if KNOWN_MEMBERS.contains(&key.as_str()) => write!(text, ".{key}"),
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => write!(text, ".?"),
        };
    }
    text
}

fn document_id(bundle: &Bundle) -> Option<Box<str>> {
    let identifier = bundle.identifier.items.first()?;
    Some(member::without_urn(&identifier.value).into())
}

fn entries(bundle: Bundle) -> Result<Entries, Error> {
    let mut entries = match bundle.entry {
        Member::Absent => return Err(Error::NoImagingStudy),
        Member::Malformed => {
            return Err(Error::NotAList {
                path: "entry".to_owned(),
            });
        }
        Member::Present(entries) => entries,
    };
    match entries.fault.take() {
        Some(fault) => Err(fault.into()),
        None if entries.studies.is_empty() => Err(Error::NoImagingStudy),
        None => Ok(entries),
    }
}

// The Endpoints decide, because their forms in R4 and R5 exclude each other.
fn format(entries: &Entries) -> Format {
    let contained = entries
        .studies
        .iter()
        .flat_map(|study| &study.resource.contained.endpoints);
    let mut forms = entries
        .endpoints
        .iter()
        .chain(contained)
        .filter_map(|endpoint| endpoint.resource.is_r5);
    let studies_are_r5 = || entries.studies.iter().any(|study| study.resource.is_r5());
    let is_r5 = match forms.next() {
        Some(first) => first || forms.any(|is_r5| is_r5),
        None => studies_are_r5(),
    };
    if is_r5 {
        Format::FhirR5
    } else {
        Format::FhirR4
    }
}

fn check_not_empty(studies: &[Study]) -> Result<(), Error> {
    let mut series = studies.iter().flat_map(|study| &study.series);
    if series.any(|series| !series.instances.is_empty()) {
        Ok(())
    } else {
        Err(Error::Empty)
    }
}

const KNOWN_MEMBERS: [&str; 30] = [
    "address",
    "basedOn",
    "bodySite",
    "code",
    "coding",
    "connectionType",
    "contained",
    "description",
    "endpoint",
    "entry",
    "extension",
    "fullUrl",
    "identifier",
    "instance",
    "laterality",
    "modality",
    "name",
    "number",
    "numberOfInstances",
    "numberOfSeries",
    "procedureCode",
    "reference",
    "resource",
    "resourceType",
    "series",
    "sopClass",
    "started",
    "subject",
    "title",
    "uid",
];

#[cfg(test)]
mod tests;
