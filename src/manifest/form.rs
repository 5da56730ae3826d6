//! The forms in which a document comes: as it is, in the DICOM JSON model, or within a FHIR Binary.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Error;
use crate::dicom::{from_json, tag};

/// A document in the form in which it is read and handed out.
pub(super) enum Document<'a> {
    /// A Part 10 file.
    Kos(Cow<'a, [u8]>),
    /// FHIR in JSON or XML.
    Fhir(Cow<'a, [u8]>),
}

impl<'a> Document<'a> {
    /// Opens a document in any form; its first bytes tell which. One in the DICOM JSON model, or
    /// within a Binary, takes memory of its own.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        if is_part10(bytes) {
            return Ok(Self::Kos(bytes.into()));
        }
        let text = without_mark(bytes);
        match text.trim_ascii_start().first() {
            Some(b'{') => match JsonKind::of(text) {
                JsonKind::DataSet => Ok(Self::Kos(from_json::part10(text)?.into())),
                JsonKind::Binary => Self::open_owned(&content(text)?),
                JsonKind::Other => Ok(Self::Fhir(bytes.into())),
            },
            Some(b'[') => match from_json::part10(text) {
                Ok(file) => Ok(Self::Kos(file.into())),
                Err(from_json::Error::NotADataSet) => Err(Error::Unrecognised),
                Err(error) => Err(error.into()),
            },
            Some(b'<') => Ok(Self::Fhir(bytes.into())),
            Some(_) | None => Err(Error::Unrecognised),
        }
    }

    // A Binary within a Binary is none of the documents that manifests come in.
    fn open_owned(bytes: &[u8]) -> Result<Self, Error> {
        if JsonKind::of(without_mark(bytes)) == JsonKind::Binary {
            return Err(Error::Binary);
        }
        Ok(match Document::open(bytes)? {
            Document::Kos(file) => Self::Kos(file.into_owned().into()),
            Document::Fhir(text) => Self::Fhir(text.into_owned().into()),
        })
    }
}

/// Whether it is a Part 10 file (PS3.10 7.1); some have no preamble.
fn is_part10(bytes: &[u8]) -> bool {
    const MAGIC: &[u8] = b"DICM";
    bytes.get(128..132) == Some(MAGIC) || bytes.starts_with(MAGIC)
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// What a JSON object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonKind {
    /// A data set in the DICOM JSON model.
    DataSet,
    /// A FHIR Binary.
    Binary,
    /// FHIR, or nothing that is known.
    Other,
}

impl JsonKind {
    /// Reads as far as the member that tells: the type of a resource, or a tag.
    fn of(text: &[u8]) -> Self {
        let mut kind = Self::Other;
        let mut members = serde_json::Deserializer::from_slice(text);
        // What is behind that member is read later.
        let _ = members.deserialize_map(KindVisitor(&mut kind));
        kind
    }
}

struct KindVisitor<'a>(&'a mut JsonKind);

impl<'de> Visitor<'de> for KindVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == "resourceType" {
                if map.next_value::<&RawValue>()?.get() == "\"Binary\"" {
                    *self.0 = JsonKind::Binary;
                }
                return Ok(());
            }
            if tag(&name).is_some() {
                *self.0 = JsonKind::DataSet;
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Binary<'a> {
    #[serde(borrow, default)]
    data: Cow<'a, str>,
}

/// Some writers leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The document in a Binary.
fn content(text: &[u8]) -> Result<Vec<u8>, Error> {
    let Binary { data } = serde_json::from_slice(text).map_err(|_unreadable| Error::Binary)?;
    // FHIR allows white space in base64Binary.
    let data = match data.contains(|c: char| c.is_ascii_whitespace()) {
        true => data.split_ascii_whitespace().collect::<String>().into(),
        false => data,
    };
    let content = BASE64.decode(data.as_bytes());
    let content = content.map_err(|_not_base64| Error::Binary)?;
    if content.is_empty() {
        return Err(Error::Binary);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str) -> Result<String, String> {
        let document = Document::open(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(match document {
            Document::Kos(file) => format!("KOS of {} bytes", file.len()),
            Document::Fhir(text) => String::from_utf8_lossy(&text).into_owned(),
        })
    }

    #[test]
    fn a_binary_is_the_document_that_it_holds() {
        for data in ["eyJhIjoxfQ==", "eyJhIjoxfQ", "eyJh\\r\\nIjox fQ=="] {
            let binary = format!(r#"{{"data":"{data}","resourceType":"Binary","x":1}}"#);
            assert_eq!(opened(&binary).as_deref(), Ok("{\"a\":1}"), "{binary}");
        }
        let within = r#"{"resourceType":"Binary","data":"eyJyZXNvdXJjZVR5cGUiOiJCaW5hcnkifQ=="}"#;
        for text in [
            r#"{"resourceType":"Binary"}"#,
            r#"{"resourceType":"Binary","data":7}"#,
            r#"{"resourceType":"Binary","data":"?"}"#,
            r#"{"resourceType":"Binary","data":"eyJhIjoxfQ=="#,
            within,
        ] {
            assert_eq!(opened(text), Err(Error::Binary.to_string()), "{text}");
        }
    }

    #[test]
    fn a_tag_tells_a_data_set_and_a_type_a_resource() {
        let kind = |text: &str| JsonKind::of(text.as_bytes());
        assert_eq!(kind(r#"{"00080005":{}"#), JsonKind::DataSet);
        assert_eq!(kind(r#"{"a":[1],"0020000d":"#), JsonKind::DataSet);
        assert_eq!(
            kind(r#"{"resourceType":"Bundle","00080005":{}}"#),
            JsonKind::Other
        );
        for text in ["{}", "{", "[]", r#"{"resourceType":7}"#, ""] {
            assert_eq!(kind(text), JsonKind::Other, "{text}");
        }
    }
}
