//! Detects differing copies of one instance in one answer. Although DICOM forbids it, sources do
//! send one SOP Instance UID twice: mostly with the same bytes, sometimes not.

use std::collections::HashMap;

use super::log::digest;
use crate::dicom::SopInstanceUid;
use crate::digest::Digest;

/// The digest of each instance of an answer, 32 bytes per instance.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<Digest, Digest>);

impl Copies {
    /// Notes the content of an instance that has arrived whole.
    pub(super) fn note(&mut self, uid: &SopInstanceUid, content: Digest) {
        self.0.insert(digest(uid), content);
    }

    /// Whether the instance arrived before with other bytes.
    pub(super) fn differ(&self, uid: &SopInstanceUid, content: Digest) -> bool {
        self.0
            .get(&digest(uid))
            .is_some_and(|first| *first != content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_differ_if_their_bytes_do() {
        let uid = |text| SopInstanceUid::parse(text).expect("a UID");
        let (one, other) = (uid("1.2.3"), uid("1.2.30"));
        let mut copies = Copies::default();
        assert!(!copies.differ(&one, Digest::of(b"a")), "it is the first");
        copies.note(&one, Digest::of(b"a"));
        assert!(!copies.differ(&one, Digest::of(b"a")));
        assert!(copies.differ(&one, Digest::of(b"b")));
        assert!(!copies.differ(&other, Digest::of(b"b")));
    }
}
