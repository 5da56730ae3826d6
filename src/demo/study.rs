//! The study of the demonstration, and its files.
//!
//! The generator is deterministic: every run writes the same files, byte for byte.

use std::io;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::uids;

use super::image;
use super::model::{
    Code, Content, Identifier, Instance, Institution, Location, Manifest, Moment, Orientation,
    Patient, Series, Stack, Study,
};
use crate::dicom::{SeriesInstanceUid, Uid};

/// Writes the study's Part 10 files into one folder for each location under `root`, and creates
/// missing folders.
///
/// # Errors
/// [`Error::Write`] if a folder or a file cannot be written.
pub(super) fn generate(root: &Path) -> Result<Study, Error> {
    generate_with(root, FULL)
}

/// The study could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A folder or a file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The path of the folder or file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The resolution of the images.
#[derive(Debug, Clone, Copy)]
struct Resolution {
    axial: u16,
    coronal: u16,
    side: usize,
}

const FULL: Resolution = Resolution {
    axial: 64,
    coronal: 48,
    side: 256,
};

fn generate_with(root: &Path, resolution: Resolution) -> Result<Study, Error> {
    let study = study(resolution);
    for series in &study.series {
        let folder = root.join(series.location.folder());
        written(std::fs::create_dir_all(&folder), &folder)?;
        write_series(&study, series, &folder)?;
    }
    Ok(study)
}

fn write_series(study: &Study, series: &Series, folder: &Path) -> Result<(), Error> {
    for instance in &series.instances {
        let path = folder.join(format!(
            "series-{}-{:03}.dcm",
            series.number, instance.number
        ));
        written(
            std::fs::write(&path, image::write(study, series, instance)),
            &path,
        )?;
    }
    Ok(())
}

