//! Coded concepts (PS3.3 8.8), and the concepts of the image library in all generations of codes.

use dicom_dictionary_std::tags;

use super::reader::Reader;
use crate::dicom::dataset::Element;
use crate::manifest::model::Code;
use crate::manifest::warning::Defect;

/// A code that borrows from the document.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RawCode<'a> {
    pub(super) value: Option<&'a str>,
    pub(super) scheme: Option<&'a str>,
    meaning: Option<Element<'a>>,
}

/// The concepts of content items in the image library (TID 1600, 1601, 1602, 1609).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concept {
    ImageLibrary,
    ImageLibraryGroup,
    ProcedureCode,
    Modality,
    TargetRegion,
    StudyDate,
    StudyTime,
    SeriesCount,
    SeriesInstanceUid,
    SeriesNumber,
    SeriesDate,
    SeriesTime,
    SeriesDescription,
    InstanceCount,
    Laterality,
    InstanceNumber,
    FrameCount,
    DocumentTitle,
    KeyObjectDescription,
}

impl<'a> RawCode<'a> {
    /// The code in a code sequence; empty if the sequence is missing or empty.
    pub(super) fn of(
        sequence: Option<Element<'a>>,
        part: &'static str,
        reader: &mut Reader,
    ) -> Self {
        let Some(item) = reader.first(sequence) else {
            return Self::default();
        };
        let [short, long, urn, scheme, meaning] = reader.describe(
            &item,
            [
                tags::CODE_VALUE,
                tags::LONG_CODE_VALUE,
                tags::URN_CODE_VALUE,
                tags::CODING_SCHEME_DESIGNATOR,
                tags::CODE_MEANING,
            ],
        );
        let value = short.or(long).or(urn);
        Self {
            value: reader.plain(value, part),
            scheme: reader.plain(scheme, "coding scheme"),
            meaning,
        }
    }

    /// Warns if the name of a content item, which must have a value and a scheme, lacks one.
    pub(super) fn check_concept(&self, is_understood: bool, reader: &mut Reader) {
        match (self.value, self.scheme) {
            (Some(_), Some(_)) => {}
            _ if is_understood => reader.warnings.read_all_the_same(Defect::ConceptCode),
            _ => reader.warnings.left_out(Defect::ConceptCode),
        }
    }

    /// The code as an owned value. A code with only a meaning has an empty value.
    pub(super) fn decode(&self, reader: &mut Reader) -> Option<Code> {
        let meaning = reader.text(self.meaning, "meaning of a code");
        if self.value.is_none() && meaning.is_none() {
            return None;
        }
        Some(Code {
            value: self.value.unwrap_or_default().into(),
            scheme: self.scheme.map(Into::into),
            meaning,
        })
    }
}

impl Concept {
    /// The concept of a code; `None` if the image library does not use it.
    pub(super) fn of(code: &RawCode<'_>) -> Option<Self> {
        let known_scheme = code.scheme.is_none_or(|scheme| {
            scheme.eq_ignore_ascii_case("DCM") || scheme.eq_ignore_ascii_case("99IHE")
        });
        match code.value {
            Some(value) if known_scheme => Self::of_value(value).or_else(|| {
                is_draft(value)
                    .then(|| code.meaning.and_then(Self::of_meaning))
                    .flatten()
            }),
            Some(_) => None,
            None => code.meaning.and_then(Self::of_meaning),
        }
    }

    /// Its name in warnings.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ImageLibrary => "image library",
            Self::ImageLibraryGroup => "image library group",
            Self::ProcedureCode => "procedure code",
            Self::Modality => "modality",
            Self::TargetRegion => "target region",
            Self::StudyDate => "study date",
            Self::StudyTime => "study time",
            Self::SeriesCount => "number of series",
            Self::SeriesInstanceUid => "series instance UID",
            Self::SeriesNumber => "series number",
            Self::SeriesDate => "series date",
            Self::SeriesTime => "series time",
            Self::SeriesDescription => "series description",
            Self::InstanceCount => "number of instances",
            Self::Laterality => "laterality",
            Self::InstanceNumber => "instance number",
            Self::FrameCount => "number of frames",
            Self::DocumentTitle => "document title of a key object selection",
            Self::KeyObjectDescription => "key object description",
        }
    }

    fn of_value(value: &str) -> Option<Self> {
        Some(match value.to_ascii_uppercase().as_str() {
            "111028" => Self::ImageLibrary,
            "126200" => Self::ImageLibraryGroup,
            "121023" => Self::ProcedureCode,
            "121139" => Self::Modality,
            "123014" => Self::TargetRegion,
            "111060" => Self::StudyDate,
            "111061" => Self::StudyTime,
            "131565" | "MADOTEMP009" | "DDD009" => Self::SeriesCount,
            "112002" => Self::SeriesInstanceUid,
            "113607" => Self::SeriesNumber,
            "131561" | "MADOTEMP003" | "DDD003" => Self::SeriesDate,
            "131562" | "MADOTEMP004" | "DDD004" => Self::SeriesTime,
            "131563" | "MADOTEMP002" | "DDD002" => Self::SeriesDescription,
            "131564" | "MADOTEMP007" | "DDD007" => Self::InstanceCount,
            "111027" => Self::Laterality,
            "113609" => Self::InstanceNumber,
            "121140" => Self::FrameCount,
            "121144" => Self::DocumentTitle,
            "113012" => Self::KeyObjectDescription,
            _ => return None,
        })
    }

    // Drafts before the trial implementation had other code values.
    fn of_meaning(meaning: Element<'_>) -> Option<Self> {
        let meaning = meaning.ascii()?;
        (meaning.len() <= 64)
            .then(|| meaning.to_ascii_lowercase())
            .and_then(|meaning| {
                Some(match meaning.as_str() {
                    "image library" => Self::ImageLibrary,
                    "image library group" => Self::ImageLibraryGroup,
                    "procedure code" => Self::ProcedureCode,
                    "modality" => Self::Modality,
                    "target region" => Self::TargetRegion,
                    "study date" => Self::StudyDate,
                    "study time" => Self::StudyTime,
                    "number of study related series" => Self::SeriesCount,
                    "series instance uid" => Self::SeriesInstanceUid,
                    "series number" => Self::SeriesNumber,
                    "series date" => Self::SeriesDate,
                    "series time" => Self::SeriesTime,
                    "series description" => Self::SeriesDescription,
                    "number of series related instances" => Self::InstanceCount,
                    "image laterality" | "laterality" => Self::Laterality,
                    "instance number" => Self::InstanceNumber,
                    "number of frames" => Self::FrameCount,
                    "document title" => Self::DocumentTitle,
                    "key object description" => Self::KeyObjectDescription,
                    _ => return None,
                })
            })
    }
}

fn is_draft(value: &str) -> bool {
    value
        .get(..3)
        .is_some_and(|head| head.eq_ignore_ascii_case("ddd"))
}
