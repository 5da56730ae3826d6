//! A made-up study: every UID and byte follows from its shape, so that no server has to store it.

pub(crate) mod dicom;
pub(crate) mod manifest;

use crate::study::dicom::Dataset;

/// How large a study is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) series: usize,
    /// In each series.
    pub(crate) instances: usize,
    /// Of pixel data in each instance.
    pub(crate) bytes: usize,
}

pub(crate) const STUDY: &str = "1.3.6.1.4.1.99999.2.7.1";
pub(crate) const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";

// All numbers have the same number of digits, so that all instances have the same length.
const FIRST_SERIES: usize = 101;
const FIRST_INSTANCE: usize = 1_000_001;

impl Shape {
    pub(crate) fn count(self) -> usize {
        self.series * self.instances
    }

    /// Of pixel data.
    pub(crate) fn gigabytes(self) -> f64 {
        (self.count() * self.bytes) as f64 / 1e9
    }

    /// As it stands in a path.
    pub(crate) fn name(self) -> String {
        format!("{}x{}x{}", self.series, self.instances, self.bytes)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.split('x').map(|number| number.parse().ok());
        Some(Self {
            series: numbers.next()??,
            instances: numbers.next()??,
            bytes: numbers.next()??,
        })
    }
}

pub(crate) fn series_uid(series: usize) -> String {
    format!("{STUDY}.{}", FIRST_SERIES + series)
}

pub(crate) fn instance_uid(series: usize, instance: usize) -> String {
    format!("{}.{}", series_uid(series), FIRST_INSTANCE + instance)
}

/// The path of the study below a root.
pub(crate) fn path(root: &str) -> String {
    format!("{root}/studies/{STUDY}")
}

pub(crate) fn series_path(root: &str, series: usize) -> String {
    format!("{}/series/{}", path(root), series_uid(series))
}

pub(crate) fn instance_path(root: &str, series: usize, instance: usize) -> String {
    let uid = instance_uid(series, instance);
    format!("{}/instances/{uid}", series_path(root, series))
}

/// The number of a series from its UID.
pub(crate) fn series_number(uid: &str) -> Option<usize> {
    let (parent, last) = uid.rsplit_once('.')?;
    let number: usize = last.parse().ok()?;
    (parent == STUDY).then(|| number.checked_sub(FIRST_SERIES))?
}

/// The number of an instance from its UID.
pub(crate) fn instance_number(uid: &str) -> Option<usize> {
    uid.rsplit_once('.')?
        .1
        .parse::<usize>()
        .ok()?
        .checked_sub(FIRST_INSTANCE)
}

/// Everything of an instance up to its pixels, as a CT scanner would write it.
pub(crate) fn head(series: usize, instance: usize, bytes: usize) -> Vec<u8> {
    let uid = instance_uid(series, instance);
    let position = format!("-120\\-120\\{:08.3}", instance as f64 * 0.625);
    let rows = u16::try_from(bytes / 1024).expect("at most 65,535 rows");
    Dataset::new()
        .text((0x0008, 0x0005), "CS", "ISO_IR 100")
        .text((0x0008, 0x0008), "CS", "ORIGINAL\\PRIMARY\\AXIAL")
        .text((0x0008, 0x0016), "UI", CT_IMAGE_STORAGE)
        .text((0x0008, 0x0018), "UI", &uid)
        .text((0x0008, 0x0020), "DA", "20260102")
        .text((0x0008, 0x0030), "TM", "101112")
        .text((0x0008, 0x0050), "SH", "A0001")
        .text((0x0008, 0x0060), "CS", "CT")
        .text((0x0008, 0x0070), "LO", "Example")
        .text((0x0008, 0x1030), "LO", "CT of nobody's chest")
        .text((0x0008, 0x103E), "LO", "Thin slices")
        .text((0x0010, 0x0010), "PN", "Nobody^Body")
        .text((0x0010, 0x0020), "LO", "P0001")
        .text((0x0018, 0x0050), "DS", "0.625")
        .text((0x0018, 0x0060), "DS", "120")
        .text((0x0018, 0x1030), "LO", "Chest thin")
        .text((0x0018, 0x1151), "IS", "240")
        .text((0x0018, 0x1210), "SH", "STANDARD")
        .text((0x0020, 0x000D), "UI", STUDY)
        .text((0x0020, 0x000E), "UI", &series_uid(series))
        .text((0x0020, 0x0011), "IS", &(series + 1).to_string())
        .text((0x0020, 0x0013), "IS", &format!("{:06}", instance + 1))
        .text((0x0020, 0x0032), "DS", &position)
        .text((0x0020, 0x0037), "DS", "1\\0\\0\\0\\1\\0")
        .text((0x0020, 0x4000), "LT", &"x".repeat(COMMENT))
        .unsigned((0x0028, 0x0002), 1)
        .text((0x0028, 0x0004), "CS", "MONOCHROME2")
        .unsigned((0x0028, 0x0010), rows)
        .unsigned((0x0028, 0x0011), 512)
        .unsigned((0x0028, 0x0100), 16)
        .unsigned((0x0028, 0x0101), 12)
        .unsigned((0x0028, 0x0102), 11)
        .unsigned((0x0028, 0x0103), 0)
        .text((0x0028, 0x1052), "DS", "-1024")
        .text((0x0028, 0x1053), "DS", "1")
        .announce((0x7FE0, 0x0010), "OW", bytes)
        .into_part10(CT_IMAGE_STORAGE, &uid)
}

/// With so many bytes of a comment, metadata as JSON is as large as that of a real instance: 6 KB.
const COMMENT: usize = 4400;

/// The pixels of all instances: 12 bits of noise in 16.
pub(crate) fn pixels(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut pixels = Vec::with_capacity(bytes);
    while pixels.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        pixels.extend((state & 0x0FFF_0FFF_0FFF_0FFF).to_le_bytes());
    }
    pixels.truncate(bytes);
    pixels
}
