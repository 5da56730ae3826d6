//! The grey-scale and colour transformations that an instance declares for its frames.

mod segmented;
mod tables;

use dicom_core::Tag;

use super::skim::Skimmed;
use crate::dicom::dataset::{DataSet, Element};
use crate::pixels::{Format, Function, Geometry, Lettering, Rendering, Viewport, Window};
use tables::{Input, lut, numbers, palette};

const SHARED_FUNCTIONAL_GROUPS: Tag = Tag(0x5200, 0x9229);
const PER_FRAME_FUNCTIONAL_GROUPS: Tag = Tag(0x5200, 0x9230);
const FRAME_VOI_LUT: Tag = Tag(0x0028, 0x9132);
const PIXEL_VALUE_TRANSFORMATION: Tag = Tag(0x0028, 0x9145);
const MODALITY_LUT: Tag = Tag(0x0028, 0x3000);
const VOI_LUT: Tag = Tag(0x0028, 0x3010);
const DEFAULT_QUALITY: u8 = 90;

/// The default rendering of frame `number`, counted from 1.
#[must_use]
pub fn shading(skimmed: &Skimmed, geometry: &Geometry, number: u32) -> Rendering {
    let set = skimmed.data_set();
    let voi = functional_group(&set, FRAME_VOI_LUT, number).unwrap_or(set);
    let values = functional_group(&set, PIXEL_VALUE_TRANSFORMATION, number).unwrap_or(set);
    let first_item = |tag| set.items(tag).next().and_then(Result::ok);
    let slope = decimal(&values, Tag(0x0028, 0x1053));
    let intercept = decimal(&values, Tag(0x0028, 0x1052));
    let rescale = slope
        .or(intercept)
        .map(|_| (slope.unwrap_or(1.0), intercept.unwrap_or(0.0)));
    let rescale = rescale.filter(|(slope, _)| *slope != 0.0);
    let stored = Input::stored(geometry);
    let modality_lut = first_item(MODALITY_LUT).and_then(|item| lut(&item, stored));
    let shown = stored.transformed(modality_lut.as_ref(), rescale);
    let voi_lut = first_item(VOI_LUT).and_then(|item| lut(&item, shown));
    let shape = text(&set, Tag(0x2050, 0x0020));
    Rendering {
        format: Format::Jpeg,
        quality: DEFAULT_QUALITY,
        rescale,
        modality_lut,
        window: window(&voi),
        voi_lut,
        palette: palette(&set, geometry),
        padding: padding(&set, geometry),
        is_inverse: shape == Some("INVERSE") && geometry.photometric == "MONOCHROME2",
        viewport: Viewport::default(),
        delay: delay(&set),
        lettering: Lettering::default(),
    }
}

/// The delay of a frame, in hundredths of a second (PS3.3 C.7.6.5); a tenth of a second by default.
fn delay(set: &DataSet<'_>) -> u16 {
    const TENTH: f64 = 100.0;
    let rate = |tag| decimal(set, tag).filter(|rate| *rate > 0.0);
    let time = decimal(set, Tag(0x0018, 0x1063)).filter(|time| *time > 0.0);
    let rate = rate(Tag(0x0008, 0x2144)).or_else(|| rate(Tag(0x0018, 0x0040)));
    let milliseconds = time.or(rate.map(|rate| 1000.0 / rate)).unwrap_or(TENTH);
    (milliseconds / 10.0).round().clamp(2.0, 1000.0) as u16
}

/// A functional group of a frame, or the shared one.
fn functional_group<'a>(set: &DataSet<'a>, group: Tag, number: u32) -> Option<DataSet<'a>> {
    let at = number.checked_sub(1)? as usize;
    let of_frame = set.items(PER_FRAME_FUNCTIONAL_GROUPS).nth(at);
    let shared = set.items(SHARED_FUNCTIONAL_GROUPS).next();
    let mut groups = [of_frame, shared].into_iter().flatten().flatten();
    groups.find_map(|item| item.items(group).next()?.ok())
}

fn window(set: &DataSet<'_>) -> Option<Window> {
    let width = decimal(set, Tag(0x0028, 0x1051))?;
    let function = match text(set, Tag(0x0028, 0x1056)) {
        Some("SIGMOID") => Function::Sigmoid,
        Some("LINEAR_EXACT") => Function::LinearExact,
        Some(_) | None => Function::Linear,
    };
    let window = Window {
        center: decimal(set, Tag(0x0028, 0x1050))?,
        width,
        function,
    };
    (width > 0.0).then_some(window)
}

// PS3.3 C.7.5.1.1.2.
fn padding(set: &DataSet<'_>, geometry: &Geometry) -> Option<(i32, i32)> {
    let value = |element| {
        let element = set.element(Tag(0x0028, element))?;
        let raw = number(&element)?;
        Some(if geometry.is_signed {
            i32::from(raw.cast_signed())
        } else {
            i32::from(raw)
        })
    };
    let one = value(0x0120)?;
    let other = value(0x0121).unwrap_or(one);
    Some((one.min(other), one.max(other)))
}

fn number(element: &Element<'_>) -> Option<u16> {
    numbers(element).first().copied()
}

/// The first value of a decimal string.
fn decimal(set: &DataSet<'_>, tag: Tag) -> Option<f64> {
    let value = text(set, tag)?
        .split('\\')
        .next()?
        .trim()
        .parse::<f64>()
        .ok()?;
    value.is_finite().then_some(value)
}

fn text<'a>(set: &DataSet<'a>, tag: Tag) -> Option<&'a str> {
    std::str::from_utf8(set.text(tag)?).ok()
}
