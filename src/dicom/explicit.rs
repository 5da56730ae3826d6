//! Writes data sets of any encoding in Explicit VR Little Endian (PS3.5 A.2).

use dicom_core::{Tag, VR};

use super::TransferSyntax;
use super::dataset::{DataSet, Element, Error, has_short_length};
use super::json::{little_endian, vr_of};

const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);
const PREAMBLE: usize = 128;
const MEDIA_STORAGE_SOP_INSTANCE_UID: Tag = Tag(0x0002, 0x0003);
const TRANSFER_SYNTAX_UID: Tag = Tag(0x0002, 0x0010);
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// Writes all elements. `is_signed` resolves representations that an implicit data set leaves open
/// (US or SS); a Pixel Representation (0028,0103) among the elements updates it.
///
/// # Errors
/// Why the data set is malformed.
pub fn write(set: &DataSet<'_>, is_signed: &mut bool, out: &mut Vec<u8>) -> Result<(), Error> {
    for element in set.elements() {
        let element = element?;
        // Group lengths would be wrong, and are retired (PS3.5 7.2).
        if element.tag.element() == 0 {
            continue;
        }
        if element.tag == PIXEL_REPRESENTATION {
            *is_signed = element.bytes().contains(&1);
        }
        write_element(&element, *is_signed, out)?;
    }
    Ok(())
}

/// Writes one element.
///
/// # Errors
/// Why it is malformed.
pub fn write_element(
    element: &Element<'_>,
    is_signed: bool,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if element.is_sequence() {
        return sequence(element, out, |item, out| {
            write(item, &mut { is_signed }, out)
        });
    }
    let vr = vr_of(element, is_signed);
    if element.is_encapsulated() {
        head(element.tag, vr, UNDEFINED, out);
        out.extend_from_slice(element.bytes());
        marker(0xE0DD, 0, out);
        return Ok(());
    }
    let value = little_endian(element);
    let length = u32::try_from(value.len()).map_err(|_long| Error::Truncated)?;
    head(element.tag, vr, length, out);
    out.extend_from_slice(&value);
    Ok(())
}

/// Writes a sequence whose items `write_item` writes.
///
/// # Errors
/// Why the sequence or an item is malformed.
pub fn sequence(
    element: &Element<'_>,
    out: &mut Vec<u8>,
    write_item: impl Fn(&DataSet<'_>, &mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    begin_sequence(element.tag, out);
    for item in element.items() {
        begin_item(out);
        write_item(&item?, out)?;
        end_item(out);
    }
    end_sequence(out);
    Ok(())
}

/// The preamble and the file meta information for the file in Explicit VR Little Endian, with
/// another SOP Instance UID if the instance has one.
///
/// # Errors
/// Why `meta` is malformed.
pub fn file_meta(meta: &DataSet<'_>, instance: Option<&str>) -> Result<Vec<u8>, Error> {
    let mut rest = Vec::new();
    for element in meta.elements() {
        let element = element?;
        if element.tag.element() == 0 {
            continue;
        }
        let vr = vr_of(&element, false);
        let value = match (element.tag, instance) {
            (TRANSFER_SYNTAX_UID, _) => padded(TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN),
            (MEDIA_STORAGE_SOP_INSTANCE_UID, Some(uid)) => padded(uid),
            _ => element.bytes().to_vec(),
        };
        let length = u32::try_from(value.len()).map_err(|_long| Error::Truncated)?;
        head(element.tag, vr, length, &mut rest);
        rest.extend_from_slice(&value);
    }
    let mut out = vec![0; PREAMBLE];
    out.extend_from_slice(b"DICM");
    let length = u32::try_from(rest.len()).map_err(|_long| Error::Truncated)?;
    head(Tag(0x0002, 0x0000), VR::UL, 4, &mut out);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&rest);
    Ok(out)
}

fn padded(uid: &str) -> Vec<u8> {
    let mut uid = uid.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    uid
}

/// Begins a sequence of undefined length.
pub fn begin_sequence(tag: Tag, out: &mut Vec<u8>) {
    head(tag, VR::SQ, UNDEFINED, out);
}

/// Ends a sequence of undefined length.
pub fn end_sequence(out: &mut Vec<u8>) {
    marker(0xE0DD, 0, out);
}

/// Begins an item of undefined length.
pub fn begin_item(out: &mut Vec<u8>) {
    marker(0xE000, UNDEFINED, out);
}

/// Ends an item of undefined length.
pub fn end_item(out: &mut Vec<u8>) {
    marker(0xE00D, 0, out);
}

/// The head of an element (PS3.5 7.1.2). A value too long for its representation is UN (6.2.2).
pub fn head(tag: Tag, vr: VR, length: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    match u16::try_from(length) {
        Ok(short) if has_short_length(vr) => {
            out.extend_from_slice(&vr.to_bytes());
            out.extend_from_slice(&short.to_le_bytes());
        }
        Ok(_) | Err(_) => {
            let vr = if has_short_length(vr) { VR::UN } else { vr };
            out.extend_from_slice(&vr.to_bytes());
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&length.to_le_bytes());
        }
    }
}

/// The head of an item or a delimiter (PS3.5 7.5).
pub(super) fn marker(element: u16, length: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&0xFFFE_u16.to_le_bytes());
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Encoding;

    fn written(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
        let mut out = Vec::new();
        write(&DataSet::new(bytes, encoding), &mut false, &mut out).expect("a data set");
        out
    }

    #[test]
    fn implicit_elements_get_their_representation() {
        // PixelRepresentation 1, then the smallest value, -2, then a sequence with an empty item.
        let mut bytes = vec![0x28, 0, 0x03, 0x01, 2, 0, 0, 0, 1, 0];
        bytes.extend([0x28, 0, 0x06, 0x01, 2, 0, 0, 0, 0xFE, 0xFF]);
        bytes.extend([
            0x40, 0, 0x75, 0x02, 8, 0, 0, 0, 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0,
        ]);
        let mut expected = vec![0x28, 0, 0x03, 0x01, b'U', b'S', 2, 0, 1, 0];
        expected.extend([0x28, 0, 0x06, 0x01, b'S', b'S', 2, 0, 0xFE, 0xFF]);
        expected.extend([
            0x40, 0, 0x75, 0x02, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
        ]);
        expected.extend([0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
        expected.extend([
            0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0,
        ]);
        assert_eq!(written(&bytes, Encoding::ImplicitLittle), expected);
    }

    #[test]
    fn big_endian_numbers_are_turned_round_and_group_lengths_left_out() {
        let mut bytes = vec![0, 8, 0, 0, b'U', b'L', 0, 4, 0, 0, 0, 9];
        bytes.extend([0, 0x28, 0, 0x10, b'U', b'S', 0, 2, 1, 2]);
        bytes.extend([0, 8, 0, 0x60, b'C', b'S', 0, 2, b'C', b'T']);
        let mut expected = vec![0x28, 0, 0x10, 0, b'U', b'S', 2, 0, 2, 1];
        expected.extend([8, 0, 0x60, 0, b'C', b'S', 2, 0, b'C', b'T']);
        assert_eq!(written(&bytes, Encoding::ExplicitBig), expected);
    }

    #[test]
    fn what_is_too_long_for_its_representation_is_unknown() {
        let mut out = Vec::new();
        head(Tag(0x0008, 0x0060), VR::DS, 70_000, &mut out);
        assert_eq!(&out[4..8], b"UN\0\0");
    }
}
