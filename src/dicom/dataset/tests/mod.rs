mod properties;

use super::header::UNDEFINED;
use super::*;

const LITTLE: Encoding = Encoding::ExplicitLittle;
const ENCODINGS: [Encoding; 3] = [
    Encoding::ImplicitLittle,
    Encoding::ExplicitLittle,
    Encoding::ExplicitBig,
];
const CODES: Tag = Tag(0x0008, 0x0110);
const NAME: Tag = Tag(0x0008, 0x0104);
const UNKNOWN: Tag = Tag(0x0009, 0x1001);
const LAST: Tag = Tag(0x0010, 0x0020);

fn number(value: u32, size: usize, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::ExplicitBig => value.to_be_bytes()[4 - size..].to_vec(),
        Encoding::ImplicitLittle | Encoding::ExplicitLittle | Encoding::Deflated => {
            value.to_le_bytes()[..size].to_vec()
        }
    }
}

fn header(tag: Tag, vr: &[u8; 2], length: u32, encoding: Encoding) -> Vec<u8> {
    let mut out = number(tag.group().into(), 2, encoding);
    out.extend(number(tag.element().into(), 2, encoding));
    if encoding == Encoding::ImplicitLittle || tag.group() == 0xFFFE {
        out.extend(number(length, 4, encoding));
    } else if [b"SQ", b"UN", b"OB", b"OW", b"UT"].contains(&vr) {
        out.extend(vr);
        out.extend([0, 0]);
        out.extend(number(length, 4, encoding));
    } else {
        out.extend(vr);
        out.extend(number(length, 2, encoding));
    }
    out
}

fn element(tag: Tag, vr: &[u8; 2], value: &[u8], encoding: Encoding) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short");
    [header(tag, vr, length, encoding), value.to_vec()].concat()
}

fn undefined(tag: Tag, vr: &[u8; 2], inside: &[u8], end: Tag, encoding: Encoding) -> Vec<u8> {
    [
        header(tag, vr, UNDEFINED, encoding),
        inside.to_vec(),
        header(end, b"--", 0, encoding),
    ]
    .concat()
}

fn name(text: &str, encoding: Encoding) -> Vec<u8> {
    element(NAME, b"LO", text.as_bytes(), encoding)
}

/// A data set of one sequence of two items and an element behind it, in every mix of lengths.
fn sequences(encoding: Encoding) -> Vec<Vec<u8>> {
    let (a, b) = (name("AB", encoding), name("CDEF", encoding));
    let defined = |inside: &[u8]| element(ITEM, b"--", inside, encoding);
    let open = |inside: &[u8]| undefined(ITEM, b"--", inside, ITEM_END, encoding);
    let items = [
        [defined(&a), defined(&b)].concat(),
        [open(&a), open(&b)].concat(),
        [defined(&a), open(&b)].concat(),
    ];
    let last = element(LAST, b"LO", b"P1", encoding);
    items
        .iter()
        .flat_map(|items| {
            [
                element(CODES, b"SQ", items, encoding),
                undefined(CODES, b"SQ", items, SEQUENCE_END, encoding),
            ]
        })
        .map(|sequence| [sequence, last.clone()].concat())
        .collect()
}

fn names(set: &DataSet<'_>, tag: Tag) -> Vec<Vec<u8>> {
    set.items(tag)
        .map(|item| {
            let item = item.expect("an item");
            item.text(NAME).unwrap_or_default().to_vec()
        })
        .collect()
}

fn on_a_small_stack(test: fn()) {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(test)
        .expect("a thread")
        .join()
        .expect("no panic and no overflow");
}

#[test]
fn reads_sequences_in_every_encoding_and_mix_of_lengths() {
    for encoding in ENCODINGS {
        for bytes in sequences(encoding) {
            let set = DataSet::new(&bytes, encoding);
            assert_eq!(set.check(), Ok(()), "{encoding:?}");
            assert_eq!(names(&set, CODES), [b"AB".to_vec(), b"CDEF".to_vec()]);
            assert_eq!(set.text(LAST), Some(&b"P1"[..]));
            assert_eq!(set.elements().count(), 2);
        }
    }
}

#[test]
fn refuses_every_sequence_that_was_cut_off() {
    for encoding in ENCODINGS {
        for bytes in sequences(encoding) {
            let last = element(LAST, b"LO", b"P1", encoding).len();
            for end in 1..bytes.len() {
                let check = DataSet::new(&bytes[..end], encoding).check();
                if end == bytes.len() - last {
                    assert_eq!(check, Ok(()), "a boundary between elements");
                } else {
                    assert_eq!(check, Err(Error::Truncated), "{encoding:?} {end}");
                }
            }
        }
    }
}

