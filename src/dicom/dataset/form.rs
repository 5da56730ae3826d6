//! How the head of an element is written (PS3.5 7.1.2, 7.1.3 and 7.5), in the words of a writer who
//! may be wrong.

use dicom_core::VR;

use super::ITEM;
use super::syntax::Syntax;
use crate::dicom::transfer_syntax::Encoding;
use crate::dicom::value_representation;

/// The form of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dicom) enum HeadForm {
    /// A length of four bytes and no value representation.
    Plain,
    /// A value representation and a length of two bytes.
    Short,
    /// A value representation, two bytes that are reserved, and a length of four.
    Long,
}

impl HeadForm {
    /// The form of a head in group `group`, of which `rest` are the four bytes behind its tag.
    pub(in crate::dicom) fn of(group: u16, rest: [u8; 4], syntax: Syntax) -> Self {
        let [a, b, reserved @ ..] = rest;
        if group == ITEM.group() || syntax == Syntax::ImplicitLittle {
            return Self::Plain;
        }
        match value_representation([a, b]) {
            Some(vr) if has_short_length(vr) => Self::Short,
            Some(_) => Self::Long,
            // PS3.5 7.1.2: future representations have the long form. What is not zero in place of
            // the reserved bytes is a length: some writers make up a representation (`RE`).
            None if [a, b].iter().all(u8::is_ascii_uppercase) && reserved == [0, 0] => Self::Long,
            // Writers put blanks, question marks or NULs for an unknown representation, which they
            // treat like text.
            None => Self::Short,
        }
    }
}

// PS3.5 table 7.1-2: all other representations, also future ones, have the long form.
pub(in crate::dicom) fn has_short_length(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::AT
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::FL
            | VR::FD
            | VR::IS
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::SL
            | VR::SS
            | VR::ST
            | VR::TM
            | VR::UI
            | VR::UL
            | VR::US
    )
}

/// The encoding of an item whose first element begins with `head`.
#[must_use]
pub fn encoding_of_item(head: &[u8], around: Encoding) -> Encoding {
    let syntax = Syntax::of(around);
    match syntax_of_item(head, syntax) {
        same if same == syntax => around,
        Syntax::ImplicitLittle => Encoding::ImplicitLittle,
        Syntax::ExplicitLittle => Encoding::ExplicitLittle,
        Syntax::ExplicitBig => Encoding::ExplicitBig,
    }
}

/// The syntax of an item whose first element begins with `head`. Some writers copy items in
/// Implicit VR into data sets in Explicit VR, and others put items in Explicit VR into an element
/// of unknown representation, whose items are implicit (CP-246).
pub(in crate::dicom) fn syntax_of_item(head: &[u8], around: Syntax) -> Syntax {
    let Some([g0, g1, _, _, a, b, c, d]) = head.first_chunk::<8>() else {
        return around;
    };
    if [*g0, *g1] == [0xFE, 0xFF] {
        return around;
    }
    let is_length = matches!([a, b, c, d], [_, 0, 0, 0] | [0xFF, 0xFF, 0xFF, 0xFF]);
    let is_named = value_representation([*a, *b]).is_some();
    // Lengths are even: `L` and the like are none.
    let is_no_length = a % 2 == 1 || [*c, *d] != [0, 0];
    match around {
        Syntax::ExplicitLittle if is_length => Syntax::ImplicitLittle,
        Syntax::ImplicitLittle if is_named && is_no_length => Syntax::ExplicitLittle,
        Syntax::ExplicitLittle | Syntax::ImplicitLittle | Syntax::ExplicitBig => around,
    }
}
