//! How a picture is wanted: the query parameters of rendered resources (PS3.18 8.3.5), and the
//! media types of pictures (8.7.4).

use super::Error;
use super::accept::{NotAcceptable, preferred, ranges};
use super::query::pairs;
use crate::pixels::{Format, Function, Viewport, Window};

/// The parameters of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// Its part and size.
    pub viewport: Viewport,
    /// A window that goes before the instance's own.
    pub window: Option<Window>,
    /// From 1 to 100.
    pub quality: Option<u8>,
    /// The annotation of the picture.
    pub annotation: Annotation,
}

/// The text in a picture (PS3.18 8.3.5.1.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Annotation {
    /// The patient.
    pub patient: bool,
    /// How the picture was made.
    pub technique: bool,
}

/// The longest side of a picture that is made larger.
const MOST_ACROSS: u32 = 8192;

impl Rendered {
    /// Reads the query parameters of a rendered resource.
    ///
    /// # Errors
    /// [`Error::Query`].
    pub fn parse(query: Option<&str>) -> Result<Self, Error> {
        let mut rendered = Self::default();
        for (name, value) in pairs(query.unwrap_or_default()) {
            match &*name.to_ascii_lowercase() {
                "viewport" => rendered.viewport = viewport(&value)?,
                "window" => rendered.window = Some(window(&value)?),
                "quality" => rendered.quality = Some(quality(&value)?),
                "annotation" => rendered.annotation = annotation(&value)?,
                // Unknown parameters are ignored.
                _ => {}
            }
        }
        Ok(rendered)
    }
}

/// Parses the list of an `annotation` parameter.
pub(super) fn annotation(list: &str) -> Result<Annotation, Error> {
    let mut annotation = Annotation::default();
    for item in list.split(',').filter(|item| !item.is_empty()) {
        match item.trim() {
            "patient" => annotation.patient = true,
            "technique" => annotation.technique = true,
            _ => return Err(Error::Query("annotation")),
        }
    }
    Ok(annotation)
}

/// The best picture that a client accepts, and whether it wants it wrapped.
///
/// # Errors
/// [`NotAcceptable`]: 406.
pub fn picture(query: Option<&str>, accept: &[&str]) -> Result<Format, NotAcceptable> {
    let ranges = preferred(query, accept);
    let format = |media_type: &str| match media_type {
        "*/*" | "image/*" | "image/jpeg" | "image/jpg" => Some(Format::Jpeg),
        "image/png" => Some(Format::Png),
        "image/gif" => Some(Format::Gif),
        _ => None,
    };
    let mut offers = ranges.iter().filter_map(|range| match range.essence() {
        "multipart/related" => format(&range.part_type().unwrap_or_else(|| "*/*".to_owned())),
        essence => format(essence),
    });
    offers.next().ok_or(NotAcceptable)
}

/// Whether a client accepts something else than a picture.
#[must_use]
pub fn accepts(query: Option<&str>, accept: &[&str], media_type: &str) -> bool {
    let kind = media_type.split('/').next().unwrap_or_default();
    ranges(query, accept).iter().any(|range| {
        let essence = range.essence();
        let is_met = essence == media_type
            || essence == "*/*"
            || essence
                .strip_suffix("/*")
                .is_some_and(|range| range == kind);
        is_met && range.quality() > 0
    })
}

// PS3.18 8.3.5.1.3: vw,vh,sx,sy,sw,sh; those of the source may be left out.
fn viewport(text: &str) -> Result<Viewport, Error> {
    const WRONG: Error = Error::Query("viewport");
    let values: Vec<&str> = text.split(',').map(str::trim).collect();
    let (size, source) = match values.as_slice() {
        [across, down] => ((across, down), None),
        [across, down, source @ ..] if source.len() <= 4 => ((across, down), Some(source)),
        _ => return Err(WRONG),
    };
    let side = |text: &str| match text.parse::<u32>() {
        Ok(side) if (1..=MOST_ACROSS).contains(&side) => Ok(side),
        Ok(_) | Err(_) => Err(WRONG),
    };
    let mut viewport = Viewport {
        size: Some((side(size.0)?, side(size.1)?)),
        ..Viewport::default()
    };
    let Some(source) = source else {
        return Ok(viewport);
    };
    let number = |at: usize, otherwise: f64| match source.get(at).copied().unwrap_or("") {
        "" => Ok(otherwise),
        text => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) | Err(_) => Err(WRONG),
        },
    };
    let (left, top) = (number(0, 0.0)?, number(1, 0.0)?);
    let (width, height) = (number(2, f64::MAX)?, number(3, f64::MAX)?);
    if left < 0.0 || top < 0.0 || width == 0.0 || height == 0.0 {
        return Err(WRONG);
    }
    viewport.source = Some((left, top, width.abs(), height.abs()));
    viewport.flips = (width < 0.0, height < 0.0);
    Ok(viewport)
}

