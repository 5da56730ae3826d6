//! Writes a data set in the DICOM JSON model (PS3.18 annex F): text in UTF-8, large binary values
//! as links.

mod bound;
mod representation;
#[cfg(test)]
mod tests;
mod values;

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dicom_core::{Tag, VR};

use super::charset::CharacterSet;
use super::dataset::{DataSet, Element, Error};

pub use bound::most_written;
pub use representation::{implicit_vr, is_binary, little_endian, vr_of, width};

/// Binary values longer than this become links.
pub const MOST_INLINE: usize = 1024;

/// Available Transfer Syntax UID (PS3.18 table 10.6.3-5).
pub const AVAILABLE_TRANSFER_SYNTAX_UID: Tag = Tag(0x0008, 0x3002);
const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);

/// An element of the top level whose value is not in the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    /// Its tag.
    pub tag: Tag,
    /// The value representation, unless it is implicit.
    pub vr: Option<VR>,
}

/// What metadata have that is not in the data set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Elements of the top level whose values are not in the data set.
    pub linked: &'a [Linked],
    /// The Available Transfer Syntax UID (0008,3002), in place of any in the data set.
    pub available: Option<&'a str>,
}

/// An element that is not in the data set, in the order of tags.
#[derive(Debug, Clone, Copy)]
enum Added<'a> {
    Linked(Linked),
    Available(&'a str),
}

impl Added<'_> {
    fn tag(&self) -> Tag {
        match self {
            Self::Linked(linked) => linked.tag,
            Self::Available(_) => AVAILABLE_TRANSFER_SYNTAX_UID,
        }
    }
}

/// Writes data sets.
#[derive(Debug)]
struct Writer<'a> {
    out: &'a mut String,
    /// The prefix of links, before the path of the value.
    link: &'a str,
    /// The path of the current item, with a trailing slash; empty at the top level.
    path: String,
    /// Whether numbers are signed (SS) where the dictionary leaves that open.
    is_signed: bool,
}

/// Writes a data set and what is `beside` it. A link to a large value is `link` and a path: the tags
/// of the enclosing sequences, each with an item number from 1 on, and the tag.
///
/// # Errors
/// Why the data set is malformed.
pub fn write(
    set: &DataSet<'_>,
    beside: Beside<'_>,
    link: &str,
    out: &mut String,
) -> Result<(), Error> {
    let mut writer = Writer {
        out,
        link,
        path: String::new(),
        is_signed: false,
    };
    let linked = beside.linked.iter().copied().map(Added::Linked);
    let available = beside.available.map(Added::Available);
    let mut added: Vec<_> = linked.chain(available).collect();
    added.sort_by_key(Added::tag);
    writer.set(set, CharacterSet::of(set), &added)
}

impl Writer<'_> {
    fn set(
        &mut self,
        set: &DataSet<'_>,
        characters: CharacterSet,
        added: &[Added<'_>],
    ) -> Result<(), Error> {
        self.out.push('{');
        let is_available = |added: &Added<'_>| matches!(added, Added::Available(_));
        let is_replaced = added.iter().any(is_available);
        let mut added = added.iter().peekable();
        let mut is_first = true;
        for element in set.elements() {
            let element = element?;
            // F.2.2: group lengths are left out.
            let is_replaced = is_replaced && element.tag == AVAILABLE_TRANSFER_SYNTAX_UID;
            if element.tag.element() == 0 || is_replaced {
                continue;
            }
            while let Some(added) = added.next_if(|added| added.tag() < element.tag) {
                self.add(*added, &mut is_first);
            }
            if element.tag == PIXEL_REPRESENTATION {
                self.is_signed = element.bytes().contains(&1);
            }
            self.separate(element.tag, &mut is_first);
            self.element(&element, characters)?;
        }
        for added in added {
            self.add(*added, &mut is_first);
        }
        self.out.push('}');
        Ok(())
    }

    fn separate(&mut self, Tag(group, element): Tag, is_first: &mut bool) {
        if !std::mem::take(is_first) {
            self.out.push(',');
        }
        // Writing into a String cannot fail.
        let _ = write!(self.out, "\"{group:04X}{element:04X}\":");
    }

    fn add(&mut self, added: Added<'_>, is_first: &mut bool) {
        self.separate(added.tag(), is_first);
        match added {
            Added::Linked(linked) => {
                let vr = linked.vr.unwrap_or_else(|| implicit_vr(linked.tag, false));
                self.link(linked.tag, vr);
            }
            // A UID needs no escapes.
            Added::Available(uid) => {
                let _ = write!(self.out, "{{\"vr\":\"UI\",\"Value\":[\"{uid}\"]}}");
            }
        }
    }

    fn link(&mut self, Tag(group, element): Tag, vr: VR) {
        let (link, path) = (self.link, &self.path);
        let vr = vr.to_string();
        let _ = write!(
            self.out,
            "{{\"vr\":\"{vr}\",\"BulkDataURI\":\"{link}{path}{group:04X}{element:04X}\"}}"
        );
    }

    fn element(&mut self, element: &Element<'_>, characters: CharacterSet) -> Result<(), Error> {
        if element.is_sequence() {
            return self.sequence(element, characters);
        }
        let vr = vr_of(element, self.is_signed);
        let bytes = element.bytes();
        let is_binary = is_binary(vr);
        if element.is_encapsulated() || (is_binary && bytes.len() > MOST_INLINE) {
            self.link(element.tag, vr);
            return Ok(());
        }
        let _ = write!(self.out, "{{\"vr\":\"{vr}\"", vr = vr.to_string());
        if element.tag == SPECIFIC_CHARACTER_SET {
            // F.2: JSON is UTF-8.
            self.out.push_str(",\"Value\":[\"ISO_IR 192\"]");
        } else if is_binary {
            if !bytes.is_empty() {
                self.out.push_str(",\"InlineBinary\":\"");
                let bytes = little_endian(element);
                BASE64_STANDARD.encode_string(&bytes, self.out);
                self.out.push('"');
            }
        } else {
            values::write(self.out, vr, element, characters);
        }
        self.out.push('}');
        Ok(())
    }

    fn sequence(&mut self, element: &Element<'_>, characters: CharacterSet) -> Result<(), Error> {
        self.out.push_str("{\"vr\":\"SQ\"");
        let above = self.path.len();
        let is_signed = self.is_signed;
        let Tag(group, tag) = element.tag;
        for (index, item) in element.items().enumerate() {
            let item = item?;
            self.out
                .push_str(if index == 0 { ",\"Value\":[" } else { "," });
            let _ = write!(self.path, "{group:04X}{tag:04X}/{}/", index + 1);
            self.set(&item, characters.of_item(&item), &[])?;
            self.path.truncate(above);
            self.is_signed = is_signed;
        }
        if self.out.ends_with('}') {
            self.out.push(']');
        }
        self.out.push('}');
        Ok(())
    }
}
