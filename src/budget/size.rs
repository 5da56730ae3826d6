//! Byte sizes in settings.

use serde::Deserialize;

/// A number of bytes: `"512 MiB"`, `"20 GiB"`, `"0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub u64);

/// The text is not a byte size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a size is written as \"512 MiB\": a whole number and KiB, MiB, GiB or TiB")]
pub struct NotASize;

impl TryFrom<String> for ByteSize {
    type Error = NotASize;

    fn try_from(text: String) -> Result<Self, NotASize> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_no_number| NotASize)?;
        let unit: u64 = match text[digits.len()..].trim() {
            "" if number == 0 => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(NotASize),
        };
        number.checked_mul(unit).map(Self).ok_or(NotASize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<u64, NotASize> {
        ByteSize::try_from(text.to_owned()).map(|size| size.0)
    }

    #[test]
    fn reads_sizes_with_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("0 MiB", 0),
            ("1 KiB", 1024),
            ("512MiB", 512 << 20),
            (" 20 GiB ", 20 << 30),
            ("2 TiB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        for text in [
            "",
            "512",
            "512 MB",
            "5 mib",
            "-1 MiB",
            "1.5 GiB",
            "MiB",
            "99999999 TiB",
        ] {
            assert_eq!(size(text), Err(NotASize), "{text:?}");
        }
    }
}
