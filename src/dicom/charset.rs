//! Decodes the text of a data set from its Specific Character Set (0008,0005) (PS3.3 C.12.1.1.2,
//! PS3.5 6.1), with code extensions of ISO 2022.

use dicom_core::Tag;
use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5,
    ISO_8859_6, ISO_8859_7, ISO_8859_8, ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1254,
};

use super::dataset::{DataSet, Element};

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const ESCAPE: u8 = 0x1B;

/// The character set of the text in one data set.
#[derive(Debug, Clone, Copy, Default)]
pub struct CharacterSet {
    /// The repertoire before any escape sequence.
    first: Repertoire,
    /// Whether escape sequences switch the repertoire.
    has_extensions: bool,
}

/// A set of characters and their encoding.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Repertoire {
    /// ISO 646.
    #[default]
    Ascii,
    /// ISO 8859-1.
    Latin1,
    /// ISO 646 below 0x80, another single-byte encoding above.
    Upper(&'static Encoding),
    /// A multi-byte encoding.
    Multi(&'static Encoding),
    /// JIS X 0201.
    Katakana,
    /// JIS X 0208, two bytes below 0x80.
    Kanji,
    /// JIS X 0212, two bytes below 0x80.
    SupplementaryKanji,
}

impl CharacterSet {
    /// The character set that a data set declares; the default repertoire if it is unknown or
    /// absent.
    #[must_use]
    pub fn of(set: &DataSet<'_>) -> Self {
        Self::declared_by(set).unwrap_or_default()
    }

    /// The character set of an item; it inherits that of the enclosing data set.
    #[must_use]
    pub fn of_item(self, item: &DataSet<'_>) -> Self {
        Self::declared_by(item).unwrap_or(self)
    }

    fn declared_by(set: &DataSet<'_>) -> Option<Self> {
        let declared = set.element(SPECIFIC_CHARACTER_SET)?;
        let names = declared_names(&declared);
        let mut names = names.split('\\').map(str::trim);
        let first = names.next().and_then(Repertoire::of_term);
        // Some writers leave the first value empty, or put the only useful one second.
        let further = names.find_map(Repertoire::of_term);
        let is_plain = matches!(first, None | Some(Repertoire::Ascii));
        let is_extended = declared_names(&declared).contains("2022") || further.is_some();
        Some(Self {
            first: match (first, further) {
                // Bytes above 0x7F without an escape have no other meaning.
                (_, Some(further @ (Repertoire::Latin1 | Repertoire::Upper(_)))) if is_plain => {
                    further
                }
                (first, _) => first.unwrap_or_default(),
            },
            has_extensions: is_extended,
        })
    }

    /// One line of text in UTF-8, trimmed. Invalid bytes become U+FFFD, control characters are left
    /// out.
    #[must_use]
    pub fn decode(&self, bytes: &[u8]) -> Box<str> {
        let text = self.text(bytes);
        text.trim().chars().filter(|c| !c.is_control()).collect()
    }

    /// All of the text in UTF-8, untrimmed.
    #[must_use]
    pub fn text(&self, bytes: &[u8]) -> String {
        if bytes.is_ascii() && !bytes.contains(&ESCAPE) && !self.first.is_japanese_pairs() {
            return bytes.iter().copied().map(char::from).collect();
        }
        if self.has_extensions && bytes.contains(&ESCAPE) {
            return self.extended(bytes);
        }
        let mut text = String::with_capacity(bytes.len() * 2);
        self.first.decode(bytes, &mut text);
        text
    }

    // PS3.5 6.1.2.5.
    fn extended(&self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len() * 2);
        let mut now = self.first;
        let mut rest = bytes;
        while let [byte, after @ ..] = rest {
            if *byte == ESCAPE {
                match escape(rest) {
                    Some((repertoire, length)) => {
                        now = repertoire;
                        rest = &rest[length..];
                    }
                    None => {
                        text.push(char::REPLACEMENT_CHARACTER);
                        rest = after;
                    }
                }
                continue;
            }
            let end = now.run(rest);
            let (run, after) = rest.split_at(end);
            now.decode(run, &mut text);
            // 6.1.2.5.3: the ends of lines, values and components reset the repertoire.
            if let Some(delimiter) = after.first().filter(|&&byte| byte != ESCAPE) {
                text.push(char::from(*delimiter));
                now = self.first;
                rest = &after[1..];
            } else {
                rest = after;
            }
        }
        text
    }
}

