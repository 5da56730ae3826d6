//! A Key Object Selection document from anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = xcwado::manifest::kos::read(data);
});
