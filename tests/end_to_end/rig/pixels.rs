//! Instances with chosen attributes and pixels, written element by element.

use crate::rig::study::{CT, Instance, Study, at, long, part10, text};

/// A study of one series with these instances: transfer syntax, and the elements after the UIDs.
pub(crate) fn study(instances: &[(&str, Vec<u8>)]) -> Study {
    let mut study = Study::new(1).with(0, at(10));
    let (study_uid, series_uid) = (study.uid.clone(), study.series[0].uid.clone());
    for (number, (syntax, rest)) in instances.iter().enumerate() {
        let uid = format!("{series_uid}.{}", number + 1);
        let set = [
            text(0x0008_0005, b"CS", "ISO_IR 100"),
            text(0x0008_0016, b"UI", CT),
            text(0x0008_0018, b"UI", &uid),
            long_text(0x0010_0010, b"PN", b"M\xFCller^Eva "),
            text(0x0020_000D, b"UI", &study_uid),
            text(0x0020_000E, b"UI", &series_uid),
            rest.clone(),
        ];
        study.series[0].instances.push(Instance {
            study: study_uid.clone(),
            series: series_uid.clone(),
            transfer_syntax: (*syntax).to_owned(),
            bytes: part10(CT, &uid, syntax, &set.concat()).into(),
            uid,
        });
    }
    study
}

fn long_text(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = text(tag, vr, "");
    let length = bytes.len();
    bytes[length - 2..].copy_from_slice(&(value.len() as u16).to_le_bytes());
    bytes.extend(value);
    bytes
}

pub(crate) fn number(tag: u32, value: u16) -> Vec<u8> {
    long_text(tag, b"US", &value.to_le_bytes())
}

/// The attributes of an image of 4 by 2 pixels.
pub(crate) fn image(frames: usize, bits: u16) -> Vec<u8> {
    [
        number(0x0028_0002, 1),
        text(0x0028_0004, b"CS", "MONOCHROME2"),
        text(0x0028_0008, b"IS", &frames.to_string()),
        number(0x0028_0010, 2),
        number(0x0028_0011, 4),
        number(0x0028_0100, bits),
        number(0x0028_0101, bits),
        number(0x0028_0103, 0),
    ]
    .concat()
}

pub(crate) fn native(frames: usize, bits: u16, pixels: &[u8]) -> Vec<u8> {
    [image(frames, bits), long(0x7FE0_0010, b"OW", pixels)].concat()
}

/// An image whose frames are encapsulated: an offset table, and fragments.
pub(crate) fn encapsulated(frames: usize, table: &[u32], fragments: &[&[u8]]) -> Vec<u8> {
    [image(frames, 8), pixel_data(table, fragments)].concat()
}

/// Encapsulated pixel data: an offset table, and fragments.
pub(crate) fn pixel_data(table: &[u32], fragments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ];
    let table: Vec<u8> = table
        .iter()
        .flat_map(|offset| offset.to_le_bytes())
        .collect();
    for item in std::iter::once(&table[..]).chain(fragments.iter().copied()) {
        bytes.extend([0xFE, 0xFF, 0, 0xE0]);
        bytes.extend((item.len() as u32).to_le_bytes());
        bytes.extend(item);
    }
    bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    bytes
}
