//! Writing data sets in Explicit VR Little Endian (PS3.5 7.1), fast and without checks: elements
//! are to be given in the order of their tags.

/// A data set, or an item of a sequence.
#[derive(Default)]
pub(crate) struct Dataset(Vec<u8>);

/// Group and element.
pub(crate) type Tag = (u16, u16);

impl Dataset {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An element of text, padded to an even length (PS3.5 6.2).
    pub(crate) fn text(mut self, tag: Tag, vr: &str, value: &str) -> Self {
        let length = value.len().next_multiple_of(2);
        self.head(tag, vr, length);
        self.0.extend_from_slice(value.as_bytes());
        if length > value.len() {
            self.0.push(if vr == "UI" { 0 } else { b' ' });
        }
        self
    }

    /// A US element.
    pub(crate) fn unsigned(mut self, tag: Tag, value: u16) -> Self {
        self.head(tag, "US", 2);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A sequence with these items, all of defined length.
    pub(crate) fn sequence(mut self, tag: Tag, items: impl IntoIterator<Item = Self>) -> Self {
        self.head(tag, "SQ", 0);
        let start = self.0.len();
        for Self(item) in items {
            self.0.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
            self.0.extend_from_slice(&length_32(item.len()));
            self.0.extend_from_slice(&item);
        }
        let length = length_32(self.0.len() - start);
        self.0[start - 4..start].copy_from_slice(&length);
        self
    }

    /// A code sequence with one item (PS3.3 8.8).
    pub(crate) fn code(self, tag: Tag, (value, scheme, meaning): Code) -> Self {
        let item = Self::new()
            .text((0x0008, 0x0100), "SH", value)
            .text((0x0008, 0x0102), "SH", scheme)
            .text((0x0008, 0x0104), "LO", meaning);
        self.sequence(tag, [item])
    }

    /// The head of an element whose value the caller writes elsewhere.
    pub(crate) fn announce(mut self, tag: Tag, vr: &str, length: usize) -> Self {
        self.head(tag, vr, length);
        self
    }

    /// A Part 10 file: preamble, file meta information, this data set.
    pub(crate) fn into_part10(self, sop_class: &str, sop_instance: &str) -> Vec<u8> {
        let meta = Self::new()
            .announce((0x0002, 0x0001), "OB", 2)
            .raw(&[0, 1])
            .text((0x0002, 0x0002), "UI", sop_class)
            .text((0x0002, 0x0003), "UI", sop_instance)
            .text((0x0002, 0x0010), "UI", EXPLICIT_VR_LITTLE_ENDIAN)
            .text((0x0002, 0x0012), "UI", "2.25.1");
        let mut file = Self(vec![0; 128])
            .raw(b"DICM")
            .announce((0x0002, 0x0000), "UL", 4);
        file.0.extend_from_slice(&length_32(meta.0.len()));
        file.raw(&meta.0).raw(&self.0).0
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn head(&mut self, (group, element): Tag, vr: &str, length: usize) {
        self.0.extend_from_slice(&group.to_le_bytes());
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(vr.as_bytes());
        if matches!(vr, "OB" | "OW" | "SQ" | "UR" | "UT") {
            self.0.extend_from_slice(&[0, 0]);
            self.0.extend_from_slice(&length_32(length));
        } else {
            let length = u16::try_from(length).expect("short values only");
            self.0.extend_from_slice(&length.to_le_bytes());
        }
    }
}

fn length_32(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("less than 4 GiB")
        .to_le_bytes()
}

/// Value, scheme and meaning.
pub(crate) type Code = (&'static str, &'static str, &'static str);

pub(crate) const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
