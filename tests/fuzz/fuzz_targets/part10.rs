//! A Part 10 file from anywhere, as a whole and while it arrives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xcwado::dicom::part10::{File, Identity};

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = File::open(data) {
        assert!(file.data_set().elements().all(|element| element.is_ok()));
    }
    let mut known = None;
    for end in (0..data.len()).step_by(1 + data.len() / 64) {
        if let Ok(Some(read)) = Identity::read(&data[..end]) {
            assert_eq!(*known.get_or_insert_with(|| read.clone()), read);
        }
    }
});
