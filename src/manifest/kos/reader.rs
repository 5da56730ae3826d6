//! Reads values from data sets and collects warnings.
//!
//! It trusts the tag and not the value representation, which some writers get wrong.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use crate::dicom::CharacterSet;
use crate::dicom::dataset::{self, DataSet, Element};
use crate::manifest::warning::{Defect, Warnings};

/// The limit for the bytes of a text. The standard allows 64 characters for names and descriptions.
pub const MAX_TEXT: usize = 64 << 10;

/// The limit for the entries of a descriptive list: accession numbers, modalities, codes.
pub const MAX_LIST: usize = 256;

/// Reads values in the character set of one document and collects warnings.
pub(super) struct Reader {
    charset: CharacterSet,
    pub(super) warnings: Warnings,
}

impl Reader {
    pub(super) fn new(charset: CharacterSet) -> Self {
        Self {
            charset,
            warnings: Warnings::default(),
        }
    }

    /// A malformed part, which is left out.
    pub(super) fn malformed(&mut self, part: &'static str) {
        self.warnings.malformed(part);
    }

    /// The first elements with these tags, selected in one pass.
    pub(super) fn select<'a, const N: usize>(
        &mut self,
        set: &DataSet<'a>,
        tags: [Tag; N],
    ) -> Result<[Option<Element<'a>>; N], dataset::Error> {
        let mut selected = [None; N];
        for element in set.elements() {
            let element = element?;
            if let Some(at) = tags.iter().position(|tag| *tag == element.tag)
                && selected[at].is_none()
            {
                self.check_vr(&element);
                selected[at] = Some(element);
            }
        }
        Ok(selected)
    }

    /// As [`Reader::select`], for a descriptive data set: an unreadable one adds a warning.
    pub(super) fn describe<'a, const N: usize>(
        &mut self,
        set: &DataSet<'a>,
        tags: [Tag; N],
    ) -> [Option<Element<'a>>; N] {
        self.select(set, tags).unwrap_or_else(|_unreadable| {
            self.malformed("item of a sequence");
            [None; N]
        })
    }

    /// The first item of a descriptive sequence.
    pub(super) fn first<'a>(&mut self, sequence: Option<Element<'a>>) -> Option<DataSet<'a>> {
        let item = sequence?.items().next()?;
        self.item(item)
    }

    /// An item of a descriptive sequence. `File::open` has checked all items, except those in
    /// sequences written as UN.
    pub(super) fn item<'a>(
        &mut self,
        item: Result<DataSet<'a>, dataset::Error>,
    ) -> Option<DataSet<'a>> {
        if item.is_err() {
            self.malformed("item of a sequence");
        }
        item.ok()
    }

    /// A text. Like all values below, it has the name of its attribute for warnings.
    pub(super) fn text(
        &mut self,
        element: Option<Element<'_>>,
        part: &'static str,
    ) -> Option<Box<str>> {
        let bytes = element?.text()?;
        if bytes.len() > MAX_TEXT {
            self.warnings.left_out(Defect::TooLong(part));
            return None;
        }
        let text = self.charset.decode(bytes);
        (!text.is_empty()).then_some(text)
    }

    /// A text of several lines.
    pub(super) fn lines(&mut self, element: Element<'_>, part: &'static str) -> Option<String> {
        let bytes = element.text()?;
        if bytes.len() > MAX_TEXT {
            self.warnings.left_out(Defect::TooLong(part));
            return None;
        }
        Some(self.charset.text(bytes))
    }

    /// A text of an ASCII-only kind; UTF-8 is tolerated.
    pub(super) fn plain<'a>(
        &mut self,
        element: Option<Element<'a>>,
        part: &'static str,
    ) -> Option<&'a str> {
        let bytes = element?.text()?;
        let text = std::str::from_utf8(bytes).ok();
        let text = text.filter(|text| text.len() <= MAX_TEXT);
        self.or_malformed(text, part)
    }

    /// A date, `YYYYMMDD`.
    pub(super) fn date(
        &mut self,
        element: Option<Element<'_>>,
        part: &'static str,
    ) -> Option<Box<str>> {
        let text = self.plain(element, part)?;
        self.or_malformed(date(text), part)
    }

    /// A time, `HHMMSS.FFFFFF`, with the precision of the document.
    pub(super) fn time(
        &mut self,
        element: Option<Element<'_>>,
        part: &'static str,
    ) -> Option<Box<str>> {
        let text = self.plain(element, part)?;
        self.or_malformed(time(text), part)
    }

    /// An integer string; a plus sign is allowed.
    pub(super) fn integer(
        &mut self,
        element: Option<Element<'_>>,
        part: &'static str,
    ) -> Option<i32> {
        let text = self.plain(element, part)?;
        self.or_malformed(text.trim().parse().ok(), part)
    }

    /// A count: the digits at the start of a text, also after a parenthesis.
    pub(super) fn count(
        &mut self,
        element: Option<Element<'_>>,
        part: &'static str,
    ) -> Option<u32> {
        let text = self.plain(element, part)?;
        self.or_malformed(count(text), part)
    }

    fn or_malformed<T>(&mut self, value: Option<T>, part: &'static str) -> Option<T> {
        if value.is_none() {
            self.malformed(part);
        }
        value
    }

    fn check_vr(&mut self, element: &Element<'_>) {
        let Some((name, usual)) = usual(element.tag) else {
            return;
        };
        // Writers that do not know an element give it the representation UN (PS3.5 6.2.2).
        let written = element.vr().filter(|vr| ![usual, VR::UN].contains(vr));
        let Some(written) = written else { return };
        let is_readable = if usual == VR::SQ {
            element.is_sequence()
        } else {
            !matches!(written, VR::SQ | VR::OB | VR::OW)
        };
        let defect = Defect::Representation(name);
        match is_readable {
            true => self.warnings.read_all_the_same(defect),
            false => self.warnings.left_out(defect),
        }
    }
}

