//! WADO-URI (PS3.18 9): one object, named by the parameters of a query.

use std::borrow::Cow;

use super::Error;
use super::accept::{NotAcceptable, preferred};
use super::query::pairs;
use super::rendering::annotation;
use crate::dicom::media_type::APPLICATION_DICOM;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxes};
use crate::pixels::{Format, Function, Viewport, Window};
use crate::request::Rendered;
use crate::resource::Target;

/// A request, as its query says.
#[derive(Debug, Clone, PartialEq)]
pub struct WadoUri {
    /// The instance.
    pub target: Target,
    /// The content of the response.
    pub content: Content,
}

/// The content of a response: the instance or a picture of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// `application/dicom`, in one of these transfer syntaxes.
    Dicom(TransferSyntaxes),
    /// A picture.
    Picture {
        /// In this format.
        format: Format,
        /// Of this frame, counted from 1.
        frame: u32,
        /// Shown like this; `region` is still relative.
        rendered: Box<Rendered>,
        /// The part of the frame; all of it if `None`.
        region: Option<Region>,
    },
}

/// The part of a frame that a picture shows, in fractions of its width and height (PS3.18 9.5.8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Left edge, from 0 to 1.
    pub left: f64,
    /// Upper edge, from 0 to 1.
    pub top: f64,
    /// Right edge, from 0 to 1.
    pub right: f64,
    /// Lower edge, from 0 to 1.
    pub bottom: f64,
}

/// Why a query is not a WADO-URI request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A parameter is missing or cannot be read: 400.
    #[error(transparent)]
    Request(#[from] Error),
    /// Nothing that is acceptable can be given: 406.
    #[error(transparent)]
    NotAcceptable(#[from] NotAcceptable),
}

/// The parameters of a query, each at most once.
struct Parameters<'a>(Vec<(String, Cow<'a, str>)>);

impl WadoUri {
    /// Reads a query. `contentType` goes before the `Accept` header field.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(query: Option<&str>, accept: &[&str]) -> Result<Self, Refusal> {
        let parameters = Parameters::read(query.unwrap_or_default())?;
        // PS3.18 9.4.1: the parameter is mandatory.
        if parameters
            .get("requesttype")
            .is_none_or(|kind| !kind.eq_ignore_ascii_case("WADO"))
        {
            return Err(Error::Query("requestType").into());
        }
        let uid = |name: &'static str| {
            let value = parameters.get(&name.to_ascii_lowercase());
            value.ok_or(Error::Query(name))
        };
        let study = StudyInstanceUid::parse(uid("studyUID")?);
        let series = SeriesInstanceUid::parse(uid("seriesUID")?);
        let object = SopInstanceUid::parse(uid("objectUID")?);
        let target = Target::Instance(
            study.map_err(|_not_a_uid| Error::Query("studyUID"))?,
            series.map_err(|_not_a_uid| Error::Query("seriesUID"))?,
            object.map_err(|_not_a_uid| Error::Query("objectUID"))?,
        );
        let content = parameters.content(accept)?;
        Ok(Self { target, content })
    }
}

