//! Reads a Key Object Selection document: a MADO manifest of any generation, the draft of Xt-EHR,
//! a French DRIM-M document, or a classic XDS-I.b manifest.
//!
//! The evidence sequence (0040,A375) is the selection. The image library in the content tree only
//! describes it: a defect there never refuses the document, but becomes a
//! [`Warning`](super::Warning).
//!
//! Memory: in addition to the document, which is copied only if it is deflated, a real manifest
//! takes less than half the document's size; a hostile one can take eight times its size and 32
//! MiB. The reader ignores texts longer than [`MAX_TEXT`] bytes and truncates descriptive lists
//! after [`MAX_LIST`] entries. Time is linear in the size of the document.

mod code;
mod content;
mod drim_m;
mod evidence;
mod header;
mod indexed_study;
mod library;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::model::{Format, Generation, Manifest, Study};
use super::warning::{Defect, Subject, Warnings};
use crate::dicom::dataset::Element;
use crate::dicom::part10::{self, File};
use crate::dicom::{CharacterSet, dataset};
use code::RawCode;
use evidence::Evidence;
use header::Header;
use reader::Reader;
pub use reader::{MAX_LIST, MAX_TEXT};

/// Key Object Selection Document Storage (PS3.4 B.5).
pub const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.88.59";

/// The limit for instances of a manifest.
pub const MAX_INSTANCES: usize = 200_000;

/// The limit for series of a manifest.
pub const MAX_SERIES: usize = 10_000;

/// The reason why a document is not a usable manifest. No text contains a value from the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document is not a readable DICOM file.
    #[error(transparent)]
    Part10(#[from] part10::Error),
    /// Another SOP class.
    #[error("the document is not a key object selection document")]
    NotAKos,
    /// A rejection note (IHE RAD IOCM), which lists instances that must no longer be used.
    #[error("the document is a rejection note, not a manifest")]
    RejectionNote,
    /// The evidence sequence is missing or does not list any instance.
    #[error("the document lists no instances")]
    NoEvidence,
    /// A UID in the evidence is missing or invalid.
    #[error("a {0} in the evidence is missing or invalid")]
    InvalidUid(&'static str),
    /// The document exceeds a limit.
    #[error("too many {what}: at most {at_most}")]
    TooLarge {
        /// The limited quantity.
        what: &'static str,
        /// The limit.
        at_most: usize,
    },
}

impl From<dataset::Error> for Error {
    fn from(error: dataset::Error) -> Self {
        Self::Part10(error.into())
    }
}

/// Reads a manifest.
///
/// # Errors
/// [`Error`] if the document has no reliable selection.
pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
    let file = File::open(bytes).map_err(file_error)?;
    let set = file.data_set();
    let mut reader = Reader::new(CharacterSet::of(&set));
    let header = Header::read(&set, &mut reader)?;
    if !header.is_kos() {
        return Err(Error::NotAKos);
    }
    let title = Title::read(header.title(), &mut reader)?;
    let mut evidence = Evidence::read(header.evidence().ok_or(Error::NoEvidence)?, &mut reader)?;
    let described = header.described_study(&evidence, &mut reader);
    title.warn(&mut reader.warnings);
    if let Some(at) = described {
        let subject = evidence.indexed_study_mut(at).subject(None);
        reader.warnings.turn_to(subject);
        let has_library = header.content().is_some_and(|content| {
            library::describe(content, evidence.indexed_study_mut(at), &mut reader)
        });
        if !has_library && title.promises_library() {
            reader.warnings.left_out(Defect::NoLibrary);
        }
        header.describe(evidence.study_mut(at), &mut reader);
        header.locate(evidence.study_mut(at), &mut reader);
        let text = header.text();
        if let Some(text) = text.and_then(|text| reader.lines(text, "text of the document")) {
            drim_m::describe(&text, evidence.indexed_study_mut(at));
        }
    }
    header.describe_requests(&mut evidence, described, &mut reader);
    let timezone = header.timezone(&mut reader);
    // One document has one patient (PS3.3 C.7.1.1), even with several studies.
    let patient = Arc::new(header.patient(&mut reader));
    let mut studies = evidence.finish(&mut reader);
    for study in &mut studies {
        study.patient = Arc::clone(&patient);
        study.timezone.clone_from(&timezone);
        check_counts(study, &mut reader.warnings);
    }
    reader.warnings.turn_to(Subject::Manifest);
    Ok(Manifest {
        format: Format::Kos(title.generation()),
        document_id: header.document_id(&mut reader),
        studies,
        warnings: reader.warnings.into_list(),
    })
}

fn file_error(error: part10::Error) -> Error {
    match error {
        part10::Error::TooLarge => Error::TooLarge {
            what: "bytes",
            at_most: part10::MAX_FILE,
        },
        part10::Error::NotPart10
        | part10::Error::NoTransferSyntax
        | part10::Error::Deflate
        | part10::Error::Unidentified
        | part10::Error::DataSet(_) => Error::Part10(error),
    }
}

/// The kind of document that the title (CID 7010) announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Title {
    Mado(Generation),
    Classic,
    /// Not the title of a manifest. Such a document is accepted all the same: the sender submits it
    /// as a manifest, and it has evidence.
    Other,
}

impl Title {
    fn read(sequence: Option<Element<'_>>, reader: &mut Reader) -> Result<Self, Error> {
        let code = RawCode::of(sequence, "document title", reader);
        let title = Self::of(&code)?;
        if sequence.is_some() {
            code.check_concept(true, reader);
        }
        Ok(title)
    }

    fn of(code: &RawCode<'_>) -> Result<Self, Error> {
        let in_scheme = |scheme| code.scheme.is_none_or(|s| s.eq_ignore_ascii_case(scheme));
        let Some(value) = code.value else {
            return Ok(Self::Other);
        };
        Ok(match value.to_ascii_uppercase().as_str() {
            "MADOTEMP001" if in_scheme("99IHE") => Self::Mado(Generation::MadoTemporary),
            _ if !in_scheme("DCM") => Self::Other,
            "131560" => Self::Mado(Generation::MadoFinal),
            "DDD001" => Self::Mado(Generation::MadoDraft),
            "113030" | "113031" | "113032" | "113033" | "113034" | "113035" | "113036" => {
                Self::Classic
            }
            "113001" | "113037" | "113038" | "113039" => return Err(Error::RejectionNote),
            _ => Self::Other,
        })
    }

    fn generation(self) -> Generation {
        match self {
            Self::Mado(generation) => generation,
            Self::Classic | Self::Other => Generation::Classic,
        }
    }

    fn promises_library(self) -> bool {
        match self {
            Self::Mado(_) => true,
            Self::Classic | Self::Other => false,
        }
    }

    fn warn(self, warnings: &mut Warnings) {
        warnings.turn_to(Subject::Manifest);
        match self {
            Self::Mado(Generation::MadoTemporary | Generation::MadoDraft) => {
                warnings.read_all_the_same(Defect::OldCodes);
            }
            Self::Mado(Generation::MadoFinal | Generation::Classic) | Self::Classic => {}
            Self::Other => warnings.read_all_the_same(Defect::UnexpectedTitle),
        }
    }
}

fn check_counts(study: &Study, warnings: &mut Warnings) {
    warnings.turn_to(Subject::Study(study.uid.clone()));
    warnings.count("series", study.declared_series, study.series.len());
    for series in &study.series {
        warnings.turn_to(Subject::Series(series.uid.clone()));
        let listed = series.instances.len();
        warnings.count_instances(series.declared_instances, listed, series.unlisted());
    }
}
