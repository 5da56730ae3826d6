//! The study's images: CT Image and Secondary Capture Image objects (PS3.3 A.3, A.8).

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::dataset::Dataset;
use super::model::{Content, Instance, Orientation, Series, Stack, Study};
use super::montage;
use super::phantom::{self, Plane};

/// The Part 10 file of `instance`.
pub(super) fn write(study: &Study, series: &Series, instance: &Instance) -> Vec<u8> {
    let common = common(study, series, instance);
    match &series.content {
        Content::Stack(stack) => ct(
            in_frame_of_reference(common, study),
            series,
            instance,
            stack,
        ),
        Content::Montage => secondary_capture(common),
    }
    .into_part10()
}

// SOP Common, General Series and General Image modules, and those of the study.
fn common(study: &Study, series: &Series, instance: &Instance) -> Dataset {
    let (date, time) = (series.started.da(), series.started.tm());
    Dataset::of_study(study)
        .text(tags::SOP_CLASS_UID, VR::UI, instance.sop_class.as_str())
        .text(tags::SOP_INSTANCE_UID, VR::UI, instance.uid.as_str())
        .text(tags::SERIES_INSTANCE_UID, VR::UI, series.uid.as_str())
        .text(tags::SERIES_NUMBER, VR::IS, &series.number.to_string())
        .text(tags::SERIES_DESCRIPTION, VR::LO, series.description)
        .text(tags::SERIES_DATE, VR::DA, &date)
        .text(tags::SERIES_TIME, VR::TM, &time)
        .text(tags::MODALITY, VR::CS, series.modality.value)
        .text(tags::BODY_PART_EXAMINED, VR::CS, "HEAD")
        .text(tags::INSTANCE_NUMBER, VR::IS, &instance.number.to_string())
        .text(tags::CONTENT_DATE, VR::DA, &date)
        .text(tags::CONTENT_TIME, VR::TM, &time)
        .text(tags::ACQUISITION_DATE, VR::DA, &date)
        .text(tags::ACQUISITION_TIME, VR::TM, &time)
        .text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO")
        .text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00")
        // PS3.3 C.12.1: the images show a phantom.
        .text(tags::SYNTHETIC_DATA, VR::CS, "YES")
}

// Frame of Reference module (PS3.3 C.7.4.1).
fn in_frame_of_reference(dataset: Dataset, study: &Study) -> Dataset {
    dataset
        .text(
            tags::FRAME_OF_REFERENCE_UID,
            VR::UI,
            study.frame_of_reference.as_str(),
        )
        .text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "")
}

fn ct(common: Dataset, series: &Series, instance: &Instance, stack: &Stack) -> Dataset {
    let plane = stack.plane(instance.number);
    let dataset =
        scanner(common, stack).text(tags::ACQUISITION_NUMBER, VR::IS, &series.number.to_string());
    grey(geometry(dataset, stack, &plane), &plane).pixel_data(
        VR::OW,
        stored(&phantom::scan(&plane, seed(series, instance))),
    )
}

// CT Image module (PS3.3 C.8.2.1).
fn scanner(dataset: Dataset, stack: &Stack) -> Dataset {
    dataset
        .text(tags::IMAGE_TYPE, VR::CS, image_type(stack.orientation))
        .text(tags::PATIENT_POSITION, VR::CS, "HFS")
        .text(tags::KVP, VR::DS, "120")
        .text(tags::X_RAY_TUBE_CURRENT, VR::IS, "250")
        .text(tags::EXPOSURE_TIME, VR::IS, "1000")
        .text(tags::EXPOSURE, VR::IS, "250")
        .text(tags::GANTRY_DETECTOR_TILT, VR::DS, "0")
        .text(tags::CONVOLUTION_KERNEL, VR::SH, "PHANTOM")
        .text(
            tags::RECONSTRUCTION_DIAMETER,
            VR::DS,
            &decimal(stack.orientation.field_of_view()),
        )
}

// A CT acquires axial images; other planes are reformatted from them.
fn image_type(orientation: Orientation) -> &'static str {
    match orientation {
        Orientation::Axial => "ORIGINAL\\PRIMARY\\AXIAL",
        Orientation::Coronal => "DERIVED\\SECONDARY\\REFORMATTED",
    }
}

