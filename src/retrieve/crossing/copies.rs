//! Detects differing copies of one instance in one answer. Although DICOM forbids it, sources do
//! send one SOP Instance UID twice: mostly with the same bytes, sometimes not.

use std::collections::HashMap;

use crate::digest::Digest;

/// The digest of each instance of an answer, 32 bytes per instance.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<Digest, Digest>);

impl Copies {
    /// Notes the content of an instance that has arrived whole.
    pub(super) fn note(&mut self, mark: Digest, content: Digest) {
        self.0.insert(mark, content);
    }

    /// Whether the instance arrived before with other bytes.
    pub(super) fn differ(&self, mark: Digest, content: Digest) -> bool {
        let first = self.0.get(&mark);
        first.is_some_and(|first| *first != content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::test::identity;
    use crate::dicom::SeriesInstanceUid;
    use crate::dicom::part10::Identity;
    use crate::retrieve::crossing::log::mark_of;

    #[test]
    fn copies_differ_if_their_bytes_do() {
        let series = SeriesInstanceUid::parse("1.2.9").expect("a UID");
        let elsewhere = Identity {
            series,
            ..identity(3)
        };
        let (one, other) = (mark_of(&identity(3)), mark_of(&identity(30)));
        let mut copies = Copies::default();
        assert!(!copies.differ(one, Digest::of(b"a")), "it is the first");
        copies.note(one, Digest::of(b"a"));
        assert!(!copies.differ(one, Digest::of(b"a")));
        assert!(copies.differ(one, Digest::of(b"b")));
        assert!(!copies.differ(other, Digest::of(b"b")));
        assert!(!copies.differ(mark_of(&elsewhere), Digest::of(b"b")));
    }
}
