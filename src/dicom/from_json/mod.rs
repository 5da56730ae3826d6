//! Turns a data set in the DICOM JSON model (PS3.18 annex F) into a Part 10 file in Explicit VR
//! Little Endian, which everything else reads.
//!
//! Values behind a link (`BulkDataURI`) and values that do not fit their representation are left
//! empty.
//!
//! # Cost
//! Memory: the file, and at most six times the text. Each level of sequences goes over its text
//! twice, and there are at most 16.

mod value;

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dicom_core::{Tag, VR};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::dataset::DataSet;
use super::explicit;
use super::json::{implicit_vr, is_binary};
use super::part10::MAX_FILE;
use super::tag::tag;
use super::transfer_syntax::{Encoding, TransferSyntax};
use super::vr::value_representation;
use value::{Scalars, bytes_of};

/// The limit on nested sequences. A manifest nests six deep.
const MOST_LEVELS: usize = 16;
const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const SOP_CLASS_UID: Tag = Tag(0x0008, 0x0016);
const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
const UNDEFINED: u32 = 0xFFFF_FFFF;
const IMPLEMENTATION_CLASS: &str = "2.25.5260584752800091357059910238462748676.6";

/// Why a text is not a data set. No text contains a value from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("not valid JSON at line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// It is JSON, but not a data set, or a list of one.
    #[error("not one data set in the DICOM JSON model")]
    NotADataSet,
    /// Sequences nest deeper than the limit.
    #[error("sequences nest deeper than {MOST_LEVELS}")]
    TooDeep,
    /// The file would be larger than [`MAX_FILE`].
    #[error("larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() {
            return Self::NotADataSet;
        }
        Self::NotJson {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// A Part 10 file of the data set: an object, or the only one of a list.
///
/// # Errors
/// [`Error`] if the text is not a data set.
pub fn part10(text: &[u8]) -> Result<Vec<u8>, Error> {
    let set = match text.trim_ascii_start().first() {
        Some(b'[') => {
            let Items(items) = serde_json::from_slice(text)?;
            let [Some(set)] = items[..] else {
                return Err(Error::NotADataSet);
            };
            set
        }
        Some(_) | None => serde_json::from_slice(text)?,
    };
    let mut body = Vec::new();
    Writer { out: &mut body }.level(set, 0)?;
    let mut file = file_meta(&DataSet::new(&body, Encoding::ExplicitLittle));
    file.append(&mut body);
    Ok(file)
}

fn file_meta(set: &DataSet<'_>) -> Vec<u8> {
    let mut meta = Vec::new();
    write_value(Tag(0x0002, 0x0001), VR::OB, vec![0, 1], &mut meta);
    for (tag, of) in [(0x0002, SOP_CLASS_UID), (0x0003, SOP_INSTANCE_UID)] {
        let uid = set.text(of).unwrap_or_default().to_vec();
        write_value(Tag(0x0002, tag), VR::UI, uid, &mut meta);
    }
    for (tag, uid) in [
        (0x0010, TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN),
        (0x0012, IMPLEMENTATION_CLASS),
    ] {
        write_value(Tag(0x0002, tag), VR::UI, uid.into(), &mut meta);
    }
    let meta = DataSet::new(&meta, Encoding::ExplicitLittle);
    explicit::file_meta(&meta, None).unwrap_or_default()
}

/// Writes an element whose value is padded to an even length (PS3.5 7.1).
fn write_value(tag: Tag, vr: VR, mut value: Vec<u8>, out: &mut Vec<u8>) {
    let padding = if vr == VR::UI || is_binary(vr) {
        0
    } else {
        b' '
    };
    value.resize(value.len().next_multiple_of(2), padding);
    // The text that it comes from is shorter than 4 GiB.
    let length = u32::try_from(value.len()).unwrap_or_default();
    explicit::head(tag, vr, length, out);
    out.append(&mut value);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn level(&mut self, text: &RawValue, depth: usize) -> Result<(), Error> {
        if depth > MOST_LEVELS {
            return Err(Error::TooDeep);
        }
        let Level(mut elements) = serde_json::from_str(text.get())?;
        // F.2: JSON is UTF-8, whatever the data set was before.
        elements.retain(|(tag, _)| *tag != SPECIFIC_CHARACTER_SET && tag.group() > 0x0002);
        elements.sort_by_key(|(tag, _)| *tag);
        let mut is_pending = depth == 0;
        for (tag, attribute) in elements {
            if is_pending && tag > SPECIFIC_CHARACTER_SET {
                self.character_set();
                is_pending = false;
            }
            self.element(tag, &attribute, depth)?;
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.out.len() > MAX_FILE {
            return Err(Error::TooLarge);
        }
        Ok(())
    }

    fn character_set(&mut self) {
        let utf_8 = b"ISO_IR 192".to_vec();
        write_value(SPECIFIC_CHARACTER_SET, VR::CS, utf_8, self.out);
    }

    fn element(&mut self, tag: Tag, attribute: &Attribute<'_>, depth: usize) -> Result<(), Error> {
        let named = attribute.vr.as_bytes().first_chunk::<2>();
        let vr = named.copied().and_then(value_representation);
        let vr = vr.unwrap_or_else(|| implicit_vr(tag, false));
        if vr == VR::SQ {
            return self.sequence(tag, attribute.value, depth);
        }
        let value = if is_binary(vr) {
            BASE64_STANDARD
                .decode(attribute.inline_binary.as_bytes())
                .unwrap_or_default()
        } else {
            let text = attribute.value.map_or("null", RawValue::get);
            let scalars: Scalars = serde_json::from_str(text)?;
            bytes_of(vr, &scalars)
        };
        write_value(tag, vr, value, self.out);
        Ok(())
    }

    fn sequence(&mut self, tag: Tag, value: Option<&RawValue>, depth: usize) -> Result<(), Error> {
        explicit::head(tag, VR::SQ, UNDEFINED, self.out);
        let Items(items) = serde_json::from_str(value.map_or("[]", RawValue::get))?;
        for item in items {
            explicit::marker(0xE000, UNDEFINED, self.out);
            if let Some(item) = item {
                self.level(item, depth + 1)?;
            }
            explicit::marker(0xE00D, 0, self.out);
            self.check()?;
        }
        explicit::marker(0xE0DD, 0, self.out);
        Ok(())
    }
}

/// The elements of a data set or an item.
struct Level<'a>(Vec<(Tag, Attribute<'a>)>);

