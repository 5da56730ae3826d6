//! Text of a data set in its Specific Character Set (0008,0005) becomes UTF-8.

use dicom_core::Tag;
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

use super::dataset::{DataSet, Element};

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);

/// The character set that the text of one data set is in.
#[derive(Debug, Clone, Default)]
pub struct CharacterSet(SpecificCharacterSet);

impl CharacterSet {
    /// The character set that a data set declares. Of several (ISO 2022 code extensions) the last
    /// one that is known is used, which covers text without escapes; an unknown or absent one
    /// means the default repertoire (PS3.3 C.12.1.1.2).
    #[must_use]
    pub fn of(set: &DataSet<'_>) -> Self {
        let declared = set.element(SPECIFIC_CHARACTER_SET);
        let names = declared
            .as_ref()
            .and_then(Element::ascii)
            .unwrap_or_default();
        names
            .split('\\')
            .rev()
            .find_map(|name| SpecificCharacterSet::from_code(name.trim()))
            .map_or_else(Self::default, Self)
    }

    /// Text in UTF-8. Bytes that mean nothing in this character set become `\\nnn` (octal),
    /// control characters are left out.
    #[must_use]
    pub fn decode(&self, bytes: &[u8]) -> Box<str> {
        let text = self
            .0
            .decode(bytes)
            .unwrap_or_else(|_undecodable| String::from_utf8_lossy(bytes).into_owned());
        text.trim().chars().filter(|c| !c.is_control()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Encoding;

    fn declared(name: &str) -> CharacterSet {
        let mut bytes = vec![0x08, 0, 0x05, 0, b'C', b'S', name.len() as u8, 0];
        bytes.extend(name.as_bytes());
        CharacterSet::of(&DataSet::new(&bytes, Encoding::ExplicitLittle))
    }

    #[test]
    fn decodes_latin_1_and_utf_8() {
        assert_eq!(&*declared("ISO_IR 100").decode(b"Kr\xE4mer"), "Krämer");
        assert_eq!(
            &*declared("ISO_IR 192").decode("Krämer".as_bytes()),
            "Krämer"
        );
    }

    #[test]
    fn survives_bytes_that_mean_nothing() {
        assert_eq!(&*declared("ISO_IR 192").decode(b"A\xFF\x1BB"), "A\\377B");
        assert_eq!(&*declared("KLINGON").decode(b"plain"), "plain");
    }
}
