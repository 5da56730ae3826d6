use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use proptest::prelude::*;

use super::*;
use crate::dicom::TransferSyntax;
use crate::dicom::part10::File;

/// Looks into everything that can be reached.
fn explore(set: &DataSet<'_>) -> usize {
    set.elements()
        .map_while(Result::ok)
        .map(|element| {
            let _text = element.text();
            let _ascii = element.ascii();
            let items = element.items().map_while(Result::ok);
            1 + items.map(|item| explore(&item)).sum::<usize>()
        })
        .sum()
}

/// Whether what was checked holds no surprise.
fn is_sound(set: &DataSet<'_>) -> bool {
    set.elements().all(|element| {
        let Ok(element) = element else { return false };
        let mut items = element.items();
        element.vr() != Some(VR::SQ) || items.all(|item| item.is_ok_and(|item| is_sound(&item)))
    })
}

/// Bytes that look like data sets for a while.
fn almost_a_data_set() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        (0..3_usize, 0..6_usize, 0..40_u32).prop_map(|(encoding, kind, length)| {
            let encoding = ENCODINGS[encoding];
            let length = if length < 10 { UNDEFINED } else { length - 10 };
            match kind {
                0 => header(CODES, b"SQ", length, encoding),
                1 => header(ITEM, b"--", length, encoding),
                2 => header(ITEM_END, b"--", 0, encoding),
                3 => header(SEQUENCE_END, b"--", 0, encoding),
                4 => header(UNKNOWN, b"UN", length, encoding),
                _ => name("AB", encoding),
            }
        }),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A data set as generated, and as another implementation writes it.
fn object() -> impl Strategy<Value = InMemDicomObject> {
    let leaf = prop::collection::btree_map(0..4_usize, "[A-Z0-9 ]{0,12}", 0..4).prop_map(object_of);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let sequences = prop::collection::vec(prop::collection::vec(inner, 0..3), 0..3);
        let texts = prop::collection::btree_map(0..4_usize, "[A-Z0-9 ]{0,12}", 0..4);
        (texts, sequences).prop_map(|(values, sequences)| {
            let mut object = object_of(values);
            let tags = [CODES, Tag(0x0008, 0x1199), Tag(0x0040, 0xA730)];
            for (tag, items) in tags.into_iter().zip(sequences) {
                let items = DataSetSequence::from(items);
                object.put(DataElement::new(tag, VR::SQ, items));
            }
            object
        })
    })
}

fn object_of(values: std::collections::BTreeMap<usize, String>) -> InMemDicomObject {
    let kinds = [
        (NAME, VR::LO),
        (Tag(0x0008, 0x0100), VR::SH),
        (Tag(0x0040, 0xA160), VR::UT),
        (Tag(0x0010, 0x0010), VR::PN),
    ];
    InMemDicomObject::from_element_iter(values.into_iter().map(|(kind, text)| {
        let (tag, vr) = kinds[kind];
        DataElement::new(tag, vr, PrimitiveValue::from(text))
    }))
}

fn assert_same(object: &InMemDicomObject, set: &DataSet<'_>) {
    let elements: Vec<_> = set
        .elements()
        .map(|element| element.expect("an element"))
        .collect();
    assert_eq!(object.iter().count(), elements.len());
    for (theirs, ours) in object.iter().zip(elements) {
        assert_eq!(theirs.header().tag, ours.tag);
        if let Some(items) = theirs.items() {
            let ours: Vec<_> = ours.items().map(|item| item.expect("an item")).collect();
            assert_eq!(items.len(), ours.len());
            items
                .iter()
                .zip(&ours)
                .for_each(|(theirs, ours)| assert_same(theirs, ours));
        } else {
            let theirs = theirs.to_str().expect("a text");
            let ours = ours.text().unwrap_or_default();
            assert_eq!(theirs.trim_matches([' ', '\0']).as_bytes(), ours);
        }
    }
}

proptest! {
    #[test]
    fn never_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for encoding in ENCODINGS {
            let set = DataSet::new(&bytes, encoding);
            let _checked = set.check();
            explore(&set);
        }
    }

    #[test]
    fn never_panics_on_what_is_almost_a_data_set(bytes in almost_a_data_set()) {
        for encoding in ENCODINGS {
            let set = DataSet::new(&bytes, encoding);
            if set.check().is_ok() {
                prop_assert!(is_sound(&set));
            }
            explore(&set);
        }
    }

    #[test]
    fn reads_what_another_implementation_writes(object in object()) {
        for syntax in [
            TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN,
            TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN,
            TransferSyntax::EXPLICIT_VR_BIG_ENDIAN,
        ] {
            // An empty data set does not make a file.
            let mut object = object.clone();
            object.put(DataElement::new(LAST, VR::LO, PrimitiveValue::from("P1")));
            let meta = FileMetaTableBuilder::new()
                .transfer_syntax(syntax)
                .media_storage_sop_class_uid("1.2")
                .media_storage_sop_instance_uid("1.3")
                .build()
                .expect("a complete table");
            let mut bytes = Vec::new();
            object
                .clone()
                .with_exact_meta(meta)
                .write_all(&mut bytes)
                .expect("memory takes everything");
            let file = File::open(&bytes).expect("a file");
            assert_same(&object, &file.data_set());
        }
    }
}
