//! Names of registered manifests.

use std::fmt;

/// The unguessable name of a registered manifest: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; 16]);

impl Id {
    /// An id from random bits.
    #[must_use]
    pub fn from_random(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub fn bits(self) -> [u8; 16] {
        self.0
    }

    /// Reads an id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || text.bytes().any(|b| b.is_ascii_uppercase() || b == b'+') {
            return None;
        }
        u128::from_str_radix(text, 16)
            .ok()
            .map(|bits| Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

// The id grants access to the images: keep it out of logs.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn an_id_has_one_spelling() {
        let id = Id::parse(ID).expect("an id");
        assert_eq!(id.to_string(), ID);
        for text in [
            "",
            "0",
            &ID.to_uppercase(),
            &format!("+{}", &ID[1..]),
            &format!("{ID}0"),
        ] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
        assert!(!format!("{id:?}").contains("0011"));
    }
}