/// Adds a value that the list lacks, up to [`MAX_LIST`] values.
pub(super) fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if list.len() < MAX_LIST && !list.contains(&value) {
        list.push(value);
    }
}

/// The keyword of an attribute and its value representation, if it has exactly one.
fn usual(tag: Tag) -> Option<(&'static str, VR)> {
    let entry = StandardDataDictionary.by_tag(tag)?;
    match entry.vr() {
        VirtualVr::Exact(usual) => Some((entry.alias(), usual)),
        VirtualVr::Xs | VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt => None,
        _ => None,
    }
}

// PS3.5 6.2: YYYYMMDD; YYYY.MM.DD in files older than DICOM 3.0.
fn date(text: &str) -> Option<Box<str>> {
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    let in_range = |range, low, high| number(&digits, range).is_some_and(|n| n >= low && n <= high);
    (digits.len() == 8 && in_range(0..4, 0, 9999) && in_range(4..6, 1, 12) && in_range(6..8, 1, 31))
        .then(|| digits.into())
}

// PS3.5 6.2: HH[MM[SS[.F{1,6}]]]; with colons in files older than DICOM 3.0.
fn time(text: &str) -> Option<Box<str>> {
    let time: String = text.chars().filter(|c| *c != ':').collect();
    let (clock, fraction) = match time.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (time.as_str(), None),
    };
    let within =
        |at: usize, high| clock.len() <= at || number(clock, at..at + 2).is_some_and(|n| n <= high);
    let fits = match fraction {
        None => matches!(clock.len(), 2 | 4 | 6),
        Some(digits) => {
            clock.len() == 6
                && (1..=6).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_digit())
        }
    };
    // 60 is a leap second.
    (fits && within(0, 23) && within(2, 59) && within(4, 60)).then(|| time.into())
}

fn number(text: &str, range: std::ops::Range<usize>) -> Option<u32> {
    let digits = text.get(range)?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

fn count(text: &str) -> Option<u32> {
    let text = text.trim_start();
    let text = text.strip_prefix('(').unwrap_or(text).trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_old_and_new() {
        assert_eq!(date("20260224").as_deref(), Some("20260224"));
        assert_eq!(date("1994.07.04").as_deref(), Some("19940704"));
        for text in ["", "2026", "20261301", "20260232", "2026022x", "２026"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn reads_times_as_exact_as_they_are() {
        for text in ["10", "1030", "103059", "235960", "103059.000988", "1030.5"] {
            let expected = (text != "1030.5").then_some(text);
            assert_eq!(time(text).as_deref(), expected, "{text}");
        }
        assert_eq!(time("10:30:59").as_deref(), Some("103059"));
        for text in ["", "1", "24", "1060", "103059.", "103059.1234567", "+1"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn reads_counts_in_every_dress() {
        for (text, expected) in [
            ("50", Some(50)),
            ("(50, UCUM, \"instances\")", Some(50)),
            (" ( 7", Some(7)),
            ("36.0", Some(36)),
            ("", None),
            ("many", None),
            ("-1", None),
            ("99999999999", None),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_end_before_they_cost_something() {
        let mut list = Vec::new();
        for n in 0..2 * MAX_LIST {
            add(&mut list, n / 2);
        }
        assert_eq!(list.len(), MAX_LIST);
    }
}
