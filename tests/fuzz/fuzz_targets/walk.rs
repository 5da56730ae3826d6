//! A Part 10 file from anywhere, walked over in chunks of any size: the chunks do not matter, and what can
//! be opened is whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xcwado::dicom::part10::File;
use xcwado::dicom::walk::{NotWhole, Tail, Walk};

// The first byte says how the file is cut.
fuzz_target!(|data: &[u8]| {
    let Some((size, file)) = data.split_first() else {
        return;
    };
    let whole = walked(file, file.len());
    assert_eq!(walked(file, usize::from(*size)), whole);
    assert_eq!(seeking(file, usize::from(*size)), whole);
    if File::open(file).is_ok() {
        assert!(matches!(whole, Ok(_) | Err(NotWhole::NoPixelData)), "{whole:?}");
    }
});

fn walked(file: &[u8], size: usize) -> Result<Tail, NotWhole> {
    let mut walk = Walk::new();
    for chunk in file.chunks(size.max(1)) {
        if let Err(error) = walk.push(chunk) {
            assert_eq!(walk.finish(), Err(error));
        }
    }
    walk.finish()
}

/// As a file is walked over: without reading values.
fn seeking(mut file: &[u8], size: usize) -> Result<Tail, NotWhole> {
    let mut walk = Walk::new();
    while !file.is_empty() {
        let unread = walk.unread().min(file.len() as u64);
        walk.pass_over(unread);
        file = &file[unread as usize..];
        let (chunk, rest) = file.split_at(size.max(1).min(file.len()));
        let _ = walk.push(chunk);
        file = rest;
    }
    walk.finish()
}
