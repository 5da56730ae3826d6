//! The three encodings of elements.

use crate::dicom::transfer_syntax::Encoding;

/// The encoding of elements, after inflating a deflated data set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::dicom) enum Syntax {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

impl Syntax {
    pub(in crate::dicom) fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::ImplicitLittle => Self::ImplicitLittle,
            Encoding::ExplicitLittle | Encoding::Deflated => Self::ExplicitLittle,
            Encoding::ExplicitBig => Self::ExplicitBig,
        }
    }

    pub(in crate::dicom) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::ImplicitLittle | Self::ExplicitLittle => u16::from_le_bytes(bytes),
            Self::ExplicitBig => u16::from_be_bytes(bytes),
        }
    }

    pub(in crate::dicom) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::ImplicitLittle | Self::ExplicitLittle => u32::from_le_bytes(bytes),
            Self::ExplicitBig => u32::from_be_bytes(bytes),
        }
    }
}
