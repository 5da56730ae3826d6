//! The text in a picture of an instance (PS3.18 8.3.5.1.1).

use dicom_core::Tag;

use super::skim::Skimmed;
use crate::dicom::CharacterSet;
use crate::dicom::dataset::DataSet;

/// The lines about patient and study.
#[must_use]
pub fn patient(skimmed: &Skimmed) -> Vec<String> {
    let set = skimmed.data_set();
    let lines = [
        name(&set),
        line(&set, &[("ID ", Tag(0x0010, 0x0020), "")]),
        line(
            &set,
            &[
                ("born ", Tag(0x0010, 0x0030), ""),
                ("", Tag(0x0010, 0x0040), ""),
            ],
        ),
        line(
            &set,
            &[
                ("", Tag(0x0008, 0x0080), ""),
                ("", Tag(0x0008, 0x0020), ""),
                ("", Tag(0x0008, 0x1030), ""),
            ],
        ),
    ];
    lines.into_iter().flatten().collect()
}

/// The lines about the series and its technique.
#[must_use]
pub fn technique(skimmed: &Skimmed) -> Vec<String> {
    let set = skimmed.data_set();
    let lines = [
        line(
            &set,
            &[
                ("", Tag(0x0008, 0x0060), ""),
                ("", Tag(0x0018, 0x0015), ""),
                ("", Tag(0x0008, 0x103E), ""),
                ("series ", Tag(0x0020, 0x0011), ""),
                ("image ", Tag(0x0020, 0x0013), ""),
            ],
        ),
        line(
            &set,
            &[
                ("", Tag(0x0018, 0x0060), " kV"),
                ("", Tag(0x0018, 0x1151), " mA"),
                ("", Tag(0x0018, 0x1152), " mAs"),
                ("TR ", Tag(0x0018, 0x0080), " ms"),
                ("TE ", Tag(0x0018, 0x0081), " ms"),
                ("slice ", Tag(0x0018, 0x0050), " mm"),
                ("at ", Tag(0x0020, 0x1041), " mm"),
            ],
        ),
    ];
    lines.into_iter().flatten().collect()
}

/// The groups of a name (PS3.5 6.2.1) that are not empty, with blanks between their components.
fn name(set: &DataSet<'_>) -> Option<String> {
    let name = value(set, Tag(0x0010, 0x0010))?;
    let groups = name.split('=').map(|group| {
        let components = group.split('^').map(str::trim);
        let present: Vec<_> = components
            .filter(|component| !component.is_empty())
            .collect();
        present.join(" ")
    });
    let present: Vec<_> = groups.filter(|group| !group.is_empty()).collect();
    (!present.is_empty()).then(|| present.join("  "))
}

/// A line of the attributes that are present, each with its prefix and suffix.
fn line(set: &DataSet<'_>, attributes: &[(&str, Tag, &str)]) -> Option<String> {
    let present = attributes.iter().filter_map(|(before, tag, behind)| {
        let value = value(set, *tag)?;
        Some(format!("{before}{value}{behind}"))
    });
    let pieces: Vec<_> = present.collect();
    (!pieces.is_empty()).then(|| pieces.join("  "))
}

/// The text of an attribute, unless it is empty.
fn value(set: &DataSet<'_>, tag: Tag) -> Option<String> {
    let text = CharacterSet::of(set).decode(set.text(tag)?);
    (!text.is_empty()).then(|| text.into())
}