/// Whether a query is one of WADO-URI, complete or not.
pub(super) fn is_wado_uri(query: Option<&str>) -> bool {
    let mut pairs = pairs(query.unwrap_or_default());
    pairs.any(|(name, _value)| name.eq_ignore_ascii_case("requestType"))
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str) -> Result<Self, Error> {
        let mut read: Vec<(String, Cow<'a, str>)> = Vec::new();
        for (name, value) in pairs(query) {
            let name = name.to_ascii_lowercase();
            // One of two contradictory values would be chosen in silence.
            if read.iter().any(|(other, _)| *other == name) {
                return Err(Error::Query("that stands there twice"));
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }

    fn content(&self, accept: &[&str]) -> Result<Content, Refusal> {
        let content_type = self.get("contenttype");
        // Browsers send an `Accept` header field of their own, which says nothing of the object.
        let fields = content_type.map_or_else(|| accept.to_vec(), |one| vec![one]);
        let ranges = preferred(None, &fields);
        let offer = ranges.iter().find_map(|range| match range.essence() {
            APPLICATION_DICOM => Some(None),
            // 9.5.1: without a word, a picture.
            "*/*" | "image/*" | "image/jpeg" | "image/jpg" => Some(Some(Format::Jpeg)),
            "image/png" => Some(Some(Format::Png)),
            "image/gif" => Some(Some(Format::Gif)),
            _ => None,
        });
        match offer.ok_or(NotAcceptable)? {
            None => Ok(Content::Dicom(self.syntaxes()?)),
            Some(format) => self.picture(format),
        }
    }

    // 9.4.1.2.3: Explicit VR Little Endian unless another one is named.
    fn syntaxes(&self) -> Result<TransferSyntaxes, Error> {
        match self.get("transfersyntax") {
            Some("*") => Ok(TransferSyntaxes::AsStored),
            Some(uid) if is_forbidden(uid) => Err(Error::Query("transferSyntax")),
            Some(uid) => Ok(TransferSyntaxes::OneOf(vec![
                uid.to_owned(),
                crate::dicom::TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
            ])),
            // A lossy instance has no other representation, and current viewers read the stored
            // one.
            None => Ok(TransferSyntaxes::OneOf(vec![
                crate::dicom::TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
            ])),
        }
    }

    fn picture(&self, format: Format) -> Result<Content, Refusal> {
        let number = |name: &str, shown: &'static str| -> Result<Option<u32>, Error> {
            let parsed = self.get(name).map(str::parse::<u32>).transpose();
            let parsed = parsed.map_err(|_no_number| Error::Query(shown))?;
            match parsed {
                Some(0) => Err(Error::Query(shown)),
                other => Ok(other),
            }
        };
        const MOST_ACROSS: u32 = 8192;
        let (rows, columns) = (number("rows", "rows")?, number("columns", "columns")?);
        if rows.max(columns) > Some(MOST_ACROSS) {
            return Err(Error::Query("rows or columns").into());
        }
        let size = match (columns, rows) {
            (None, None) => None,
            (columns, rows) => Some((columns.unwrap_or(MOST_ACROSS), rows.unwrap_or(MOST_ACROSS))),
        };
        let quality = number("imagequality", "imageQuality")?;
        let quality = quality.map(|quality| u8::try_from(quality).ok().filter(|q| *q <= 100));
        let quality = match quality {
            Some(None) => return Err(Error::Query("imageQuality").into()),
            other => other.flatten(),
        };
        Ok(Content::Picture {
            format,
            frame: number("framenumber", "frameNumber")?.unwrap_or(1),
            rendered: Box::new(Rendered {
                viewport: Viewport {
                    size,
                    ..Viewport::default()
                },
                window: self.window()?,
                quality,
                annotation: annotation(
                    self.get("annotation")
                        .or(self.get("imageannotation"))
                        .unwrap_or_default(),
                )?,
            }),
            region: self.region()?,
        })
    }

    // 9.5.1.2: both or none.
    fn window(&self) -> Result<Option<Window>, Error> {
        let number = |name: &str, shown| match self.get(name) {
            Some(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                Ok(_) | Err(_) => Err(Error::Query(shown)),
            },
            None => Ok(None),
        };
        let center = number("windowcenter", "windowCenter")?;
        let width = number("windowwidth", "windowWidth")?;
        match (center, width) {
            (Some(center), Some(width)) if width >= 1.0 => Ok(Some(Window {
                center,
                width,
                function: Function::Linear,
            })),
            (None, None) => Ok(None),
            _ => Err(Error::Query("windowWidth")),
        }
    }

    // 9.5.1.2: from the left upper corner, 0, to the right lower one, 1.
    fn region(&self) -> Result<Option<Region>, Error> {
        let Some(text) = self.get("region") else {
            return Ok(None);
        };
        let numbers = text.split(',').map(|number| number.trim().parse::<f64>());
        let numbers: Vec<f64> = numbers
            .collect::<Result<_, _>>()
            .map_err(|_no_number| Error::Query("region"))?;
        match <[f64; 4]>::try_from(numbers) {
            Ok([left, top, right, bottom])
                if (0.0..1.0).contains(&left)
                    && (0.0..1.0).contains(&top)
                    && left < right
                    && top < bottom
                    && right <= 1.0
                    && bottom <= 1.0 =>
            {
                Ok(Some(Region {
                    left,
                    top,
                    right,
                    bottom,
                }))
            }
            Ok(_) | Err(_) => Err(Error::Query("region")),
        }
    }
}

// 8.7.3.3: these never leave.
fn is_forbidden(uid: &str) -> bool {
    use crate::dicom::TransferSyntax;
    uid == TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN
        || uid == TransferSyntax::EXPLICIT_VR_BIG_ENDIAN
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHICH: &str = "requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4";

    fn parse(rest: &str, accept: &str) -> Result<Content, Refusal> {
        let query = format!("{WHICH}{rest}");
        WadoUri::parse(Some(&query), &[accept]).map(|read| read.content)
    }

    #[test]
    fn the_content_type_decides_and_then_the_header_field() {
        let dicom = parse(
            "&contentType=application%2Fdicom&transferSyntax=*",
            "image/png",
        );
        assert_eq!(dicom, Ok(Content::Dicom(TransferSyntaxes::AsStored)));
        // OHIF asks so.
        let ohif = "multipart/related; type=application/octet-stream; transfer-syntax=*";
        assert!(matches!(
            parse("&contentType=application/dicom", ohif),
            Ok(Content::Dicom(_))
        ));
        assert!(matches!(
            parse("", "image/png"),
            Ok(Content::Picture {
                format: Format::Png,
                ..
            })
        ));
        assert!(matches!(
            parse("", ""),
            Ok(Content::Picture {
                format: Format::Jpeg,
                frame: 1,
                ..
            })
        ));
        assert_eq!(
            parse("&contentType=text/html", ""),
            Err(NotAcceptable.into())
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for rest in [
            "&frameNumber=0",
            "&frameNumber=x",
            "&rows=0",
            "&rows=100000",
            "&windowCenter=1",
            "&windowCenter=1&windowWidth=0",
            "&region=0,0,2,1",
            "&region=0.5,0,0.5,1",
            "&region=1,2",
            "&imageQuality=101",
            "&studyUID=9.9",
            "&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2",
        ] {
            assert!(
                matches!(parse(rest, ""), Err(Refusal::Request(_))),
                "{rest}"
            );
        }
        for query in [
            "",
            "requestType=WADO",
            "requestType=X&studyUID=1.2&seriesUID=1.3&objectUID=1.4",
        ] {
            assert!(WadoUri::parse(Some(query), &[]).is_err(), "{query}");
        }
    }
}