fn written(result: io::Result<()>, path: &Path) -> Result<(), Error> {
    result.map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

fn study(resolution: Resolution) -> Study {
    Study {
        uid: uid("1").into(),
        id: "DEMO-1",
        description: "CT head of a phantom",
        started: Moment::new(2026, 1, 15, 10, 30),
        patient: patient(),
        accession: Identifier {
            value: "XCWADO-2026-0001",
            issuer: "1.3.6.1.4.1.99999.9.2",
        },
        placer_order: Identifier {
            value: "ORDER-2026-0001",
            issuer: "1.3.6.1.4.1.99999.9.3",
        },
        procedure: Code {
            value: "24725-4",
            scheme: "LN",
            meaning: "CT Head",
        },
        region: Code {
            value: "774007",
            scheme: "SCT",
            meaning: "Head and neck",
        },
        frame_of_reference: uid("4"),
        series: vec![axial(resolution), coronal(resolution), montage()],
        manifest: manifest(),
    }
}

fn patient() -> Patient {
    Patient {
        family: "Phantom",
        given: "Shepp Logan",
        id: Identifier {
            value: "XCWADO-DEMO",
            issuer: "1.3.6.1.4.1.99999.9.1",
        },
        id_issuer: "XCWADO",
        // The phantom was published in June 1974.
        born: Moment::new(1974, 6, 1, 0, 0),
    }
}

fn manifest() -> Manifest {
    Manifest {
        uid: uid("5.1").into(),
        series_uid: uid("5").into(),
        created: Moment::new(2026, 1, 15, 11, 0),
        manufacturer: "xcwado",
        institution: Institution {
            name: "XCWADO Demo Hospital",
            identifier: Identifier {
                value: "1",
                issuer: "1.3.6.1.4.1.99999.9.4",
            },
        },
    }
}

fn axial(resolution: Resolution) -> Series {
    let stack = Stack {
        orientation: Orientation::Axial,
        slices: resolution.axial,
        side: resolution.side,
    };
    Series {
        uid: series_uid(1),
        number: 1,
        modality: CT,
        description: "Axial 2.25 mm",
        started: Moment::new(2026, 1, 15, 10, 32),
        body_part: HEAD,
        location: Location::A,
        content: Content::Stack(stack),
        instances: instances(1, uids::CT_IMAGE_STORAGE, stack.slices),
    }
}

fn coronal(resolution: Resolution) -> Series {
    let stack = Stack {
        orientation: Orientation::Coronal,
        slices: resolution.coronal,
        side: resolution.side,
    };
    Series {
        uid: series_uid(2),
        number: 2,
        modality: CT,
        description: "Coronal 3.25 mm",
        started: Moment::new(2026, 1, 15, 10, 40),
        body_part: HEAD,
        location: Location::B,
        content: Content::Stack(stack),
        instances: instances(2, uids::CT_IMAGE_STORAGE, stack.slices),
    }
}

fn montage() -> Series {
    Series {
        uid: series_uid(3),
        number: 3,
        modality: Code {
            value: "OT",
            scheme: "DCM",
            meaning: "Other",
        },
        description: "Three views in colour",
        started: Moment::new(2026, 1, 15, 10, 50),
        body_part: HEAD,
        location: Location::B,
        content: Content::Montage,
        instances: instances(3, uids::SECONDARY_CAPTURE_IMAGE_STORAGE, 1),
    }
}

const CT: Code = Code {
    value: "CT",
    scheme: "DCM",
    meaning: "Computed Tomography",
};
const HEAD: Code = Code {
    value: "69536005",
    scheme: "SCT",
    meaning: "Head",
};

fn instances(series: u16, sop_class: &str, count: u16) -> Vec<Instance> {
    (1..=count)
        .map(|number| instance(series, sop_class, number))
        .collect()
}

fn instance(series: u16, sop_class: &str, number: u16) -> Instance {
    Instance {
        sop_class: known(sop_class).into(),
        uid: uid(&format!("3.{series}.{number}")).into(),
        number,
        frames: None,
    }
}

fn series_uid(number: u16) -> SeriesInstanceUid {
    uid(&format!("2.{number}")).into()
}

// PS3.5 B.2: 2.25 and a UUID as a number; the arcs below it are this study's own.
fn uid(arcs: &str) -> Uid {
    known(&format!(
        "2.25.5260584752800091357059910238462748676.{arcs}"
    ))
}

fn known(text: &str) -> Uid {
    Uid::parse(text).expect("a UID of this file or of the dictionary, and short arcs")
}

/// A small study for tests.
#[cfg(test)]
pub(super) fn small() -> Study {
    study(SMALL)
}

#[cfg(test)]
const SMALL: Resolution = Resolution {
    axial: 4,
    coronal: 3,
    side: 32,
};

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use dicom_dictionary_std::tags;
    use dicom_object::{DefaultDicomObject, open_file};

    use super::*;

    fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        [Location::A, Location::B]
            .iter()
            .flat_map(|location| std::fs::read_dir(root.join(location.folder())).expect("a folder"))
            .map(|entry| entry.expect("an entry").path())
            .map(|path| {
                let name = path.strip_prefix(root).expect("below the root").to_owned();
                (name, std::fs::read(&path).expect("a file"))
            })
            .collect()
    }

    fn generated(resolution: Resolution) -> (tempfile::TempDir, Study) {
        let root = tempfile::tempdir().expect("a folder");
        let study = generate_with(root.path(), resolution).expect("a study");
        (root, study)
    }

    fn text(object: &DefaultDicomObject, tag: dicom_core::Tag) -> String {
        object
            .element(tag)
            .expect("present")
            .to_str()
            .expect("text")
            .trim_end_matches('\0')
            .to_owned()
    }

    fn numbers(object: &DefaultDicomObject, tag: dicom_core::Tag) -> Vec<f64> {
        object
            .element(tag)
            .expect("present")
            .to_multi_float64()
            .expect("numbers")
    }

    #[test]
    fn is_the_same_at_every_run() {
        let (first, _) = generated(SMALL);
        let (second, _) = generated(SMALL);
        assert_eq!(files(first.path()).len(), 8);
        assert!(files(first.path()) == files(second.path()));
    }

    #[test]
    fn generating_again_into_the_same_folder_changes_nothing() {
        let (root, study) = generated(SMALL);
        let before = files(root.path());
        assert_eq!(generate_with(root.path(), SMALL).expect("a study"), study);
        assert!(files(root.path()) == before);
    }

    #[test]
    fn every_file_reads_back_as_the_instance_it_is() {
        let (root, study) = generated(SMALL);
        let mut listed = BTreeSet::new();
        for series in &study.series {
            for instance in &series.instances {
                let folder = root.path().join(series.location.folder());
                let path = folder.join(format!(
                    "series-{}-{:03}.dcm",
                    series.number, instance.number
                ));
                let object = open_file(path).expect("a DICOM file");
                assert_eq!(
                    object.meta().transfer_syntax(),
                    uids::EXPLICIT_VR_LITTLE_ENDIAN
                );
                assert_eq!(
                    object.meta().media_storage_sop_instance_uid(),
                    instance.uid.as_str()
                );
                assert_eq!(
                    text(&object, tags::SOP_CLASS_UID),
                    instance.sop_class.as_str()
                );
                assert_eq!(text(&object, tags::SOP_INSTANCE_UID), instance.uid.as_str());
                assert_eq!(
                    text(&object, tags::SERIES_INSTANCE_UID),
                    series.uid.as_str()
                );
                assert_eq!(text(&object, tags::STUDY_INSTANCE_UID), study.uid.as_str());
                listed.insert(text(&object, tags::SOP_INSTANCE_UID));
            }
        }
        assert_eq!(listed.len(), study.instance_count());
    }

    #[test]
    fn the_full_study_has_the_promised_size() {
        let study = study(FULL);
        let sizes: Vec<_> = study
            .series
            .iter()
            .map(|series| (series.location, series.instances.len()))
            .collect();
        assert_eq!(
            sizes,
            [(Location::A, 64), (Location::B, 48), (Location::B, 1)]
        );
        assert_eq!(study.instance_count(), 113);
        assert!(
            study
                .modalities()
                .iter()
                .map(|modality| modality.value)
                .eq(["CT", "OT"])
        );
    }

    #[test]
    fn a_viewer_can_build_a_volume_of_the_slices() {
        let (root, _) = generated(SMALL);
        let open = |number: u16| {
            open_file(
                root.path()
                    .join(format!("location-a/series-1-{number:03}.dcm")),
            )
            .expect("a file")
        };
        let (first, second) = (open(1), open(2));
        let [low, high] =
            [&first, &second].map(|object| numbers(object, tags::IMAGE_POSITION_PATIENT));
        assert_eq!(
            numbers(&first, tags::IMAGE_ORIENTATION_PATIENT),
            [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        );
        assert_eq!(numbers(&first, tags::PIXEL_SPACING), [7.2, 7.2]);
        assert_eq!(
            [high[2] - low[2]],
            numbers(&first, tags::SPACING_BETWEEN_SLICES)[..]
        );
        assert_eq!(
            text(&first, tags::FRAME_OF_REFERENCE_UID),
            text(&second, tags::FRAME_OF_REFERENCE_UID)
        );
    }

    #[test]
    fn each_slice_shows_some_of_the_head() {
        let (root, _) = generated(SMALL);
        for file in files(root.path())
            .keys()
            .filter(|name| !name.ends_with("series-3-001.dcm"))
        {
            let object = open_file(root.path().join(file)).expect("a file");
            let pixels = object.element(tags::PIXEL_DATA).expect("pixels");
            let pixels = pixels.to_multi_int::<i16>().expect("values");
            let [slope, intercept] =
                [tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT].map(|tag| numbers(&object, tag)[0]);
            let of_head = pixels
                .iter()
                .filter(|pixel| f64::from(**pixel) * slope + intercept > -500.0);
            let share = of_head.count() as f64 / pixels.len() as f64;
            assert!(share > 0.08, "{}: {share}", file.display());
        }
    }

    #[test]
    fn stored_values_become_hounsfield_units() {
        let (root, _) = generated(SMALL);
        let object = open_file(root.path().join("location-a/series-1-002.dcm")).expect("a file");
        let pixels = object
            .element(tags::PIXEL_DATA)
            .expect("pixels")
            .to_multi_int::<i16>()
            .expect("values");
        let [slope, intercept] =
            [tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT].map(|tag| numbers(&object, tag)[0]);
        let value =
            |row: usize, column: usize| f64::from(pixels[row * 32 + column]) * slope + intercept;
        assert_eq!(pixels.len(), 32 * 32);
        assert!((value(0, 0) + 1000.0).abs() < 30.0, "air {}", value(0, 0));
        assert!(
            (value(20, 16) - 40.0).abs() < 30.0,
            "brain {}",
            value(20, 16)
        );
    }

    #[test]
    fn the_secondary_capture_is_a_colour_picture() {
        let (root, _) = generated(SMALL);
        let object = open_file(root.path().join("location-b/series-3-001.dcm")).expect("a file");
        assert_eq!(text(&object, tags::PHOTOMETRIC_INTERPRETATION), "RGB");
        assert_eq!(
            object
                .element(tags::PIXEL_DATA)
                .expect("pixels")
                .to_bytes()
                .expect("bytes")
                .len(),
            512 * 512 * 3
        );
    }

    #[test]
    fn says_which_folder_cannot_be_written() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("location-a"), "in the way").expect("a file");
        let error = generate_with(root.path(), SMALL).expect_err("a file is in the way");
        assert!(error.to_string().ends_with("location-a"), "{error}");
    }
}
