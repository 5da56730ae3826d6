//! Transfer syntaxes and the encodings of data sets.

use std::fmt;

use super::uid::{NotAUid, Uid};

/// A transfer syntax UID (0002,0010).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TransferSyntax(Uid);

/// The encoding of the elements of a data set (PS3.5 section 7 and annex A).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// No value representations; little endian.
    ImplicitLittle,
    /// Value representations; little endian. All compressed syntaxes use it.
    ExplicitLittle,
    /// Value representations; big endian (retired).
    ExplicitBig,
    /// Explicit little endian, the whole data set deflated.
    Deflated,
}

impl TransferSyntax {
    /// Implicit VR Little Endian.
    pub const IMPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
    /// Explicit VR Little Endian, the default of PS3.18 8.7.3.
    pub const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
    /// Deflated Explicit VR Little Endian.
    pub const DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1.99";
    /// Explicit VR Big Endian (retired).
    pub const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
    /// JPIP Referenced Deflate: as [`Encoding::Deflated`].
    const JPIP_REFERENCED_DEFLATE: &str = "1.2.840.10008.1.2.4.95";

    /// Parses a transfer syntax UID.
    ///
    /// # Errors
    /// [`NotAUid`] if the text violates PS3.5 9.1.
    pub fn parse(text: &str) -> Result<Self, NotAUid> {
        Uid::parse(text).map(Self)
    }

    /// Explicit VR Little Endian.
    #[must_use]
    pub fn explicit_vr_little_endian() -> Self {
        Self(Uid::parse(Self::EXPLICIT_VR_LITTLE_ENDIAN).expect("the constant is a UID"))
    }

    /// The UID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether its pixel data are a video: MPEG-2, MPEG-4 AVC/H.264, HEVC/H.265.
    #[must_use]
    pub fn is_video(&self) -> bool {
        self.is_one_of(VIDEO)
    }

    /// Whether its pixel data are pictures with loss.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        self.is_one_of(LOSSY)
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        let name = self.as_str().strip_prefix(COMPRESSED);
        name.is_some_and(|name| names.contains(&name))
    }

    /// The transfer syntax under which an instance in this one leaves as it is stored: Implicit VR
    /// Little Endian and Explicit VR Big Endian never leave (PS3.18 8.7.3.3).
    #[must_use]
    pub fn available(&self) -> &str {
        match self.encoding() {
            Encoding::ImplicitLittle | Encoding::ExplicitBig => Self::EXPLICIT_VR_LITTLE_ENDIAN,
            Encoding::ExplicitLittle | Encoding::Deflated => self.as_str(),
        }
    }

    /// The transfer syntaxes of pictures with loss, and of videos.
    pub fn lossy_and_videos() -> impl Iterator<Item = String> {
        let names = LOSSY.iter().chain(VIDEO);
        names.map(|name| format!("{COMPRESSED}{name}"))
    }

    /// The encoding of its data sets. An unknown syntax is taken for an encapsulated one; these are
    /// all Explicit VR Little Endian (PS3.5 A.4).
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self.as_str() {
            Self::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::ImplicitLittle,
            Self::EXPLICIT_VR_BIG_ENDIAN => Encoding::ExplicitBig,
            Self::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN | Self::JPIP_REFERENCED_DEFLATE => {
                Encoding::Deflated
            }
            _ => Encoding::ExplicitLittle,
        }
    }
}

/// The beginning of the UIDs of compressed transfer syntaxes.
const COMPRESSED: &str = "1.2.840.10008.1.2.4.";
/// Those of pictures with loss.
const LOSSY: &[&str] = &["50", "51", "81", "91", "93", "112", "203", "205"];
/// Those of videos.
const VIDEO: &[&str] = &[
    "100", "100.1", "101", "101.1", "102", "102.1", "103", "103.1", "104", "104.1", "105", "105.1",
    "106", "106.1", "107", "108",
];

/// The transfer syntaxes that a client accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferSyntaxes {
    /// The stored transfer syntax, whichever it is: `transfer-syntax=*`.
    AsStored,
    /// Explicit VR Little Endian, because the client names none. It has not excluded what cannot be
    /// converted (PS3.18 8.7.3.4, note 2).
    Default,
    /// One of these UIDs.
    OneOf(Vec<String>),
}

impl TransferSyntaxes {
    /// Whether it is among them.
    #[must_use]
    pub fn permit(&self, transfer_syntax: &TransferSyntax) -> bool {
        match self {
            Self::AsStored => true,
            Self::Default => transfer_syntax.as_str() == TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN,
            Self::OneOf(uids) => uids.iter().any(|uid| uid == transfer_syntax.as_str()),
        }
    }
}

impl fmt::Display for TransferSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
