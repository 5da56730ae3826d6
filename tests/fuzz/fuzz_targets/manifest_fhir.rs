//! Any bytes as a FHIR manifest, and as a manifest in any form (DICOM JSON, a FHIR Binary): an answer
//! or an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = xcwado::manifest::fhir::read(data);
    let _ = xcwado::manifest::read(data);
});
