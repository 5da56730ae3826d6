//! Identifiers of exported documents.

/// The identifier of an export: a UUID-derived UID (PS3.5 B.2) of version 8 (RFC 9562 5.8), made of
/// a hash of the original's identifier and the export's context.
pub(super) fn uid(original: &str, context: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(PURPOSE);
    // A UID contains no line feed.
    for part in [original, "\n", context] {
        hasher.update(part.as_bytes());
    }
    let mut bits = [0; 16];
    hasher.finalize_xof().fill(&mut bits);
    bits[6] = bits[6] & 0x0F | 0x80;
    bits[8] = bits[8] & 0x3F | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bits))
}

/// The same in every release: exports keep their identifiers.
const PURPOSE: &str = "xcwado 2026 identifier of an exported manifest";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::SopInstanceUid;

    #[test]
    fn an_identifier_is_stable_and_its_own() {
        let one = uid("1.2.3", "https://a.example/manifests");
        assert_eq!(one, uid("1.2.3", "https://a.example/manifests"));
        assert_ne!(one, uid("1.2.4", "https://a.example/manifests"));
        assert_ne!(one, uid("1.2.3", "https://b.example/manifests"));
        assert!(SopInstanceUid::parse(&one).is_ok());
        let bits: u128 = one["2.25.".len()..].parse().expect("a number");
        assert_eq!((bits >> 76 & 0xF, bits >> 62 & 3), (8, 2));
    }
}