#[test]
fn trims_blanks_and_nuls_of_text() {
    let bytes = element(LAST, b"LO", b" P 1 \0", LITTLE);
    assert_eq!(DataSet::new(&bytes, LITTLE).text(LAST), Some(&b"P 1"[..]));
    let bytes = element(LAST, b"LO", b" \0", LITTLE);
    assert_eq!(DataSet::new(&bytes, LITTLE).text(LAST), None);
}

#[test]
fn trusts_the_tag_more_than_the_representation() {
    for (vr, expected) in [
        (b"UI", Some(&b"P1"[..])),
        (b"UN", Some(&b"P1"[..])),
        (b"UT", Some(&b"P1"[..])),
        (b"OB", None),
        (b"OW", None),
    ] {
        let bytes = element(LAST, vr, b"P1", LITTLE);
        assert_eq!(DataSet::new(&bytes, LITTLE).text(LAST), expected, "{vr:?}");
    }
}

#[test]
fn finds_an_element_that_is_out_of_order() {
    let bytes = [
        element(LAST, b"LO", b"P1", LITTLE),
        element(NAME, b"LO", b"AB", LITTLE),
    ]
    .concat();
    assert_eq!(DataSet::new(&bytes, LITTLE).text(NAME), Some(&b"AB"[..]));
}

#[test]
fn reads_what_is_unknown_as_implicit_inside() {
    let inner = Encoding::ImplicitLittle;
    let items = undefined(ITEM, b"--", &name("AB", inner), ITEM_END, inner);
    let open = undefined(UNKNOWN, b"UN", &items, SEQUENCE_END, LITTLE);
    let defined = element(UNKNOWN, b"UN", &items, LITTLE);
    for unknown in [open, defined] {
        let bytes = [unknown, element(LAST, b"LO", b"P1", LITTLE)].concat();
        let set = DataSet::new(&bytes, LITTLE);
        assert_eq!(set.check(), Ok(()));
        assert_eq!(names(&set, UNKNOWN), [b"AB".to_vec()]);
        assert_eq!(set.text(LAST), Some(&b"P1"[..]));
    }
}

#[test]
fn jumps_over_encapsulated_fragments() {
    for fragment in [&b"\xFE\xFF\x0D\xE0\0\0\0\0"[..], b"", b"any\0"] {
        let fragments = [
            element(ITEM, b"--", b"", LITTLE),
            element(ITEM, b"--", fragment, LITTLE),
        ]
        .concat();
        let bytes = [
            undefined(PIXEL_DATA, b"OB", &fragments, SEQUENCE_END, LITTLE),
            element(Tag(0xFFFC, 0xFFFC), b"OB", b"\0\0", LITTLE),
        ]
        .concat();
        let set = DataSet::new(&bytes, LITTLE);
        assert_eq!(set.check(), Ok(()));
        assert_eq!(set.elements().count(), 2);
    }
}

#[test]
fn refuses_a_fragment_without_length() {
    let fragment = undefined(ITEM, b"--", b"", ITEM_END, LITTLE);
    let bytes = undefined(PIXEL_DATA, b"OB", &fragment, SEQUENCE_END, LITTLE);
    let check = DataSet::new(&bytes, LITTLE).check();
    assert!(matches!(check, Err(Error::Malformed(_))), "{check:?}");
}

#[test]
fn reads_empty_sequences_and_items() {
    for encoding in ENCODINGS {
        let empty = [
            element(ITEM, b"--", b"", encoding),
            undefined(ITEM, b"--", b"", ITEM_END, encoding),
        ]
        .concat();
        for (items, count) in [(&empty[..], 2), (b"", 0)] {
            for bytes in [
                element(CODES, b"SQ", items, encoding),
                undefined(CODES, b"SQ", items, SEQUENCE_END, encoding),
            ] {
                let set = DataSet::new(&bytes, encoding);
                assert_eq!(set.check(), Ok(()));
                assert_eq!(names(&set, CODES), vec![Vec::<u8>::new(); count]);
            }
        }
    }
}

#[test]
fn an_absent_sequence_has_no_items() {
    assert_eq!(DataSet::new(b"", LITTLE).items(CODES).count(), 0);
    assert_eq!(DataSet::new(b"", LITTLE).check(), Ok(()));
}

