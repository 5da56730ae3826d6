//! DICOM unique identifiers, parsed once at the edge.

use std::fmt;
use std::sync::Arc;

/// A DICOM UID: dot-separated numbers, at most 64 characters (PS3.5 9.1).
///
/// Only the form is checked. ISO 8824 requires a first arc of 0, 1 or 2, but the standard's own
/// examples violate that (`5.6.7.8`), see [`Uid::has_registrable_root`]. A UID is the text that it
/// is: `1.02` and `1.2` are two, although PS3.5 9.1 has no leading zeros, because some devices write
/// them; see [`Uid::has_leading_zero`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Arc<str>);

/// The text is not a UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a DICOM UID (numbers and dots, at most 64 characters)")]
pub struct NotAUid;

impl Uid {
    /// Parses a UID without trimming: the caller knows the padding of its context.
    ///
    /// # Errors
    /// [`NotAUid`] if the text violates PS3.5 9.1.
    pub fn parse(text: &str) -> Result<Self, NotAUid> {
        if is_uid(text) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(NotAUid)
        }
    }

    /// The UID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the first arc is one that exists (ISO/IEC 8824: 0, 1 or 2).
    #[must_use]
    pub fn has_registrable_root(&self) -> bool {
        matches!(self.0.split('.').next(), Some("0" | "1" | "2"))
    }

    /// Whether a component begins with a zero that PS3.5 9.1 forbids.
    #[must_use]
    pub fn has_leading_zero(&self) -> bool {
        let mut components = self.0.split('.');
        components.any(|component| component.len() > 1 && component.starts_with('0'))
    }
}

// PS3.5 9.1: components of digits, at most 64 characters in all. A UID has at least two components.
fn is_uid(text: &str) -> bool {
    text.len() <= 64 && text.contains('.') && text.split('.').all(is_component)
}

fn is_component(component: &str) -> bool {
    !component.is_empty() && component.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::borrow::Borrow<str> for Uid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! uid_kinds {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(Uid);

        impl $name {
            /// Parses the UID.
            ///
            /// # Errors
            /// [`NotAUid`] if the text violates PS3.5 9.1.
            pub fn parse(text: &str) -> Result<Self, NotAUid> {
                Uid::parse(text).map(Self)
            }

            /// The UID as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The UID, whatever it names.
            #[must_use]
            pub fn uid(&self) -> &Uid {
                &self.0
            }
        }

        impl From<Uid> for $name {
            fn from(uid: Uid) -> Self {
                Self(uid)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Uid::parse(&text).map(Self).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.0.as_str()
            }
        }
    )* };
}

uid_kinds! {
    /// Names a study (0020,000D).
    StudyInstanceUid;
    /// Names a series (0020,000E).
    SeriesInstanceUid;
    /// Names an instance (0008,0018).
    SopInstanceUid;
    /// Names the kind of an instance (0008,0016).
    SopClassUid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_ps3_5_allows() {
        let longest = format!("1.{}", "2".repeat(62));
        for text in [
            "1.2",
            "0.0",
            "1.2.840.10008.1.2",
            "5.6.7.8",
            "2.25.79.040.1",
            longest.as_str(),
        ] {
            assert!(Uid::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_a_malformed_uid() {
        let too_long = format!("1.{}", "2".repeat(63));
        for text in [
            "",
            "1",
            ".",
            "1.",
            ".1",
            "1..2",
            "1.2a",
            " 1.2",
            "1.2\0",
            "1/2",
            "１.2",
            too_long.as_str(),
        ] {
            assert_eq!(Uid::parse(text), Err(NotAUid), "{text:?}");
        }
    }

    #[test]
    fn a_leading_zero_is_kept_and_told() {
        let (with, without) = (Uid::parse("1.02.0"), Uid::parse("1.2.0"));
        assert_ne!(with, without);
        assert!(with.is_ok_and(|uid| uid.has_leading_zero() && uid.as_str() == "1.02.0"));
        assert!(without.is_ok_and(|uid| !uid.has_leading_zero()));
    }

    #[test]
    fn tells_a_root_that_nobody_can_register() {
        assert!(Uid::parse("1.2.3").is_ok_and(|uid| uid.has_registrable_root()));
        assert!(Uid::parse("5.6.7.8").is_ok_and(|uid| !uid.has_registrable_root()));
    }
}