/// An element in the DICOM JSON model.
#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow, default)]
    vr: Cow<'a, str>,
    #[serde(borrow, default, rename = "Value")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "InlineBinary")]
    inline_binary: Cow<'a, str>,
}

/// The items of a sequence.
struct Items<'a>(Vec<Option<&'a RawValue>>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Level<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LevelVisitor)
    }
}

struct LevelVisitor;

impl<'de> Visitor<'de> for LevelVisitor {
    type Value = Level<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a data set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match tag(&name) {
                Some(tag) => elements.push((tag, map.next_value()?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Level(elements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::json;
    use crate::dicom::part10::File;

    /// What the file says, in JSON again.
    fn again(text: &str) -> serde_json::Value {
        let file = part10(text.as_bytes()).expect("a data set");
        let file = File::open(&file).expect("a file");
        let mut out = String::new();
        json::write(&file.data_set(), json::Beside::default(), "", &mut out).expect("a data set");
        serde_json::from_str(&out).expect("JSON")
    }

    #[test]
    fn a_data_set_survives_the_way_there_and_back() {
        let text = r#"{
            "00080005":{"vr":"CS","Value":["ISO_IR 192"]},
            "00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.88.59"]},
            "00080018":{"vr":"UI","Value":["1.2.3"]},
            "00081115":{"vr":"SQ","Value":[{"0020000E":{"vr":"UI","Value":["1.2"]}},{}]},
            "00100010":{"vr":"PN","Value":[{"Alphabetic":"Müller^Eva","Ideographic":"山田"}]},
            "00100040":{"vr":"CS"},
            "0018106C":{"vr":"US","Value":[1,65535]},
            "00189073":{"vr":"FD","Value":[1.5]},
            "00201208":{"vr":"IS","Value":[7]},
            "00280009":{"vr":"AT","Value":["00181063"]},
            "00420011":{"vr":"OB","InlineBinary":"AAEC"},
            "0040A160":{"vr":"UT","Value":["a\\b"]}
        }"#;
        let mut expected: serde_json::Value = serde_json::from_str(text).expect("JSON");
        expected["00420011"]["InlineBinary"] = "AAECAA==".into();
        assert_eq!(again(text), expected);
        assert_eq!(again(&format!(" [{text}]")), expected);
    }

    #[test]
    fn order_representations_and_unknown_members_do_not_matter() {
        let expected = again(
            r#"{"00080016":{"vr":"UI","Value":["1.2"]},"00100020":{"vr":"LO","Value":["7"]}}"#,
        );
        for text in [
            r#"{"00100020":{"Value":[7],"vr":"LO"},"00080016":{"Value":["1.2"]}}"#,
            r#"{"x":[{}],"00020010":{"vr":"UI"},"00100020":{"Value":["7"]},"00080016":{"vr":"UI","Value":["1.2"],"y":1},
                "00080005":{"vr":"CS","Value":["ISO_IR 100"]}}"#,
        ] {
            assert_eq!(again(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_data_set_is_refused() {
        for text in ["[]", "[{},{}]", "[null]", "7", r#"{"00100020":7}"#, "[[]]"] {
            assert_eq!(part10(text.as_bytes()), Err(Error::NotADataSet), "{text}");
        }
        for text in ["", "{", r#"{"00100020":{"vr":"LO""#, "{} {}"] {
            let refused = part10(text.as_bytes());
            assert!(matches!(refused, Err(Error::NotJson { .. })), "{text}");
        }
        let deep = r#"{"00081115":{"vr":"SQ","Value":["#.repeat(MOST_LEVELS + 1)
            + &"]}}".repeat(MOST_LEVELS + 1);
        assert!(part10(deep.as_bytes()).is_ok());
        let deeper = format!(r#"{{"00081115":{{"vr":"SQ","Value":[{deep}]}}}}"#);
        assert_eq!(part10(deeper.as_bytes()), Err(Error::TooDeep));
    }
}
