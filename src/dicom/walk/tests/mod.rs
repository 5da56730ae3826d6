mod cut;
mod properties;

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::*;
use crate::dicom::{TransferSyntax, part10};

const IMPLICIT: &str = TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN;
const EXPLICIT: &str = TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN;
const BIG: &str = TransferSyntax::EXPLICIT_VR_BIG_ENDIAN;
const DEFLATED: &str = TransferSyntax::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
const JPEG: &str = "1.2.840.10008.1.2.4.70";
const SYNTAXES: [&str; 5] = [IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG];

const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;
const PIXEL_DATA: u32 = 0x7FE0_0010;
const PADDING: u32 = 0xFFFC_FFFC;
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// A data set that is being written.
#[derive(Clone)]
struct Set {
    syntax: &'static str,
    bytes: Vec<u8>,
}

impl Set {
    fn new(syntax: &'static str) -> Self {
        Self {
            syntax,
            bytes: Vec::new(),
        }
    }

    fn number(&self, value: u32, size: usize) -> Vec<u8> {
        match self.syntax {
            BIG => value.to_be_bytes()[4 - size..].to_vec(),
            _ => value.to_le_bytes()[..size].to_vec(),
        }
    }

    fn head(mut self, tag: u32, vr: &[u8; 2], length: u32) -> Self {
        let is_plain = self.syntax == IMPLICIT || tag >> 16 == 0xFFFE;
        let is_long = [b"OB", b"OW", b"SQ", b"UN", b"UT"].contains(&vr);
        let mut head = [self.number(tag >> 16, 2), self.number(tag & 0xFFFF, 2)].concat();
        if !is_plain {
            head.extend(vr);
        }
        if !is_plain && is_long {
            head.extend([0, 0]);
        }
        let size = if is_plain || is_long { 4 } else { 2 };
        head.extend(self.number(length, size));
        self.bytes.extend(head);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn element(self, tag: u32, vr: &[u8; 2], value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).expect("short");
        self.head(tag, vr, length).raw(value)
    }

    fn short(self, tag: u32, value: u32) -> Self {
        let value = self.number(value, 2);
        self.element(tag, b"US", &value)
    }

    fn item(self, bytes: &[u8]) -> Self {
        self.element(ITEM, b"--", bytes)
    }

    fn end(self, tag: u32) -> Self {
        self.head(tag, b"--", 0)
    }