fn declared_names<'a>(element: &Element<'a>) -> &'a str {
    std::str::from_utf8(element.bytes())
        .unwrap_or_default()
        .trim_end_matches([' ', '\0'])
}

impl Repertoire {
    // PS3.3 tables C.12-2 to C.12-5.
    fn of_term(term: &str) -> Option<Self> {
        let number = term
            .strip_prefix("ISO_IR ")
            .or_else(|| term.strip_prefix("ISO 2022 IR "))
            // Nonstandard, but seen in files.
            .or_else(|| term.strip_prefix("ISO IR "))
            .or_else(|| term.strip_prefix("ISO-IR "));
        Some(match number.unwrap_or(term).trim() {
            "6" => Self::Ascii,
            "100" => Self::Latin1,
            "101" => Self::Upper(ISO_8859_2),
            "109" => Self::Upper(ISO_8859_3),
            "110" => Self::Upper(ISO_8859_4),
            "144" => Self::Upper(ISO_8859_5),
            "127" => Self::Upper(ISO_8859_6),
            "126" => Self::Upper(ISO_8859_7),
            "138" => Self::Upper(ISO_8859_8),
            "148" => Self::Upper(WINDOWS_1254),
            "203" => Self::Upper(ISO_8859_15),
            "166" => Self::Upper(WINDOWS_874),
            "13" => Self::Katakana,
            "87" => Self::Kanji,
            "159" => Self::SupplementaryKanji,
            "149" => Self::Upper(EUC_KR),
            "58" => Self::Upper(GBK),
            "192" | "UTF-8" | "UTF8" => Self::Multi(UTF_8),
            "GB18030" => Self::Multi(GB18030),
            "GBK" | "GB2312" => Self::Multi(GBK),
            "BIG5" => Self::Multi(BIG5),
            _ => return None,
        })
    }

    fn is_japanese_pairs(self) -> bool {
        matches!(self, Self::Kanji | Self::SupplementaryKanji)
    }

    /// The number of bytes before an escape sequence or a delimiter.
    fn run(self, bytes: &[u8]) -> usize {
        let ends = |byte: &u8| match byte {
            &ESCAPE => true,
            b'\r' | b'\n' | 0x0C | b'\t' => true,
            b'\\' | b'^' | b'=' => !self.is_japanese_pairs(),
            _ => false,
        };
        bytes.iter().position(ends).unwrap_or(bytes.len())
    }

    fn decode(self, bytes: &[u8], text: &mut String) {
        match self {
            Self::Ascii => text.extend(bytes.iter().map(|&byte| {
                if byte < 0x80 {
                    char::from(byte)
                } else {
                    char::REPLACEMENT_CHARACTER
                }
            })),
            Self::Latin1 => text.extend(bytes.iter().copied().map(char::from)),
            Self::Upper(encoding) | Self::Multi(encoding) => {
                text.push_str(&encoding.decode_without_bom_handling(bytes).0);
            }
            Self::Katakana => text.extend(bytes.iter().map(|&byte| katakana(byte))),
            Self::Kanji => pairs(bytes, None, text),
            Self::SupplementaryKanji => pairs(bytes, Some(0x8F), text),
        }
    }
}

