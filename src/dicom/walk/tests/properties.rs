use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::dicom::part10::File;

/// Files that are whole as data sets, however wrong otherwise.
fn cases() -> Vec<PathBuf> {
    let shared = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/instances");
    let folders = [shared.join("arguable"), shared];
    let files = folders.iter().flat_map(|folder| {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    });
    files
        .filter(|path| path.extension().is_some_and(|end| end == "dcm"))
        .collect()
}

#[test]
fn odd_files_from_the_field_are_whole_and_their_cuts_are_not() {
    for path in cases() {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let bytes = std::fs::read(&path).expect("readable");
        let expected = match &*name {
            "zeros-64-explicit.dcm" => zeros(64),
            "zeros-512-deflated.dcm" => zeros(512),
            "zeros-2-implicit.dcm" => zeros(2),
            _ => NOTHING,
        };
        for size in [bytes.len(), 1, 13] {
            let result = in_chunks(&bytes, size);
            let padding = result.map(|tail| tail.zeros % 2);
            match &*name {
                // The stream may end on an odd byte.
                "zeros-512-deflated.dcm" => assert_eq!(padding.map(|_| ()), Ok(())),
                _ => assert_eq!(result, Ok(expected), "{name} by {size}"),
            }
        }
        let last = bytes.iter().rposition(|byte| *byte != 0).expect("bytes");
        let is_lenient = name.starts_with("no-delimiter");
        let cut = walked(&bytes[..last - 1]);
        assert!(cut.is_err() || is_lenient, "{name}: {cut:?}");
    }
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let syntax = proptest::sample::select(SYNTAXES.to_vec());
    let piece = (0_u8..8, proptest::collection::vec(any::<u8>(), 0..40));
    (syntax, proptest::collection::vec(piece, 0..12)).prop_map(|(syntax, pieces)| {
        let mut set = Set::new(syntax).named();
        for (at, (kind, bytes)) in (0_u32..).zip(pieces) {
            let tag = 0x0029_1000 + at;
            set = match kind {
                0 => set.nested(),
                1 => set.element(tag, b"OB", &bytes),
                2 => set.head(tag, b"SQ", UNDEFINED).end(SEQUENCE_END),
                3 => set.element(tag, b"LO", &bytes),
                4 => set.pixels(),
                5 => set.element(tag, b"SQ", &[]),
                6 => set.described(&bytes[..bytes.len().min(12)]),
                _ => set.raw(&bytes),
            };
        }
        set.file()
    })
}

proptest! {
    #[test]
    fn chunks_of_any_size_give_the_same_result(
        file in any_file(),
        cut in any::<prop::sample::Index>(),
        sizes in proptest::collection::vec(1_usize..50, 1..20),
    ) {
        let bytes = &file[..cut.index(file.len() + 1)];
        let mut walk = Walk::new();
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, behind) = rest.split_at((*size).min(rest.len()));
            let _ = walk.push(chunk);
            rest = behind;
        }
        prop_assert_eq!(walk.finish(), walked(bytes));
    }

    #[test]
    fn values_that_are_passed_over_give_the_same_result(file in any_file()) {
        let mut walk = Walk::new();
        let mut at = 0;
        while at < file.len() {
            let unread = usize::try_from(walk.unread()).expect("short");
            let unread = unread.min(file.len() - at);
            walk.pass_over(unread as u64);
            at += unread;
            let end = (at + 10).min(file.len());
            let _ = walk.push(&file[at..end]);
            at = end;
        }
        prop_assert_eq!(walk.finish(), walked(&file));
    }

    #[test]
    fn what_can_be_opened_is_whole(file in any_file()) {
        if File::open(&file).is_ok() {
            let result = walked(&file);
            let is_whole = matches!(result, Ok(_) | Err(NotWhole::NoPixelData));
            prop_assert!(is_whole, "{:?}", result);
        }
    }

    #[test]
    fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let set = Set::new(EXPLICIT).named();
        let _ = walked(&set.file_of(&[set.bytes.clone(), bytes.clone()].concat()));
        let _ = walked(&Set::new(DEFLATED).file_of(&bytes));
        let _ = walked(&bytes);
    }
}
