use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::*;

const ENCODINGS: [&str; 4] = [
    TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN,
    TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN,
    TransferSyntax::EXPLICIT_VR_BIG_ENDIAN,
    TransferSyntax::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
];
const ROWS: Tag = Tag(0x0028, 0x0010);

fn element(tag: Tag, vr: &[u8; 2], value: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(0);
    }
    let length = u16::try_from(value.len()).expect("short");
    let mut out = Vec::new();
    for part in [tag.group(), tag.element()] {
        out.extend(match encoding {
            Encoding::ExplicitBig => part.to_be_bytes(),
            Encoding::ImplicitLittle | Encoding::ExplicitLittle | Encoding::Deflated => {
                part.to_le_bytes()
            }
        });
    }
    match encoding {
        Encoding::ImplicitLittle => out.extend(u32::from(length).to_le_bytes()),
        Encoding::ExplicitLittle | Encoding::Deflated => {
            out.extend(vr);
            out.extend(length.to_le_bytes());
        }
        Encoding::ExplicitBig => {
            out.extend(vr);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(value);
    out
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// A file whose data set is `bytes` as they are.
fn file_of(syntax: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0; PREAMBLE];
    file.extend(b"DICM");
    for (tag, uid) in [(Tag(2, 3), "1.2.3.4.5"), (TRANSFER_SYNTAX_UID, syntax)] {
        file.extend(element(
            tag,
            b"UI",
            uid.as_bytes(),
            Encoding::ExplicitLittle,
        ));
    }
    file.extend(bytes);
    file
}

fn data_set(encoding: Encoding) -> Vec<u8> {
    [
        (SOP_CLASS_UID, b"UI", "1.2.840.10008.5.1.4.1.1.2"),
        (SOP_INSTANCE_UID, b"UI", "1.2.3.4.5"),
        (Tag(0x0010, 0x0020), b"LO", "P1"),
        (STUDY_INSTANCE_UID, b"UI", "1.2.3"),
        (SERIES_INSTANCE_UID, b"UI", "1.2.3.4"),
        (ROWS, b"US", "\x08\x01"),
    ]
    .into_iter()
    .flat_map(|(tag, vr, text)| element(tag, vr, text.as_bytes(), encoding))
    .collect()
}

fn whole_file(syntax: &str) -> Vec<u8> {
    let encoding = syntax_of(syntax).encoding();
    let set = data_set(encoding);
    if encoding == Encoding::Deflated {
        file_of(syntax, &deflate(&set))
    } else {
        file_of(syntax, &set)
    }
}

fn syntax_of(uid: &str) -> TransferSyntax {
    TransferSyntax::parse(uid).expect("a UID")
}

fn identity(syntax: &str) -> Identity {
    Identity {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").expect("a UID"),
        sop_instance: SopInstanceUid::parse("1.2.3.4.5").expect("a UID"),
        study: StudyInstanceUid::parse("1.2.3").expect("a UID"),
        series: SeriesInstanceUid::parse("1.2.3.4").expect("a UID"),
        transfer_syntax: syntax_of(syntax),
        patient: super::super::PatientId::new("P1", None)
            .into_iter()
            .collect::<Vec<_>>()
            .into(),
    }
}

#[test]
fn opens_files_in_every_encoding() {
    for syntax in ENCODINGS {
        let bytes = whole_file(syntax);
        let file = File::open(&bytes).expect("a file");
        let set = file.data_set();
        assert_eq!(set.text(STUDY_INSTANCE_UID), Some(&b"1.2.3"[..]));
        assert_eq!(set.elements().count(), 6);
    }
}

#[test]
fn opens_nothing_that_was_cut_off_inside_an_element() {
    for syntax in ENCODINGS {
        let bytes = whole_file(syntax);
        let encoding = syntax_of(syntax).encoding();
        let start = file_of(syntax, b"").len();
        let boundaries: Vec<usize> = DataSet::new(&data_set(encoding), encoding)
            .elements()
            .scan(start, |at, element| {
                let size = 8 + element.expect("an element").bytes().len();
                *at += size;
                Some(*at)
            })
            .collect();
        for end in 0..bytes.len() {
            let opened = File::open(&bytes[..end]).map(|file| file.data_set().elements().count());
            match boundaries.iter().position(|at| *at == end) {
                Some(at) if encoding != Encoding::Deflated => assert_eq!(opened, Ok(at + 1)),
                Some(_) | None => assert!(opened.is_err(), "{syntax} {end}"),
            }
        }
    }
}

#[test]
fn identifies_an_instance_as_soon_as_it_can_and_for_good() {
    for syntax in ENCODINGS {
        let mut bytes = whole_file(syntax);
        let whole = bytes.len();
        bytes.extend([0xFF; 40]);
        let mut known = false;
        for end in 0..bytes.len() {
            match Identity::read(&bytes[..end]).expect("no error in a good file") {
                Some(read) => {
                    assert_eq!(read, identity(syntax), "{syntax} {end}");
                    known = true;
                }
                None => assert!(!known && end < whole, "{syntax} {end}"),
            }
        }
        assert!(known, "{syntax}");
    }
}

#[test]
fn refuses_what_has_no_file_meta_information() {
    for bytes in [&[0; 132][..], b"DICM", &[b'{'; 4000]] {
        assert!(File::open(bytes).is_err());
    }
    let mut bytes = vec![0; PREAMBLE];
    bytes.extend(b"DIC");
    assert_eq!(Identity::read(&bytes), Ok(None));
    bytes.extend(b"X");
    assert_eq!(Identity::read(&bytes), Err(Error::NotPart10));
}

#[test]
fn the_preamble_may_be_missing_and_the_file_meta_information_implicit() {
    for syntax in ENCODINGS {
        let file = whole_file(syntax);
        let plain = element(
            Tag(0x0002, 0x0010),
            b"UI",
            syntax.as_bytes(),
            Encoding::ImplicitLittle,
        );
        let start = Meta::read(&file).expect("a file").end;
        let head = [&[0; PREAMBLE][..], b"DICM"].concat();
        let implicit = [&head[..], &plain, &file[start..]].concat();
        let forms = [&file[PREAMBLE..], &file[PREAMBLE + 4..], &implicit];
        for bytes in forms.into_iter().filter(|bytes| bytes.len() >= START) {
            let read = Identity::read(bytes).expect("a good file");
            assert_eq!(read, Some(identity(syntax)), "{syntax}");
            assert!(File::open(bytes).is_ok(), "{syntax}");
        }
    }
}

#[test]
fn bytes_behind_the_data_set_are_not_part_of_it() {
    for syntax in ENCODINGS {
        let encoding = syntax_of(syntax).encoding();
        for behind in [&b"\r\n"[..], &[0; 7], &[0; 64], &[0; 513]] {
            let set = [&data_set(encoding)[..], behind].concat();
            let is_deflated = encoding == Encoding::Deflated;
            let bytes = if is_deflated {
                file_of(syntax, &deflate(&set))
            } else {
                file_of(syntax, &set)
            };
            let file = File::open(&bytes).expect("a file");
            assert_eq!(file.data_set().elements().count(), 6, "{syntax} {behind:?}");
        }
    }
    for garbage in [&[0xFF; 12][..], b"--boundary--", &[0x10; 5]] {
        let bytes = [&whole_file(ENCODINGS[1])[..], garbage].concat();
        assert!(File::open(&bytes).is_err(), "{garbage:?}");
    }
}

#[test]
fn identifies_an_instance_whose_elements_are_not_sorted() {
    let encoding = Encoding::ExplicitLittle;
    let set = data_set(encoding);
    let rows = set.len() - 10;
    let unsorted = [&set[rows..], &set[..rows]].concat();
    let read = Identity::read(&file_of(ENCODINGS[1], &unsorted));
    assert_eq!(read, Ok(Some(identity(ENCODINGS[1]))));
}

#[test]
fn a_deflated_data_set_ends_where_its_stream_ends() {
    let bytes = [whole_file(ENCODINGS[3]), vec![0]].concat();
    // PS3.5 A.5: a null byte pads the stream to an even length.
    assert!(File::open(&bytes).is_ok());
}

#[test]
fn refuses_a_file_without_transfer_syntax() {
    for syntax in ["", "no uid"] {
        let bytes = file_of(syntax, &data_set(Encoding::ExplicitLittle));
        assert_eq!(File::open(&bytes).map(|_| ()), Err(Error::NoTransferSyntax));
        assert_eq!(Identity::read(&bytes), Err(Error::NoTransferSyntax));
    }
}

#[test]
fn refuses_a_damaged_deflated_data_set() {
    let bytes = file_of(ENCODINGS[3], &[0xFF; 64]);
    assert_eq!(File::open(&bytes).map(|_| ()), Err(Error::Deflate));
    assert_eq!(Identity::read(&bytes), Err(Error::Deflate));
}

#[test]
fn inflates_no_more_than_the_limits() {
    let zeros = vec![0; MAX_FILE + 1];
    let bomb = deflate(&zeros);
    let bytes = file_of(ENCODINGS[3], &bomb);
    assert!(bytes.len() < MAX_FILE / 100);
    assert_eq!(File::open(&bytes).map(|_| ()), Err(Error::TooLarge));
    let (inflated, _) = inflate_up_to(&bomb, MAX_HEAD).expect("a good stream");
    assert_eq!(inflated.len(), MAX_HEAD);
    assert!(inflated.capacity() <= 2 * MAX_HEAD);
    assert_eq!(
        inflate(&deflate(&zeros[..MAX_HEAD - 1]), MAX_HEAD).map(|bytes| bytes.len()),
        Ok(MAX_HEAD - 1)
    );
}

#[test]
fn refuses_a_file_that_is_too_large() {
    assert_eq!(
        File::open(&vec![0; MAX_FILE + 1]).map(|_| ()),
        Err(Error::TooLarge)
    );
}

#[test]
fn refuses_an_instance_that_does_not_say_who_it_is() {
    let encoding = Encoding::ExplicitLittle;
    let set = data_set(encoding);
    let series = set.len() - 10 - 16;
    let without_series = [&set[..series], &set[set.len() - 10..]].concat();
    let pixels = element(Tag(0x7FE0, 0x0010), b"US", b"12", encoding);
    let bytes = file_of(ENCODINGS[1], &[without_series.clone(), pixels].concat());
    assert_eq!(Identity::read(&bytes), Err(Error::Unidentified));
    // It may still follow.
    let bytes = file_of(ENCODINGS[1], &without_series);
    assert_eq!(Identity::read(&bytes), Ok(None));
    let no_uid = element(SERIES_INSTANCE_UID, b"UI", b"../..", encoding);
    let bytes = file_of(ENCODINGS[1], &[&set[..series], &no_uid].concat());
    assert_eq!(Identity::read(&bytes), Err(Error::Unidentified));
}

#[test]
fn does_not_wait_for_an_identity_forever() {
    // (0009,1001) claims more than there will ever be.
    let claim = [
        &[9, 0, 1, 0x10][..],
        b"UN\0\0",
        &0xF000_0000_u32.to_le_bytes(),
    ]
    .concat();
    let mut bytes = file_of(ENCODINGS[1], &claim);
    assert_eq!(Identity::read(&bytes), Ok(None));
    assert_eq!(
        File::open(&bytes).map(|_| ()),
        Err(Error::DataSet(dataset::Error::Truncated))
    );
    bytes.resize(MAX_HEAD - 1, 0);
    assert_eq!(Identity::read(&bytes), Ok(None));
    bytes.resize(MAX_HEAD, 0);
    assert_eq!(Identity::read(&bytes), Err(Error::Unidentified));
}

#[test]
fn what_stands_behind_the_head_does_not_change_the_answer() {
    let size = u32::try_from(MAX_HEAD).expect("small");
    let mut set = [&[8, 0, 1, 0][..], b"UN\0\0", &size.to_le_bytes()].concat();
    set.resize(set.len() + MAX_HEAD, 0);
    set.extend(data_set(Encoding::ExplicitLittle));
    let bytes = file_of(ENCODINGS[1], &set);
    for end in [MAX_HEAD, MAX_HEAD + 100, bytes.len()] {
        assert_eq!(Identity::read(&bytes[..end]), Err(Error::Unidentified));
    }
}

proptest! {
    #[test]
    fn never_panics_on_arbitrary_bytes(
        syntax in 0..4_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let file = file_of(ENCODINGS[syntax], &bytes);
        for bytes in [&bytes[..], &file[..]] {
            let _opened = File::open(bytes).map(|file| file.data_set().elements().count());
            let _identity = Identity::read(bytes);
        }
    }

    #[test]
    fn never_panics_on_a_damaged_file(
        syntax in 0..4_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = whole_file(ENCODINGS[syntax]);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _opened = File::open(&bytes).map(|file| file.data_set().elements().count());
        let whole = Identity::read(&bytes);
        let mut known = None;
        for end in 0..=bytes.len() {
            if let Ok(Some(read)) = Identity::read(&bytes[..end]) {
                prop_assert!(known.get_or_insert_with(|| read.clone()) == &read);
            }
        }
        if let Ok(Some(whole)) = whole {
            prop_assert_eq!(known, Some(whole));
        }
    }
}
