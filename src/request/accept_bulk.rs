//! Which representations of bulk data a client accepts: frames, pixel data and other large values
//! (PS3.18 8.7.3.3, 8.7.4).

use super::accept::{NotAcceptable, preferred};
use crate::dicom::{MediaType, TransferSyntax};

/// `application/octet-stream`.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// The media types that a client accepts, by quality.
#[derive(Debug, Clone)]
pub struct BulkAcceptable(Vec<MediaType>);

/// The stored representation of bulk data.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The transfer syntax.
    pub syntax: &'a TransferSyntax,
    /// Their own media type.
    pub media_type: &'a str,
    /// Whether they are compressed.
    pub is_compressed: bool,
    /// Whether there is a decoder for them, if they are compressed.
    pub is_decodable: bool,
}

/// How bulk data are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representation {
    /// Whether they come as parts of a `multipart/related`.
    pub is_multipart: bool,
    /// The media type, without parameters.
    pub media_type: String,
    /// Whether they come as they are stored, or else decoded.
    pub is_as_stored: bool,
}

/// The wrapper of bulk data for a client that does not choose one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// Parts of a `multipart/related`.
    Multipart,
    /// Alone.
    Single,
}

impl BulkAcceptable {
    /// Parses the query and the `Accept` header field.
    #[must_use]
    pub fn parse(query: Option<&str>, accept: &[&str]) -> Self {
        Self(preferred(query, accept))
    }

    /// How something is given. `is_one`: it can be given alone.
    ///
    /// # Errors
    /// [`NotAcceptable`]: 406.
    pub fn choose(
        &self,
        stored: Stored<'_>,
        is_one: bool,
        otherwise: Default,
    ) -> Result<Representation, NotAcceptable> {
        let offered = |stored| {
            let mut ranges = self.0.iter();
            ranges.find_map(|range| offer(range, stored, is_one, otherwise))
        };
        // Where there is no decoder, its lack is the answer if nothing else is acceptable.
        let decoded = || {
            offered(Stored {
                is_decodable: true,
                ..stored
            })
        };
        offered(stored).or_else(decoded).ok_or(NotAcceptable)
    }
}

fn offer(
    range: &MediaType,
    stored: Stored<'_>,
    is_one: bool,
    otherwise: Default,
) -> Option<Representation> {
    let (own, is_compressed) = (stored.media_type, stored.is_compressed);
    let (is_multipart, wanted) = match range.essence() {
        "multipart/related" | "multipart/*" => (true, range.part_type()),
        "*/*" => (otherwise == Default::Multipart || !is_one, None),
        _ if !is_one => return None,
        single => (false, Some(single.to_owned())),
    };
    let wanted = wanted.unwrap_or_else(|| "*/*".to_owned());
    let syntax = range.parameter("transfer-syntax").map(str::trim);
    let given = |media_type: &str, is_as_stored| {
        Some(Representation {
            is_multipart,
            media_type: media_type.to_owned(),
            is_as_stored,
        })
    };
    let is_named = syntax == Some(stored.syntax.as_str());
    if is_range_of(&wanted, OCTET_STREAM) {
        let decoded = matches!(
            syntax,
            None | Some(TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN)
        );
        // Only a client that accepts everything gets compressed bytes under another media type.
        let named = if wanted == OCTET_STREAM {
            OCTET_STREAM
        } else {
            own
        };
        return match syntax {
            Some("*") => given(named, true),
            _ if is_named => given(named, true),
            _ if !is_compressed && decoded => given(OCTET_STREAM, true),
            _ if decoded && stored.is_decodable => given(OCTET_STREAM, false),
            // A client that accepts everything has not excluded what cannot be decoded.
            None if wanted == "*/*" => given(own, true),
            _ => None,
        };
    }
    // Table 8.7.3-4: the old names are other names of the same.
    let is_own = is_compressed && is_range_of(&modern(&wanted), own);
    let is_permitted = matches!(syntax, None | Some("*")) || is_named;
    if is_own && is_permitted {
        return given(own, true);
    }
    None
}

fn is_range_of(range: &str, media_type: &str) -> bool {
    range == "*/*"
        || range == media_type
        || range
            .strip_suffix("/*")
            .is_some_and(|kind| media_type.split('/').next() == Some(kind))
}

fn modern(media_type: &str) -> String {
    match media_type {
        "image/x-dicom-rle" => "image/dicom-rle",
        "image/x-jls" => "image/jls",
        "image/j2c" | "image/x-jp2" => "image/jp2",
        other => other,
    }
    .to_owned()
}