fn katakana(byte: u8) -> char {
    match byte {
        // A yen sign there; as a delimiter it is a backslash, and so writers mean it.
        0..0x80 => char::from(byte),
        0xA1..=0xDF => {
            let (text, _, _) = SHIFT_JIS.decode(std::slice::from_ref(&byte));
            text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Pairs of bytes below 0x80 are those of EUC-JP with the highest bit set.
fn pairs(bytes: &[u8], before: Option<u8>, text: &mut String) {
    let mut euc = Vec::with_capacity(bytes.len() * 3 / 2);
    for pair in bytes.chunks(2) {
        euc.extend(before);
        euc.extend(pair.iter().map(|byte| byte | 0x80));
    }
    text.push_str(&EUC_JP.decode_without_bom_handling(&euc).0);
}

/// The repertoire of an escape sequence at the start of `bytes`, and its length.
fn escape(bytes: &[u8]) -> Option<(Repertoire, usize)> {
    let known: &[(&[u8], Repertoire)] = &[
        (b"\x1B(B", Repertoire::Ascii),
        (b"\x1B(J", Repertoire::Katakana),
        (b"\x1B)I", Repertoire::Katakana),
        (b"\x1B-A", Repertoire::Latin1),
        (b"\x1B-B", Repertoire::Upper(ISO_8859_2)),
        (b"\x1B-C", Repertoire::Upper(ISO_8859_3)),
        (b"\x1B-D", Repertoire::Upper(ISO_8859_4)),
        (b"\x1B-L", Repertoire::Upper(ISO_8859_5)),
        (b"\x1B-G", Repertoire::Upper(ISO_8859_6)),
        (b"\x1B-F", Repertoire::Upper(ISO_8859_7)),
        (b"\x1B-H", Repertoire::Upper(ISO_8859_8)),
        (b"\x1B-M", Repertoire::Upper(WINDOWS_1254)),
        (b"\x1B-b", Repertoire::Upper(ISO_8859_15)),
        (b"\x1B-T", Repertoire::Upper(WINDOWS_874)),
        (b"\x1B$B", Repertoire::Kanji),
        (b"\x1B$@", Repertoire::Kanji),
        (b"\x1B$(D", Repertoire::SupplementaryKanji),
        (b"\x1B$)C", Repertoire::Upper(EUC_KR)),
        (b"\x1B$)A", Repertoire::Upper(GBK)),
    ];
    let mut known = known.iter();
    known
        .find(|(sequence, _)| bytes.starts_with(sequence))
        .map(|(sequence, repertoire)| (*repertoire, sequence.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str) -> CharacterSet {
        let mut bytes = vec![0x08, 0, 0x05, 0, b'C', b'S', name.len() as u8, 0];
        bytes.extend(name.as_bytes());
        CharacterSet::of(&DataSet::new(
            &bytes,
            crate::dicom::Encoding::ExplicitLittle,
        ))
    }

    #[test]
    fn decodes_latin_1_and_utf_8() {
        assert_eq!(&*declared("ISO_IR 100").decode(b"Kr\xE4mer"), "Krämer");
        assert_eq!(
            &*declared("ISO_IR 192").decode("Krämer".as_bytes()),
            "Krämer"
        );
    }

    // PS3.5 annexes H to K.
    #[test]
    fn decodes_the_examples_of_the_standard() {
        for (set, bytes, expected) in [
            (
                "\\ISO 2022 IR 87",
                &b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B"[..],
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ),
            (
                "ISO 2022 IR 13\\ISO 2022 IR 87",
                b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J",
                "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
            ),
            (
                "\\ISO 2022 IR 149",
                b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF",
                "Hong^Gildong=洪^吉洞=홍^길동",
            ),
            (
                "GB18030",
                b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB",
                "Wang^XiaoDong=王^小东",
            ),
            (
                "\\ISO 2022 IR 58",
                b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB",
                "Zhang^XiaoDong=张^小东",
            ),
            ("ISO_IR 144", b"\xBB\xEE\xDA", "Люк"),
        ] {
            assert_eq!(declared(set).text(bytes), expected, "{set}");
        }
    }

    #[test]
    fn survives_bytes_that_mean_nothing() {
        assert_eq!(&*declared("ISO_IR 192").decode(b"A\xFF\x1BB"), "A\u{FFFD}B");
        assert_eq!(&*declared("KLINGON").decode(b"plain"), "plain");
        let half = declared("\\ISO 2022 IR 87").text(b"\x1B$B;\x1B(B^\x1B$Z");
        assert!(half.contains('\u{FFFD}') && half.contains('^'), "{half}");
    }
}
