//! What a source that nobody vouches for may answer, so that its answer can stand for the gateway's
//! own.

use super::accept_bulk::{BulkAcceptable, Default, Stored, media_type_of};
use super::rendering;
use super::xc_wado::query_for;
use crate::dicom::{MediaType, TransferSyntax};
use crate::pixels::is_decodable;
use crate::resource::{FrameForm, SubResource};

/// The pictures that the gateway makes itself.
const PICTURES: &[&str] = &["image/jpeg", "image/png", "image/gif"];

/// The answers to a request for frames or a picture of one instance.
#[derive(Debug)]
pub struct Expected<'a> {
    query: Option<&'a str>,
    accept: &'a [&'a str],
    kind: ExpectedKind,
}

#[derive(Debug)]
enum ExpectedKind {
    Picture,
    Frames {
        acceptable: BulkAcceptable,
        is_one: bool,
    },
}

impl<'a> Expected<'a> {
    /// The answers to this request; `None` if another server may read it in another way: parameters
    /// of pictures are seldom supported, and several pictures, pixel data and bulk data in ways of
    /// each server's own.
    #[must_use]
    pub fn of(
        sub_resource: &SubResource,
        query: Option<&'a str>,
        accept: &'a [&'a str],
    ) -> Option<Self> {
        let query_there = query_for(sub_resource, query);
        let names = query_there.split('&').filter(|pair| !pair.is_empty());
        if !names.clone().all(|pair| pair.starts_with("accept=")) {
            return None;
        }
        let kind = match sub_resource {
            SubResource::Rendered | SubResource::Thumbnail => ExpectedKind::Picture,
            SubResource::Frames(frames, FrameForm::Rendered | FrameForm::Thumbnail) => {
                (frames.numbers().len() == 1).then_some(ExpectedKind::Picture)?
            }
            SubResource::Frames(frames, FrameForm::Pixels) => ExpectedKind::Frames {
                acceptable: BulkAcceptable::parse(query, accept),
                is_one: frames.numbers().len() == 1,
            },
            SubResource::Metadata | SubResource::Pixeldata | SubResource::Bulkdata(_) => {
                return None;
            }
        };
        Some(Self {
            query,
            accept,
            kind,
        })
    }

    /// Whether a payload of this media type, in a part or alone, is one of them.
    #[must_use]
    pub fn is_met(&self, is_part: bool, media_type: &MediaType) -> bool {
        let essence = media_type.essence();
        match &self.kind {
            ExpectedKind::Picture => {
                !is_part
                    && PICTURES.contains(&essence)
                    && rendering::accepts(self.query, self.accept, essence)
            }
            ExpectedKind::Frames { acceptable, is_one } => {
                let syntax = media_type.parameter("transfer-syntax");
                // Bytes without a name of their own could be anything.
                let Some(Ok(syntax)) = syntax.map(|text| TransferSyntax::parse(text.trim())) else {
                    return false;
                };
                let is_compressed = syntax != TransferSyntax::explicit_vr_little_endian();
                let own = media_type_of(&syntax);
                let stored = Stored {
                    syntax: &syntax,
                    media_type: own,
                    is_compressed,
                    is_decodable: is_decodable(syntax.as_str()),
                };
                let given = acceptable.choose(stored, *is_one, Default::Multipart);
                given.is_ok_and(|given| {
                    given.is_as_stored
                        && given.is_multipart == is_part
                        && given.media_type == essence
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Level;

    const LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
    const EXPLICIT: &str = "1.2.840.10008.1.2.1";

    fn sub_resource(path: &str) -> SubResource {
        let segments: Vec<&str> = path.split('/').collect();
        SubResource::parse(&segments, Level::Instance).expect(path)
    }

    fn is_met(path: &str, accept: &str, is_part: bool, answer: &str) -> bool {
        let accept = [accept];
        let expected = Expected::of(&sub_resource(path), None, &accept).expect(path);
        expected.is_met(is_part, &MediaType::parse(answer).expect(answer))
    }

    #[test]
    fn a_picture_is_one_that_the_client_accepts() {
        for (accept, answer, is_accepted) in [
            ("*/*", "image/jpeg", true),
            ("", "image/jpeg", true),
            ("image/png", "image/png", true),
            ("image/png", "image/jpeg", false),
            ("image/jpeg", "text/html", false),
            ("*/*", "text/html", false),
            ("*/*", "application/pdf", false),
            ("image/*", "image/webp", false),
        ] {
            for path in ["rendered", "thumbnail", "frames/1/rendered"] {
                let found = is_met(path, accept, false, answer);
                assert_eq!(found, is_accepted, "{path} {accept} {answer}");
                assert!(!is_met(path, accept, true, answer), "{path}");
            }
        }
    }

    #[test]
    fn frames_name_their_transfer_syntax() {
        const PARTS: &str = r#"multipart/related; type="application/octet-stream""#;
        let stored = format!("{PARTS}; transfer-syntax=*");
        let octets = |syntax: &str| format!("application/octet-stream; transfer-syntax={syntax}");
        let bare = "application/octet-stream".to_owned();
        for (accept, answer, is_accepted) in [
            (PARTS, octets(EXPLICIT), true),
            (PARTS, octets(LOSSLESS), false),
            (PARTS, bare.clone(), false),
            (&stored, octets(LOSSLESS), true),
            (&stored, octets("x"), false),
            (&stored, bare, false),
            (
                &stored,
                format!("image/jpeg; transfer-syntax={LOSSLESS}"),
                false,
            ),
            (
                r#"multipart/related; type="image/jpeg""#,
                format!("image/jpeg; transfer-syntax={LOSSLESS}"),
                true,
            ),
        ] {
            for path in ["frames/1", "frames/1,2"] {
                assert_eq!(is_met(path, accept, true, &answer), is_accepted, "{answer}");
                assert!(!is_met(path, accept, false, &answer), "{answer}");
            }
        }
    }

    #[test]
    fn a_request_that_servers_read_differently_is_not_passed_on() {
        for (path, query) in [
            ("rendered", "viewport=1,2"),
            ("rendered", "accept=image/png&quality=7"),
            ("frames/1,2/rendered", ""),
            ("pixeldata", ""),
            ("bulkdata/x", ""),
            ("metadata", ""),
        ] {
            let expected = Expected::of(&sub_resource(path), Some(query), &[]);
            assert!(expected.is_none(), "{path} {query}");
        }
        for query in ["", "accept=image/png", "unknown=1"] {
            assert!(Expected::of(&sub_resource("rendered"), Some(query), &[]).is_some());
        }
    }
}