// PS3.18 8.3.5.1.4: center,width,function.
fn window(text: &str) -> Result<Window, Error> {
    const WRONG: Error = Error::Query("window");
    let values: Vec<&str> = text.split(',').map(str::trim).collect();
    let number = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|n| n.is_finite())
            .ok_or(WRONG)
    };
    let (center, width, function) = match values.as_slice() {
        [center, width] => (center, width, Function::Linear),
        [center, width, function] => {
            let function = match function.to_ascii_lowercase().as_str() {
                "linear" => Function::Linear,
                "linear-exact" | "linear_exact" => Function::LinearExact,
                "sigmoid" => Function::Sigmoid,
                _ => return Err(WRONG),
            };
            (center, width, function)
        }
        _ => return Err(WRONG),
    };
    let window = Window {
        center: number(center)?,
        width: number(width)?,
        function,
    };
    // PS3.3 C.11.2.1.2.1: at least 1 for the linear function, more than 0 for the others.
    let least = match function {
        Function::Linear => 1.0,
        Function::LinearExact | Function::Sigmoid => f64::MIN_POSITIVE,
    };
    if window.width >= least {
        Ok(window)
    } else {
        Err(WRONG)
    }
}

fn quality(text: &str) -> Result<u8, Error> {
    let quality = text.parse::<u8>().ok();
    let quality = quality.filter(|quality| (1..=100).contains(quality));
    quality.ok_or(Error::Query("quality"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_viewers_ask() {
        let read = Rendered::parse(Some("viewport=64%2C32&window=40%2C400%2Clinear&quality=80"));
        let read = read.expect("parameters");
        assert_eq!(read.viewport.size, Some((64, 32)));
        let window = read.window.expect("a window");
        assert_eq!((window.center, window.width), (40.0, 400.0));
        assert_eq!(read.quality, Some(80));
        let read = Rendered::parse(Some("viewport=10,10,5,,-20,")).expect("parameters");
        assert_eq!(read.viewport.source, Some((5.0, 0.0, 20.0, f64::MAX)));
        assert_eq!(read.viewport.flips, (true, false));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for query in [
            "viewport=0,0",
            "viewport=100000,100000",
            "viewport=10",
            "viewport=a,b",
            "viewport=1,1,0,0,0,0",
            "viewport=1,1,1,1,1,1,1",
            "viewport=1,1,NaN",
            "window=40,0,linear",
            "window=40",
            "window=40,0.5,linear",
            "window=40,400,other",
            "window=inf,1,sigmoid",
            "quality=0",
            "quality=101",
            "quality=x",
        ] {
            let read = Rendered::parse(Some(query));
            assert!(matches!(read, Err(Error::Query(_))), "{query}: {read:?}");
        }
    }

    #[test]
    fn pictures_are_negotiated() {
        for (accept, expected) in [
            ("", Ok(Format::Jpeg)),
            ("*/*", Ok(Format::Jpeg)),
            ("image/png", Ok(Format::Png)),
            (
                "image/webp, image/gif;q=0.5, image/png;q=0.1",
                Ok(Format::Gif),
            ),
            ("image/jxl,image/avif,image/*,*/*;q=0.8", Ok(Format::Jpeg)),
            ("application/dicom", Err(NotAcceptable)),
            ("image/jpeg;q=0", Err(NotAcceptable)),
        ] {
            assert_eq!(picture(None, &[accept]), expected, "{accept}");
        }
        assert_eq!(
            picture(Some("accept=image%2Fpng"), &["*/*"]),
            Ok(Format::Png)
        );
    }
}