#[test]
fn refuses_what_breaks_the_structure() {
    let stray_item = element(ITEM, b"--", b"", LITTLE);
    let no_item = element(CODES, b"SQ", &name("AB", LITTLE), LITTLE);
    let open_text = undefined(LAST, b"UT", b"", SEQUENCE_END, LITTLE);
    let too_long_inside = {
        let mut inner = name("AB", LITTLE);
        inner[6] = 4;
        let item = element(ITEM, b"--", &inner, LITTLE);
        [element(CODES, b"SQ", &item, LITTLE), name("CDEF", LITTLE)].concat()
    };
    for bytes in [stray_item, no_item, open_text, too_long_inside] {
        let check = DataSet::new(&bytes, LITTLE).check();
        assert!(matches!(check, Err(Error::Malformed(_))), "{bytes:?}");
    }
}

#[test]
fn odd_value_representations_have_a_short_length() {
    for vr in [b"  ", b"??", b"--", b"\0\0", b"us", b"U ", b" S", b"RE"] {
        let odd = [&[0x28, 0, 0x20, 1][..], vr, &[2, 0, 7, 0]].concat();
        let bytes = [odd, name("AB", LITTLE)].concat();
        let set = DataSet::new(&bytes, LITTLE);
        assert_eq!(set.check(), Ok(()), "{vr:?}");
        let element = set.elements().next().expect("one").expect("an element");
        assert_eq!((element.vr(), element.bytes()), (None, &[7, 0][..]));
        assert_eq!(set.text(NAME), Some(&b"AB"[..]), "{vr:?}");
    }
    // PS3.5 7.1.2: a representation of the future has the long form.
    let future = [&[0x28, 0, 0x20, 1][..], b"ZZ\0\0", &[2, 0, 0, 0, 7, 0]].concat();
    let set = DataSet::new(&future, LITTLE);
    assert_eq!(set.elements().count(), 1);
}

#[test]
fn delimiters_stand_where_they_are_not_needed_and_are_missing_where_they_are() {
    let end = |tag| element(tag, b"--", b"", LITTLE);
    let code = || name("AB", LITTLE);
    let whole = element(ITEM, b"--", &code(), LITTLE);
    let open = || [header(ITEM, b"--", 0xFFFF_FFFF, LITTLE), code()].concat();
    let with_length = |value: &[u8]| element(CODES, b"SQ", value, LITTLE);
    let without = |value: &[u8]| {
        let head = header(CODES, b"SQ", 0xFFFF_FFFF, LITTLE);
        [&head[..], value, &end(SEQUENCE_END)].concat()
    };
    for (items, bytes) in [
        (1, with_length(&[whole.clone(), end(SEQUENCE_END)].concat())),
        (0, with_length(&end(SEQUENCE_END))),
        (1, with_length(&[whole.clone(), end(ITEM_END)].concat())),
        (
            1,
            with_length(&[open(), end(ITEM_END), end(SEQUENCE_END)].concat()),
        ),
        (1, [with_length(&whole), end(SEQUENCE_END)].concat()),
        (
            1,
            with_length(&element(
                ITEM,
                b"--",
                &[code(), end(ITEM_END)].concat(),
                LITTLE,
            )),
        ),
        (1, without(&[whole.clone(), end(ITEM_END)].concat())),
        (1, without(&open())),
        (2, without(&[open(), open()].concat())),
    ] {
        let bytes = [bytes, element(LAST, b"UT", b"LAST", LITTLE)].concat();
        let set = DataSet::new(&bytes, LITTLE);
        assert_eq!(set.check(), Ok(()), "{bytes:02X?}");
        let names: Vec<_> = set
            .items(CODES)
            .map(|item| item.expect("an item").text(NAME).map(<[u8]>::to_vec))
            .collect();
        assert_eq!(names, vec![Some(b"AB".to_vec()); items], "{bytes:02X?}");
        assert_eq!(set.text(LAST), Some(&b"LAST"[..]), "{bytes:02X?}");
    }
}

#[test]
fn the_items_of_an_unknown_element_are_implicit_unless_they_are_explicit() {
    for (inner, vr) in [
        (LITTLE, b"UN"),
        (Encoding::ImplicitLittle, b"UN"),
        (Encoding::ImplicitLittle, b"SQ"),
    ] {
        for length in [0xFFFF_FFFF, name("AB", inner).len() as u32] {
            let mut bytes = header(UNKNOWN, vr, 0xFFFF_FFFF, LITTLE);
            bytes.extend(header(ITEM, b"--", length, LITTLE));
            bytes.extend(name("AB", inner));
            if length == 0xFFFF_FFFF {
                bytes.extend(element(ITEM_END, b"--", b"", LITTLE));
            }
            bytes.extend(element(SEQUENCE_END, b"--", b"", LITTLE));
            let set = DataSet::new(&bytes, LITTLE);
            assert_eq!(set.check(), Ok(()), "{inner:?} {length}");
            let item = set.items(UNKNOWN).next().expect("one").expect("an item");
            assert_eq!(item.text(NAME), Some(&b"AB"[..]), "{inner:?} {length}");
        }
    }
}