/// The media type of frames in a transfer syntax (PS3.18 table 8.7.3-4 and 8.7.3-5); that of bytes
/// if they are not compressed, or in a way that has no name.
#[must_use]
pub fn media_type_of(transfer_syntax: &TransferSyntax) -> &'static str {
    match transfer_syntax.as_str().strip_prefix("1.2.840.10008.1.2.") {
        Some("4.50" | "4.51" | "4.57" | "4.70") => "image/jpeg",
        Some("5") => "image/dicom-rle",
        Some("4.80" | "4.81") => "image/jls",
        Some("4.90" | "4.91") => "image/jp2",
        Some("4.92" | "4.93") => "image/jpx",
        Some("4.201" | "4.202" | "4.203") => "image/jphc",
        Some("4.110" | "4.111" | "4.112") => "image/jxl",
        Some("4.100" | "4.100.1" | "4.101" | "4.101.1") => "video/mpeg",
        Some(
            "4.102" | "4.102.1" | "4.103" | "4.103.1" | "4.104" | "4.104.1" | "4.105" | "4.105.1"
            | "4.106" | "4.106.1",
        ) => "video/mp4",
        Some("4.107" | "4.108") => "video/H265",
        _ => OCTET_STREAM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
    const EXPLICIT: &str = TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN;

    fn choose(accept: &str, stored: &str) -> Option<(bool, String, bool)> {
        let stored = TransferSyntax::parse(stored).expect("a uid");
        let acceptable = BulkAcceptable::parse(None, &[accept]);
        let stored = Stored {
            syntax: &stored,
            media_type: media_type_of(&stored),
            is_compressed: stored.as_str() != EXPLICIT,
            is_decodable: !stored.is_video(),
        };
        let chosen = acceptable.choose(stored, true, Default::Multipart);
        let chosen = chosen.ok()?;
        Some((chosen.is_multipart, chosen.media_type, chosen.is_as_stored))
    }

    #[test]
    fn viewers_get_what_they_ask_for() {
        let octets = OCTET_STREAM.to_owned();
        let jpeg = "image/jpeg".to_owned();
        for (accept, stored, expected) in [
            // Cornerstone3D.
            (
                "multipart/related; type=application/octet-stream; transfer-syntax=*",
                LOSSLESS,
                (true, octets.clone(), true),
            ),
            (
                "multipart/related; type=\"application/octet-stream\"; transfer-syntax=\"*\"",
                EXPLICIT,
                (true, octets.clone(), true),
            ),
            ("", EXPLICIT, (true, octets.clone(), true)),
            ("", LOSSLESS, (true, octets.clone(), false)),
            (
                "*/*; transfer-syntax=*",
                LOSSLESS,
                (true, jpeg.clone(), true),
            ),
            (
                "multipart/related; type=\"image/jpeg\"",
                LOSSLESS,
                (true, jpeg.clone(), true),
            ),
            (
                "multipart/related; type=\"image/jls\", multipart/related; type=\"image/jpeg\"; transfer-syntax=1.2.840.10008.1.2.4.70",
                LOSSLESS,
                (true, jpeg.clone(), true),
            ),
            (
                "application/octet-stream",
                EXPLICIT,
                (false, octets.clone(), true),
            ),
            ("image/*", LOSSLESS, (false, jpeg, true)),
            ("application/octet-stream", LOSSLESS, (false, octets, false)),
        ] {
            assert_eq!(
                choose(accept, stored),
                Some(expected),
                "{accept} of {stored}"
            );
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_given_as_it_is_stored_to_who_takes_everything() {
        const MPEG: &str = "1.2.840.10008.1.2.4.102";
        let video = "video/mp4".to_owned();
        for (accept, expected) in [
            ("", (true, video.clone(), true)),
            ("*/*", (true, video.clone(), true)),
            ("multipart/related", (true, video.clone(), true)),
            ("image/png, */*;q=0.1", (true, video.clone(), true)),
            ("application/octet-stream, */*;q=0.1", (true, video, true)),
            // It asks for what cannot be made.
            (
                "application/octet-stream",
                (false, OCTET_STREAM.to_owned(), false),
            ),
            (
                "*/*; transfer-syntax=1.2.840.10008.1.2.1",
                (true, OCTET_STREAM.to_owned(), false),
            ),
        ] {
            assert_eq!(choose(accept, MPEG), Some(expected), "{accept}");
        }
    }

    #[test]
    fn what_cannot_be_given_is_not_acceptable() {
        for (accept, stored) in [
            ("multipart/related; type=\"image/jpeg\"", EXPLICIT),
            ("multipart/related; type=\"image/jls\"", LOSSLESS),
            (
                "multipart/related; type=\"image/jpeg\"; transfer-syntax=1.2.840.10008.1.2.4.50",
                LOSSLESS,
            ),
            ("*/*;q=0", EXPLICIT),
            ("application/dicom+json", EXPLICIT),
            (
                "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2",
                EXPLICIT,
            ),
        ] {
            assert_eq!(choose(accept, stored), None, "{accept} of {stored}");
        }
    }
}
