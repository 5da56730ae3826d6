//! The names of attributes in a query: a keyword, a tag, or a path of them through sequences.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

/// An attribute, by the tags of its sequences and its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributePath {
    tags: Vec<String>,
    vr: VR,
}

/// The text does not name an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an attribute")]
pub struct NotAnAttribute;

impl AttributePath {
    /// Reads `PatientID`, `00100020` or `00400275.00400007` (PS3.18 8.3.4, {attribute}).
    ///
    /// # Errors
    /// [`NotAnAttribute`].
    pub fn parse(text: &str) -> Result<Self, NotAnAttribute> {
        let tags = text.split('.').map(tag).collect::<Result<Vec<_>, _>>()?;
        let last = *tags.last().ok_or(NotAnAttribute)?;
        let vr = StandardDataDictionary.by_tag(last).map(vr_of);
        Ok(Self {
            tags: tags.into_iter().map(crate::dicom::digits).collect(),
            vr: vr.unwrap_or(VR::UN),
        })
    }

    /// The tags, outermost first, eight hexadecimal digits each.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The value representation by the dictionary.
    #[must_use]
    pub fn vr(&self) -> VR {
        self.vr
    }
}

fn tag(text: &str) -> Result<Tag, NotAnAttribute> {
    if let Some(tag) = crate::dicom::tag(text) {
        return Ok(tag);
    }
    let entry = StandardDataDictionary.by_name(text).ok_or(NotAnAttribute)?;
    Ok(entry.tag())
}

fn vr_of(entry: &impl DataDictionaryEntry) -> VR {
    match entry.vr() {
        VirtualVr::Exact(vr) => vr,
        VirtualVr::Xs => VR::US,
        VirtualVr::Ox | VirtualVr::Px => VR::OW,
        VirtualVr::Lt => VR::OW,
        _ => VR::UN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_tags_and_paths_are_attributes() {
        for (text, tags, vr) in [
            ("PatientID", vec!["00100020"], VR::LO),
            ("0020000d", vec!["0020000D"], VR::UI),
            (
                "RequestAttributesSequence.00400007",
                vec!["00400275", "00400007"],
                VR::LO,
            ),
            ("00091001", vec!["00091001"], VR::UN),
        ] {
            let path = AttributePath::parse(text).expect(text);
            assert_eq!(path.tags(), tags, "{text}");
            assert_eq!(path.vr(), vr, "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            ".",
            "PatientID.",
            "patientid",
            "0020000",
            "0020000G",
            "limit",
        ] {
            assert_eq!(AttributePath::parse(text), Err(NotAnAttribute), "{text}");
        }
    }
}
