//! A data set from anywhere, written as JSON and in Explicit VR Little Endian: what is written can
//! be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xcwado::dicom::dataset::DataSet;
use xcwado::dicom::part10::File;
use xcwado::dicom::{Encoding, explicit, json};

fuzz_target!(|data: &[u8]| {
    let Ok(file) = File::open(data) else { return };
    let set = file.data_set();
    let mut text = String::new();
    if json::write(&set, json::Beside::default(), "http://h/", &mut text).is_ok() {
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(read.is_object());
    }
    let mut bytes = Vec::new();
    if explicit::write(&set, &mut false, &mut bytes).is_ok() {
        let again = DataSet::new(&bytes, Encoding::ExplicitLittle);
        again.check().expect("a data set");
    }
});
