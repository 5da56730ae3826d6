//! `frames/{list}`: which frames of an instance, and in which form.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;

use super::NotOne;

/// Frames of an instance, counted from 1, in the order asked for and without repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames(Vec<NonZeroU32>);

/// The representation of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameForm {
    /// Their pixel data.
    Pixels,
    /// `…/rendered`.
    Rendered,
    /// `…/thumbnail`.
    Thumbnail,
}

impl Frames {
    /// Most frames that can be asked for at once.
    pub const MOST: usize = 1000;

    /// These frames; `None` if one of them is 0, or there are too many or none.
    #[must_use]
    pub fn of(numbers: &[u32]) -> Option<Self> {
        let numbers = numbers.iter().map(|number| NonZeroU32::new(*number));
        let numbers: Vec<NonZeroU32> = numbers.collect::<Option<_>>()?;
        (1..=Self::MOST)
            .contains(&numbers.len())
            .then_some(Self(numbers))
    }

    /// The numbers, each at least 1; between 1 and 1000 of them.
    #[must_use]
    pub fn numbers(&self) -> &[NonZeroU32] {
        &self.0
    }

    pub(super) fn parse(list: &str) -> Result<Self, NotOne> {
        if list.split(',').count() > Self::MOST {
            return Err(NotOne);
        }
        let numbers: Vec<NonZeroU32> = list.split(',').map(number).collect::<Result<_, _>>()?;
        let distinct: HashSet<_> = numbers.iter().collect();
        // PS3.18 {frames}: one or more non-duplicate frame numbers.
        if distinct.len() == numbers.len() {
            Ok(Self(numbers))
        } else {
            Err(NotOne)
        }
    }
}

// Rust's own reading would take a sign too.
fn number(text: &str) -> Result<NonZeroU32, NotOne> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotOne);
    }
    text.parse().map_err(|_not_a_number| NotOne)
}

impl FrameForm {
    pub(super) fn parse(segments: &[String]) -> Result<Self, NotOne> {
        match segments {
            [] => Ok(Self::Pixels),
            [form] if form == "rendered" => Ok(Self::Rendered),
            [form] if form == "thumbnail" => Ok(Self::Thumbnail),
            _ => Err(NotOne),
        }
    }

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Pixels => "",
            Self::Rendered => "/rendered",
            Self::Thumbnail => "/thumbnail",
        }
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(count: usize) -> String {
        let numbers: Vec<_> = (1..=count).map(|number| number.to_string()).collect();
        numbers.join(",")
    }

    #[test]
    fn leading_zeros_are_read_and_not_written() {
        let frames = Frames::parse("010,2").expect("frames");
        assert_eq!(frames.to_string(), "10,2");
        assert_eq!(frames.numbers().len(), 2);
    }

    #[test]
    fn at_most_a_thousand_can_be_asked_for() {
        assert!(Frames::parse(&list_of(1000)).is_ok());
        assert_eq!(Frames::parse(&list_of(1001)), Err(NotOne));
    }

    #[test]
    fn what_is_no_list_of_frames_is_refused() {
        for list in [
            "",
            ",",
            "1,",
            ",1",
            "1,,2",
            "0",
            "+1",
            "-1",
            "1.0",
            "1 ,2",
            "1;2",
            "1-3",
            "１",
            "4294967296",
            "1,2,1",
            "1,01",
            "*",
            "..",
        ] {
            assert_eq!(Frames::parse(list), Err(NotOne), "{list}");
        }
    }
}