// Image Plane module (PS3.3 C.7.6.2).
fn geometry(dataset: Dataset, stack: &Stack, plane: &Plane) -> Dataset {
    let [x, y, z] = plane.origin;
    let directions = [plane.row, plane.column].concat();
    dataset
        .text(tags::IMAGE_POSITION_PATIENT, VR::DS, &decimals(&[x, y, z]))
        .text(
            tags::IMAGE_ORIENTATION_PATIENT,
            VR::DS,
            &decimals(&directions),
        )
        .text(tags::PIXEL_SPACING, VR::DS, &decimals(&[plane.spacing; 2]))
        .text(tags::SLICE_THICKNESS, VR::DS, &decimal(stack.spacing()))
        .text(
            tags::SPACING_BETWEEN_SLICES,
            VR::DS,
            &decimal(stack.spacing()),
        )
        .text(
            tags::SLICE_LOCATION,
            VR::DS,
            &decimal(slice_location(stack.orientation, plane)),
        )
}

fn slice_location(orientation: Orientation, plane: &Plane) -> f64 {
    let [_, y, z] = plane.origin;
    match orientation {
        Orientation::Axial => z,
        Orientation::Coronal => y,
    }
}

// Image Pixel, Modality LUT and VOI LUT modules.
fn grey(dataset: Dataset, plane: &Plane) -> Dataset {
    pixels(dataset, plane.side as u16, "MONOCHROME2", 1)
        .unsigned(tags::BITS_ALLOCATED, 16)
        .unsigned(tags::BITS_STORED, 16)
        .unsigned(tags::HIGH_BIT, 15)
        .unsigned(tags::PIXEL_REPRESENTATION, 1)
        .text(tags::RESCALE_INTERCEPT, VR::DS, &INTERCEPT.to_string())
        .text(tags::RESCALE_SLOPE, VR::DS, "1")
        .text(tags::RESCALE_TYPE, VR::LO, "HU")
        .text(tags::WINDOW_CENTER, VR::DS, "40\\400")
        .text(tags::WINDOW_WIDTH, VR::DS, "120\\2400")
        .text(tags::WINDOW_CENTER_WIDTH_EXPLANATION, VR::LO, "BRAIN\\BONE")
}

fn pixels(dataset: Dataset, side: u16, photometric_interpretation: &str, samples: u16) -> Dataset {
    dataset
        .unsigned(tags::ROWS, side)
        .unsigned(tags::COLUMNS, side)
        .unsigned(tags::SAMPLES_PER_PIXEL, samples)
        .text(
            tags::PHOTOMETRIC_INTERPRETATION,
            VR::CS,
            photometric_interpretation,
        )
}

// SC Equipment, SC Image and Image Pixel modules (PS3.3 C.8.6).
fn secondary_capture(common: Dataset) -> Dataset {
    pixels(common, montage::SIDE, "RGB", 3)
        .text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY")
        .text(tags::CONVERSION_TYPE, VR::CS, "SYN")
        .text(tags::PATIENT_ORIENTATION, VR::CS, "")
        .unsigned(tags::PLANAR_CONFIGURATION, 0)
        .unsigned(tags::BITS_ALLOCATED, 8)
        .unsigned(tags::BITS_STORED, 8)
        .unsigned(tags::HIGH_BIT, 7)
        .unsigned(tags::PIXEL_REPRESENTATION, 0)
        .pixel_data(VR::OB, montage::draw())
}

const INTERCEPT: i16 = -1024;

fn stored(hounsfield: &[i16]) -> Vec<u8> {
    hounsfield
        .iter()
        .flat_map(|value| (value - INTERCEPT).to_le_bytes())
        .collect()
}

fn seed(series: &Series, instance: &Instance) -> u32 {
    u32::from(series.number) << 16 | u32::from(instance.number)
}

fn decimals(values: &[f64]) -> String {
    values
        .iter()
        .copied()
        .map(decimal)
        .collect::<Vec<_>>()
        .join("\\")
}

// PS3.5 6.2: a DS has at most 16 characters.
fn decimal(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    // Adding zero turns "-0" into "0".
    (rounded + 0.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_short_and_have_no_negative_zero() {
        assert_eq!(
            decimals(&[-114.75, 0.1 + 0.2, -0.0, 1.0 / 3.0]),
            "-114.75\\0.3\\0\\0.333333"
        );
        assert!(decimal(-2000.0 / 3.0).len() <= 16);
    }
}