    /// The UIDs of an instance, and a group length.
    fn named(self) -> Self {
        let length = self.number(100, 4);
        self.element(0x0008_0000, b"UL", &length)
            .element(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0")
            .element(0x0008_0018, b"UI", b"1.2.3.4.5\0")
            .element(0x0009_0010, b"LO", b"OURS")
            .element(0x0020_000D, b"UI", b"1.2.3\0")
            .element(0x0020_000E, b"UI", b"1.2.3.4\0")
    }

    /// Sequences of every kind, in each other.
    fn nested(self) -> Self {
        let syntax = self.syntax;
        let plain = || Set::new(syntax).element(0x0008_0100, b"SH", b"CODE");
        let codes = plain().bytes;
        self.head(0x0008_1140, b"SQ", UNDEFINED)
            .item(&codes)
            .head(ITEM, b"--", UNDEFINED)
            .raw(&codes)
            .head(0x0008_1199, b"SQ", UNDEFINED)
            .head(ITEM, b"--", UNDEFINED)
            .raw(&codes)
            .end(ITEM_END)
            .end(SEQUENCE_END)
            .end(ITEM_END)
            .end(SEQUENCE_END)
    }

    fn described(self, frames: &[u8]) -> Self {
        self.element(0x0028_0008, b"IS", frames)
            .short(0x0028_0010, 4)
            .short(0x0028_0011, 4)
            .short(0x0028_0100, 8)
    }

    fn fragments(self, sizes: &[usize]) -> Self {
        let mut set = self.head(PIXEL_DATA, b"OB", UNDEFINED).item(&[]);
        for size in sizes {
            set = set.item(&vec![0xFE; *size]);
        }
        set
    }

    /// Rows, columns and pixels as the transfer syntax has them.
    fn pixels(self) -> Self {
        let set = self.described(b"2 ");
        match set.syntax {
            JPEG => set.fragments(&[10, 22]).end(SEQUENCE_END),
            _ => set.element(PIXEL_DATA, b"OW", &[0xFE; 32]),
        }
    }

    fn file(&self) -> Vec<u8> {
        match self.syntax {
            DEFLATED => self.file_of(&deflate(&self.bytes)),
            _ => self.file_of(&self.bytes),
        }
    }

    fn file_of(&self, bytes: &[u8]) -> Vec<u8> {
        let mut uid = self.syntax.as_bytes().to_vec();
        uid.resize(uid.len().next_multiple_of(2), 0);
        let meta = Set::new(EXPLICIT)
            .element(0x0002_0001, b"OB", &[0, 1])
            .element(0x0002_0003, b"UI", b"1.2.3.4.5\0")
            .element(0x0002_0010, b"UI", &uid);
        [&[0; 128][..], b"DICM", &meta.bytes, bytes].concat()
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn walked(bytes: &[u8]) -> Result<Tail, NotWhole> {
    in_chunks(bytes, bytes.len().max(1))
}

fn in_chunks(bytes: &[u8], size: usize) -> Result<Tail, NotWhole> {
    let mut walk = Walk::new();
    for chunk in bytes.chunks(size) {
        // It goes on saying so.
        let _ = walk.push(chunk);
    }
    walk.finish()
}

const NOTHING: Tail = Tail {
    zeros: 0,
    foreign: 0,
};

fn zeros(zeros: u64) -> Tail {
    Tail { zeros, foreign: 0 }
}

fn foreign(foreign: u64) -> Tail {
    Tail { zeros: 0, foreign }
}

#[test]
fn a_whole_instance_is_whole_in_every_transfer_syntax_and_however_it_is_cut_into_chunks() {
    for syntax in SYNTAXES {
        let file = Set::new(syntax).named().nested().pixels().file();
        for size in [1, 2, 3, 5, 7, 8, 11, 12, 13, 64, 1000] {
            assert_eq!(in_chunks(&file, size), Ok(NOTHING), "{syntax} by {size}");
        }
    }
}

#[test]
fn a_description_of_pixels_without_pixels_is_not_whole() {
    for syntax in SYNTAXES {
        let described = Set::new(syntax).named().described(b"1 ");
        let result = walked(&described.file());
        assert_eq!(result, Err(NotWhole::NoPixelData), "{syntax}");
        for (tag, vr) in [
            (PIXEL_DATA, b"OW"),
            (0x7FE0_0008, b"OF"),
            (0x7FE0_0009, b"OD"),
            (0x0028_7FE0, b"UR"),
        ] {
            let long = if syntax == IMPLICIT { b"OW" } else { vr };
            let set = described.clone().head(tag, b"OW", 0);
            assert_eq!(walked(&set.file()), Ok(NOTHING), "{syntax} {long:?}");
        }
    }
    // Spectra have rows and columns.
    let spectra = Set::new(EXPLICIT)
        .named()
        .short(0x0028_0010, 4)
        .short(0x0028_0011, 4)
        .element(0x5600_0020, b"OW", &[0; 8]);
    assert_eq!(walked(&spectra.file()), Ok(NOTHING));
    // So may what has none of them.
    let none = Set::new(EXPLICIT)
        .named()
        .short(0x0028_0010, 0)
        .short(0x0028_0011, 0)
        .short(0x0028_0100, 0);
    assert_eq!(walked(&none.file()), Ok(NOTHING));
}

#[test]
fn zero_bytes_behind_the_data_set_are_padding() {
    for syntax in SYNTAXES {
        let set = Set::new(syntax).named().pixels();
        for count in [1, 2, 3, 7, 8, 9, 63, 64, 512] {
            let file = [set.file(), vec![0; count]].concat();
            let expected = match (syntax, count) {
                // It may as well be the first byte of an element.
                (BIG, 1) => Err(NotWhole::HeadCut),
                _ => Ok(zeros(count as u64)),
            };
            for size in [file.len(), 1, 5] {
                assert_eq!(in_chunks(&file, size), expected, "{syntax} {count}");
            }
        }
        let inside = set.clone().raw(&[0; 512]);
        assert_eq!(walked(&inside.file()), Ok(zeros(512)), "{syntax}");
    }
}

#[test]
fn trailing_padding_is_an_element() {
    for syntax in SYNTAXES {
        let set = Set::new(syntax).named().pixels();
        let padded = set.element(PADDING, b"OB", &[0; 40]);
        assert_eq!(walked(&padded.file()), Ok(NOTHING), "{syntax}");
        let file = padded.file();
        assert!(walked(&file[..file.len() - 3]).is_err(), "{syntax}");
    }
}

#[test]
fn elements_behind_pixel_data_are_elements() {
    for syntax in SYNTAXES {
        for (tag, vr) in [
            (0x7FE1_0010, b"LO"),
            (0x7FE1_1001, b"OB"),
            (0xFFFA_FFFA, b"SQ"),
        ] {
            let set = Set::new(syntax).named().pixels();
            let before = set.file().len();
            let file = set.element(tag, vr, &[b'X'; 20]).file();
            assert_eq!(walked(&file), Ok(NOTHING), "{syntax} {tag:08X}");
            let first = if syntax == DEFLATED { 0 } else { before + 1 };
            for cut in first..file.len() {
                let result = walked(&file[..cut]);
                assert!(result.is_err(), "{syntax} {tag:08X} {cut}: {result:?}");
            }
        }
    }
}

#[test]
fn bytes_behind_the_data_set_that_are_no_element_are_counted() {
    for syntax in SYNTAXES {
        let set = Set::new(syntax).named().pixels();
        for trailing in [
            &b"\r\n"[..],
            b"\n",
            b"<html>x</html>\r\n",
            &[0xC8; 40],
            b"some more text",
            // An item in little endian, and a tag like one.
            &[0xFE, 0xFF, 0x00, 0xE0, 4, 0, 0, 0, 1, 2, 3, 4],
            &[0xFE, 0xFF, 0x01, 0x00, 0, 0, 0, 0],
        ] {
            let file = [&set.file()[..], trailing].concat();
            let expected = Ok(foreign(trailing.len() as u64));
            for size in [file.len(), 1, 9] {
                assert_eq!(in_chunks(&file, size), expected, "{syntax} {trailing:?}");
            }
        }
        let file = [&set.file()[..], &[0; 16], b"text"].concat();
        let expected = Tail {
            zeros: 16,
            foreign: 4,
        };
        assert_eq!(walked(&file), Ok(expected), "{syntax}");
    }
}

#[test]
fn the_last_delimiter_may_be_missing_once_all_fragments_are_there() {
    let start = || Set::new(JPEG).named();
    let three = |frames: &[u8]| start().described(frames).fragments(&[10, 20, 30]);
    assert_eq!(walked(&three(b"3 ").file()), Ok(NOTHING));
    assert_eq!(walked(&three(b"3.0 ").file()), Ok(NOTHING));
    assert_eq!(walked(&three(&[3, 0]).file()), Ok(NOTHING));
    assert_eq!(walked(&three(b"3 ").raw(&[0; 10]).file()), Ok(zeros(10)));
    for frames in [&b"4 "[..], b"2 ", b"1 ", b""] {
        let result = walked(&three(frames).file());
        assert_eq!(result, Err(NotWhole::SequenceCut), "{frames:?}");
    }
    // No number of frames: one, or as many as there are offsets.
    let one = start().short(0x0028_0010, 4).fragments(&[10]);
    assert_eq!(walked(&one.file()), Ok(NOTHING));
    let table = start()
        .head(PIXEL_DATA, b"OB", UNDEFINED)
        .item(&[0; 8])
        .item(&[1; 6]);
    assert_eq!(walked(&table.file()), Err(NotWhole::SequenceCut));
    assert_eq!(walked(&table.item(&[1; 6]).file()), Ok(NOTHING));
    let extended = start()
        .element(0x7FE0_0001, b"OW", &[0; 16])
        .fragments(&[4, 4]);
    assert_eq!(walked(&extended.file()), Ok(NOTHING));
    // The offset table alone is not a frame.
    let nothing = start().described(b"1 ").fragments(&[]);
    assert_eq!(walked(&nothing.file()), Err(NotWhole::SequenceCut));
    // Another sequence has to end.
    let open = start().head(0x0040_A730, b"SQ", UNDEFINED).item(&[]);
    assert_eq!(walked(&open.file()), Err(NotWhole::SequenceCut));
}

#[test]
fn an_empty_fragment_is_no_frame() {
    let start = || Set::new(JPEG).named().described(b"3 ");
    let whole = start().fragments(&[10, 20, 30, 0]).file();
    assert_eq!(walked(&whole), Ok(NOTHING));
    let cut = start().fragments(&[10, 20, 0]).file();
    assert_eq!(walked(&cut), Err(NotWhole::SequenceCut));
}

#[test]
fn the_preamble_may_be_missing_and_the_file_meta_information_implicit() {
    for syntax in SYNTAXES {
        let file = Set::new(syntax).named().nested().pixels().file();
        let mut uid = syntax.as_bytes().to_vec();
        uid.resize(uid.len().next_multiple_of(2), 0);
        let meta = Set::new(IMPLICIT).element(0x0002_0010, b"UI", &uid).bytes;
        let data_set = part10::Meta::read(&file).expect("a file").end;
        let implicit = [&file[..132], &meta, &file[data_set..]].concat();
        for bytes in [&file[128..], &file[132..], &implicit] {
            for size in [1, 7, 131, 133, bytes.len()] {
                assert_eq!(in_chunks(bytes, size), Ok(NOTHING), "{syntax} by {size}");
            }
            let cut = &bytes[..bytes.len() - 1];
            assert!(walked(cut).is_err(), "{syntax}");
        }
    }
}

#[test]
fn odd_value_representations_have_a_short_length() {
    for vr in [b"  ", b"??", b"--", b"\0\0", b"us", b"U ", b" S", b"RE"] {
        let start = Set::new(EXPLICIT).named();
        let set = start.element(0x0028_0120, vr, &[1, 2]).pixels();
        let file = set.file();
        for size in [file.len(), 1] {
            assert_eq!(in_chunks(&file, size), Ok(NOTHING), "{vr:?}");
        }
        assert!(walked(&file[..file.len() - 1]).is_err());
    }
}

#[test]
fn sequences_are_read_however_they_are_written() {
    let start = || Set::new(EXPLICIT).named();
    let code = Set::new(EXPLICIT)
        .element(0x0008_0100, b"SH", b"CODE")
        .bytes;
    let implicit = Set::new(IMPLICIT)
        .element(0x0008_0100, b"SH", b"CODE")
        .bytes;
    let delimiter = Set::new(EXPLICIT).end(SEQUENCE_END).bytes;
    let open = |vr| start().head(0x0040_A730, vr, UNDEFINED);
    let item = |set: Set, bytes: &[u8]| set.head(ITEM, b"--", UNDEFINED).raw(bytes);
    let sets = [
        // A length and a delimiter, inside it and behind it.
        start().element(0x0040_A730, b"SQ", &[&code[..], &delimiter].concat()),
        start().element(0x0040_A730, b"SQ", &[]).raw(&delimiter),
        open(b"SQ").item(&code).end(ITEM_END).end(SEQUENCE_END),
        // Delimiters of items are missing.
        item(open(b"SQ"), &code).end(SEQUENCE_END),
        item(item(open(b"SQ"), &code), &code).end(SEQUENCE_END),
        // UN of undefined length, and a copy out of an implicit data set.
        item(open(b"UN"), &implicit).end(ITEM_END).end(SEQUENCE_END),
        item(open(b"UN"), &code).end(ITEM_END).end(SEQUENCE_END),
        item(open(b"SQ"), &implicit).end(ITEM_END).end(SEQUENCE_END),
        item(open(b"SQ"), &[]).end(ITEM_END).end(SEQUENCE_END),
        open(b"SQ").end(SEQUENCE_END),
        // Private, and not sorted.
        start()
            .head(0x0041_1001, b"SQ", UNDEFINED)
            .end(SEQUENCE_END)
            .element(0x0010_0010, b"PN", b"LATE"),
    ];
    for (number, set) in sets.into_iter().enumerate() {
        let file = set.pixels().file();
        for size in [file.len(), 1, 5] {
            assert_eq!(in_chunks(&file, size), Ok(NOTHING), "{number} by {size}");
        }
    }
}

#[test]
fn what_breaks_the_form_is_not_whole() {
    let start = || Set::new(EXPLICIT).named();
    let open = || start().head(0x0040_A730, b"SQ", UNDEFINED);
    let text = Set::new(EXPLICIT)
        .element(0x0040_A160, b"UT", b"text")
        .bytes;
    assert_eq!(walked(&open().raw(&text).file()), Err(NotWhole::NoItem));
    assert_eq!(walked(&start().item(&[]).file()), Err(NotWhole::StrayItem));
    let mut deep = start();
    for _ in 0..33 {
        deep = deep
            .head(0x0040_A730, b"SQ", UNDEFINED)
            .head(ITEM, b"--", UNDEFINED);
    }
    assert_eq!(walked(&deep.file()), Err(NotWhole::TooDeep));
    let damaged = Set::new(DEFLATED).file_of(&[0xFF; 40]);
    assert_eq!(walked(&damaged), Err(NotWhole::Deflate));
}

#[test]
fn a_value_of_gigabytes_is_counted_over() {
    let set = Set::new(EXPLICIT).named().described(b"1 ");
    let file = set.head(PIXEL_DATA, b"OW", 0xFFFF_FFFE).file();
    let mut walk = Walk::new();
    walk.push(&file).expect("whole so far");
    assert_eq!(walk.unread(), 0xFFFF_FFFE);
    walk.pass_over(0xFFFF_FFFD);
    assert_eq!(walk.finish(), Err(NotWhole::ValueCut));
    walk.pass_over(1);
    assert_eq!(walk.finish(), Ok(NOTHING));
}

#[test]
fn what_may_follow_a_deflated_stream_is_a_tail() {
    let set = Set::new(DEFLATED).named().pixels();
    let stream = deflate(&set.bytes);
    for (behind, expected) in [
        (&b"\0"[..], zeros(1)),
        (b"\0\0\0\0", zeros(4)),
        (b"text", foreign(4)),
    ] {
        let file = set.file_of(&[&stream[..], behind].concat());
        for size in [file.len(), 1, 7] {
            assert_eq!(in_chunks(&file, size), Ok(expected), "{behind:?}");
        }
    }
    let cut = Set::new(DEFLATED).named().described(b"1 ");
    let half = cut.head(PIXEL_DATA, b"OW", 1000).raw(&[0; 500]);
    assert_eq!(walked(&half.file()), Err(NotWhole::ValueCut));
}

#[test]
fn a_deflated_data_set_of_megabytes_is_walked_in_constant_memory() {
    let start = Set::new(DEFLATED).named().described(b"1 ");
    let size = 64 << 20;
    let long = start
        .head(PIXEL_DATA, b"OW", size)
        .raw(&vec![0; size as usize]);
    let file = long.file();
    assert!(file.len() < 100_000, "{}", file.len());
    assert_eq!(walked(&file), Ok(NOTHING));
    assert_eq!(in_chunks(&file, 100), Ok(NOTHING));
    assert_eq!(walked(&file[..file.len() - 1]), Err(NotWhole::DeflateCut));
}