#[test]
fn elements_and_items_end_after_the_first_error() {
    let bytes = [name("AB", LITTLE), vec![1, 2, 3]].concat();
    let elements: Vec<_> = DataSet::new(&bytes, LITTLE)
        .elements()
        .map(|element| element.map(|e| e.tag))
        .collect();
    assert_eq!(elements, [Ok(NAME), Err(Error::Truncated)]);
    let bytes = element(UNKNOWN, b"UN", b"\xFE\xFF\0\xE0\x09\0\0\0", LITTLE);
    let items = DataSet::new(&bytes, LITTLE).items(UNKNOWN);
    assert_eq!(
        items.map(|i| i.map(|_| ())).collect::<Vec<_>>(),
        [Err(Error::Truncated)]
    );
}

#[test]
fn refuses_lengths_beyond_the_end_at_once() {
    for encoding in ENCODINGS {
        for (tag, vr) in [(LAST, b"UT"), (CODES, b"SQ"), (PIXEL_DATA, b"OW")] {
            for length in [0xF000_0000, 0xFFFF_FFFE, 401] {
                let bytes = [header(tag, vr, length, encoding), vec![0; 400]].concat();
                let set = DataSet::new(&bytes, encoding);
                assert_eq!(set.check(), Err(Error::Truncated));
                assert!(set.element(tag).is_none());
                let item = [header(ITEM, b"--", length, encoding), vec![0; 400]].concat();
                let bytes = undefined(CODES, b"SQ", &item, SEQUENCE_END, encoding);
                assert!(DataSet::new(&bytes, encoding).check().is_err());
            }
        }
    }
}

fn nested_open(levels: usize, encoding: Encoding) -> Vec<u8> {
    let level = [
        header(CODES, b"SQ", UNDEFINED, encoding),
        header(ITEM, b"--", UNDEFINED, encoding),
    ]
    .concat();
    let end = [
        header(ITEM_END, b"--", 0, encoding),
        header(SEQUENCE_END, b"--", 0, encoding),
    ]
    .concat();
    [level.repeat(levels), end.repeat(levels)].concat()
}

fn nested_defined(levels: usize, encoding: Encoding) -> Vec<u8> {
    let size = header(CODES, b"SQ", 0, encoding).len() + 8;
    let mut out = Vec::new();
    for level in (0..levels).rev() {
        let inside = u32::try_from(level * size).expect("short");
        out.extend(header(CODES, b"SQ", inside + 8, encoding));
        out.extend(header(ITEM, b"--", inside, encoding));
    }
    out
}

fn depth_of(set: &DataSet<'_>) -> usize {
    let mut set = *set;
    let mut depth = 0;
    while let Some(Ok(item)) = set.items(CODES).next() {
        set = item;
        depth += 1;
    }
    depth
}

#[test]
fn reads_sequences_as_deep_as_allowed_and_no_deeper() {
    for encoding in ENCODINGS {
        for nested in [nested_open, nested_defined] {
            let bytes = nested(MAX_DEPTH, encoding);
            let set = DataSet::new(&bytes, encoding);
            assert_eq!(set.check(), Ok(()));
            assert_eq!(depth_of(&set), MAX_DEPTH);
            let bytes = nested(MAX_DEPTH + 1, encoding);
            assert_eq!(DataSet::new(&bytes, encoding).check(), Err(Error::TooDeep));
        }
    }
}

#[test]
fn refuses_a_hundred_thousand_nested_sequences_on_a_small_stack() {
    on_a_small_stack(|| {
        for encoding in ENCODINGS {
            for nested in [nested_open, nested_defined] {
                let bytes = nested(100_000, encoding);
                let set = DataSet::new(&bytes, encoding);
                assert_eq!(set.check(), Err(Error::TooDeep));
                assert!(depth_of(&set) <= MAX_DEPTH);
                assert!(set.text(LAST).is_none());
            }
        }
        let inside = nested_open(100_000, Encoding::ImplicitLittle);
        let unknown = [header(UNKNOWN, b"UN", UNDEFINED, LITTLE), {
            element(ITEM, b"--", &inside, LITTLE)
        }]
        .concat();
        assert!(DataSet::new(&unknown, LITTLE).check().is_err());
    });
}
