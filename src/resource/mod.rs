//! The resource tree of PS3.18 10.4: targets, and the sub-resources below them. Pure: raw path
//! segments become a typed resource, and are written anew from it.

mod bulkdata;
mod frames;
mod target;

pub use bulkdata::BulkdataPath;
pub use frames::{FrameForm, Frames};
pub use target::Target;

/// A resource below a study, a series or an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubResource {
    /// `metadata`.
    Metadata,
    /// `rendered`.
    Rendered,
    /// `thumbnail`.
    Thumbnail,
    /// `pixeldata`.
    Pixeldata,
    /// `bulkdata` and the paths below it.
    Bulkdata(BulkdataPath),
    /// `frames/{list}`, of an instance only.
    Frames(Frames, FrameForm),
}

/// The level of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A study.
    Study,
    /// A series.
    Series,
    /// An instance.
    Instance,
}

/// A group of sub-resources that a source offers as a whole, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offer {
    /// Metadata.
    Metadata,
    /// Rendered images and thumbnails, of frames too.
    Rendered,
    /// The pixel data of frames.
    Frames,
    /// Bulk data and pixel data.
    Bulkdata,
}

/// Path segments name no resource of PS3.18 below a target of this level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a resource below a study, a series or an instance")]
pub struct NotOne;

impl SubResource {
    /// Reads the path segments that follow those of a target, as they came: still percent-encoded.
    ///
    /// # Errors
    /// [`NotOne`], also for a known resource at a level that does not have it.
    pub fn parse(segments: &[&str], level: Level) -> Result<Self, NotOne> {
        let segments = segments.iter().map(|segment| decode(segment));
        let segments: Vec<String> = segments.collect::<Option<_>>().ok_or(NotOne)?;
        let (first, rest) = segments.split_first().ok_or(NotOne)?;
        match (first.as_str(), rest) {
            ("metadata", []) => Ok(Self::Metadata),
            ("rendered", []) => Ok(Self::Rendered),
            ("thumbnail", []) => Ok(Self::Thumbnail),
            ("pixeldata", []) => Ok(Self::Pixeldata),
            ("frames", [list, form @ ..]) if level == Level::Instance => {
                Ok(Self::Frames(Frames::parse(list)?, FrameForm::parse(form)?))
            }
            ("bulkdata", _) | ("bulk", [_, ..]) => {
                Ok(Self::Bulkdata(BulkdataPath::parse(segments)?))
            }
            _ => Err(NotOne),
        }
    }

    /// The path below the target, percent-encoded.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Metadata => "metadata".to_owned(),
            Self::Rendered => "rendered".to_owned(),
            Self::Thumbnail => "thumbnail".to_owned(),
            Self::Pixeldata => "pixeldata".to_owned(),
            Self::Bulkdata(path) => path.to_string(),
            Self::Frames(frames, form) => format!("frames/{frames}{}", form.suffix()),
        }
    }

    /// The group that a source must offer to be asked for it.
    #[must_use]
    pub fn offer(&self) -> Offer {
        match self {
            Self::Metadata => Offer::Metadata,
            Self::Rendered | Self::Thumbnail => Offer::Rendered,
            Self::Pixeldata | Self::Bulkdata(_) => Offer::Bulkdata,
            Self::Frames(_, FrameForm::Pixels) => Offer::Frames,
            Self::Frames(_, FrameForm::Rendered | FrameForm::Thumbnail) => Offer::Rendered,
        }
    }
}

impl Offer {
    /// All groups.
    pub const ALL: [Self; 4] = [Self::Metadata, Self::Frames, Self::Rendered, Self::Bulkdata];

    /// The group of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|offer| offer.name() == name)
    }

    /// Its name in settings and problem documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Rendered => "rendered",
            Self::Frames => "frames",
            Self::Bulkdata => "bulkdata",
        }
    }
}

// Decodes once. An escape that remains afterwards matches nothing.
fn decode(segment: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    decoded.ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, level: Level) -> Result<SubResource, NotOne> {
        let segments: Vec<&str> = path.split('/').collect();
        SubResource::parse(&segments, level)
    }

    #[test]
    fn is_written_as_it_was_read() {
        for (path, offer) in [
            ("metadata", "metadata"),
            ("rendered", "rendered"),
            ("thumbnail", "rendered"),
            ("pixeldata", "bulkdata"),
            ("bulkdata", "bulkdata"),
            ("bulkdata/7FE00010", "bulkdata"),
            ("bulkdata/a%20b/0009,1010%3F", "bulkdata"),
            ("bulk/00091010/1/00091011", "bulkdata"),
            ("frames/3", "frames"),
            ("frames/2,1,4294967295", "frames"),
            ("frames/1,2/rendered", "rendered"),
            ("frames/1/thumbnail", "rendered"),
        ] {
            let read = parse(path, Level::Instance).expect(path);
            assert_eq!(read.path(), path);
            assert_eq!(read.offer().name(), offer, "{path}");
        }
    }

    #[test]
    fn only_an_instance_has_frames() {
        for level in [Level::Study, Level::Series] {
            assert_eq!(parse("frames/1", level), Err(NotOne), "{level:?}");
            for path in [
                "metadata",
                "rendered",
                "thumbnail",
                "pixeldata",
                "bulkdata/x",
            ] {
                assert!(parse(path, level).is_ok(), "{path}, {level:?}");
            }
        }
    }

    #[test]
    fn segments_are_decoded_once() {
        let read = parse("fr%61mes/1%2C2/%72endered", Level::Instance);
        assert_eq!(
            read.map(|read| read.path()),
            Ok("frames/1,2/rendered".into())
        );
        assert_eq!(parse("meta%2564ata", Level::Study), Err(NotOne));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(SubResource::parse(&[], Level::Study), Err(NotOne));
        for path in [
            "",
            "metadata/",
            "metadata/x",
            "Metadata",
            "metadata%00",
            "meta%ffdata",
            "rendered/1",
            "frames",
            "frames/",
            "frames/1/",
            "frames/1/metadata",
            "frames/1/rendered/x",
            "bulk",
            "renderedmpr",
            "../metadata",
        ] {
            assert_eq!(parse(path, Level::Instance), Err(NotOne), "{path}");
        }
    }
}
