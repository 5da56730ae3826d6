//! The model of the demonstration's study, from which its images and manifests are generated.

use super::phantom::Plane;
use crate::dicom::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, Uid};

/// A study with series at two locations.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Study {
    pub(super) uid: StudyInstanceUid,
    /// Study ID (0020,0010).
    pub(super) id: &'static str,
    pub(super) description: &'static str,
    pub(super) started: Moment,
    pub(super) patient: Patient,
    pub(super) accession: Identifier,
    pub(super) placer_order: Identifier,
    pub(super) procedure: Code,
    /// Anatomical region of the study, of CID IHE-MADO1.
    pub(super) region: Code,
    /// Frame of Reference UID (0020,0052): all slices share one coordinate system.
    pub(super) frame_of_reference: Uid,
    pub(super) series: Vec<Series>,
    pub(super) manifest: Manifest,
}

impl Study {
    /// The number of instances of all series.
    pub(super) fn instance_count(&self) -> usize {
        self.series
            .iter()
            .map(|series| series.instances.len())
            .sum()
    }

    /// The modalities of its series, each once.
    pub(super) fn modalities(&self) -> Vec<Code> {
        let mut modalities = Vec::new();
        for series in &self.series {
            if !modalities.contains(&series.modality) {
                modalities.push(series.modality);
            }
        }
        modalities
    }
}

/// The imaging study manifest. Both formats have the same identifier.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manifest {
    /// SOP Instance UID of the Key Object Selection, identifier of the Bundle.
    pub(super) uid: SopInstanceUid,
    /// The series of the Key Object Selection.
    pub(super) series_uid: SeriesInstanceUid,
    pub(super) created: Moment,
    pub(super) manufacturer: &'static str,
    pub(super) institution: Institution,
}

/// The author of the manifest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Institution {
    pub(super) name: &'static str,
    pub(super) identifier: Identifier,
}

/// The fictitious patient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Patient {
    pub(super) family: &'static str,
    pub(super) given: &'static str,
    pub(super) id: Identifier,
    /// A label for the issuer of `id`.
    pub(super) id_issuer: &'static str,
    pub(super) born: Moment,
}

/// An identifier, with the OID of its issuer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Identifier {
    pub(super) value: &'static str,
    pub(super) issuer: &'static str,
}

/// A coded concept; `scheme` is a Coding Scheme Designator (PS3.16 8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Code {
    pub(super) value: &'static str,
    pub(super) scheme: &'static str,
    pub(super) meaning: &'static str,
}

/// One series, with all its instances at one location.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) uid: SeriesInstanceUid,
    pub(super) number: u16,
    pub(super) modality: Code,
    pub(super) description: &'static str,
    pub(super) started: Moment,
    pub(super) body_part: Code,
    pub(super) location: Location,
    pub(super) content: Content,
    pub(super) instances: Vec<Instance>,
}

/// The content of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content {
    /// Parallel slices of CT.
    Stack(Stack),
    /// One colour picture of three views.
    Montage,
}

/// One instance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Instance {
    pub(super) sop_class: SopClassUid,
    pub(super) uid: SopInstanceUid,
    pub(super) number: u16,
    /// The number of frames, if its SOP class allows several.
    pub(super) frames: Option<u32>,
}

/// The location of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    /// The location of the axial series.
    A,
    /// The location of the other series.
    B,
}

impl Location {
    /// Its index in a list of [`LocationIds`].
    pub(super) const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// Its folder, below the root of the study.
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::A => "location-a",
            Self::B => "location-b",
        }
    }

    /// Its identifiers in `locations`.
    pub(super) fn ids(self, locations: &[LocationIds]) -> Option<&LocationIds> {
        locations.get(self.index())
    }
}

/// The identifiers of a location in manifests. Lists are in the order of [`Location::index`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocationIds {
    /// Retrieve Location UID (0040,E011), a bare OID.
    pub(super) retrieve_location_uid: String,
    /// Retrieve URL (0008,1190), a DICOMweb base URI.
    pub(super) retrieve_url: String,
}

/// Two locations to write manifests with.
#[cfg(test)]
pub(super) fn two_locations() -> [LocationIds; 2] {
    [
        ("1.3.6.1.4.1.99999.1.10", "http://127.0.0.1:8080/a/"),
        ("1.3.6.1.4.1.99999.2.10", "https://b.example/rs/"),
    ]
    .map(|(uid, url)| LocationIds {
        retrieve_location_uid: uid.into(),
        retrieve_url: url.into(),
    })
}

/// A date and a time, in the offset [`OFFSET`] from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
}

/// Offset from UTC of every [`Moment`]: hours to the east.
const OFFSET: u8 = 1;

impl Moment {
    pub(super) const fn new(year: u16, month: u8, day: u8, hour: u8, minute: u8) -> Self {
        Self {
            year,
            month,
            day,
            hour,
            minute,
        }
    }

    /// As a DA value (PS3.5 6.2).
    pub(super) fn da(self) -> String {
        format!("{:04}{:02}{:02}", self.year, self.month, self.day)
    }

    /// As a TM value (PS3.5 6.2).
    pub(super) fn tm(self) -> String {
        format!("{:02}{:02}00", self.hour, self.minute)
    }

    /// The offset of all moments as in Timezone Offset From UTC (0008,0201).
    pub(super) fn timezone() -> String {
        format!("+{OFFSET:02}00")
    }

    /// As a FHIR date.
    pub(super) fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// As a FHIR dateTime or instant.
    pub(super) fn date_time(self) -> String {
        format!(
            "{}T{:02}:{:02}:00+{OFFSET:02}:00",
            self.date(),
            self.hour,
            self.minute
        )
    }
}

/// Parallel slices through the whole head, evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stack {
    pub(super) orientation: Orientation,
    pub(super) slices: u16,
    /// Rows, and columns, of a slice.
    pub(super) side: usize,
}

/// The orientation of the slices in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orientation {
    /// From the neck to the crown.
    Axial,
    /// From the face to the back of the head.
    Coronal,
}

impl Orientation {
    /// Width and height of a slice, in mm.
    pub(super) const fn field_of_view(self) -> f64 {
        match self {
            Self::Axial => 230.4,
            Self::Coronal => 204.8,
        }
    }

    /// Distance between the outer faces of the first and last slice, in mm: viewers open on the first
    /// slice, so each one shows some of the head.
    const fn depth(self) -> f64 {
        match self {
            Self::Axial => 144.0,
            Self::Coronal => 156.0,
        }
    }
}

impl Stack {
    /// Distance between neighbouring slices, which equals their thickness, in mm.
    pub(super) fn spacing(&self) -> f64 {
        self.orientation.depth() / f64::from(self.slices)
    }

    /// The plane of the slice with this Instance Number, which starts at 1.
    pub(super) fn plane(&self, number: u16) -> Plane {
        let spacing = self.orientation.field_of_view() / self.side as f64;
        let corner = spacing * (self.side as f64 - 1.0) / 2.0;
        let depth = self.spacing() * (f64::from(number) - (f64::from(self.slices) + 1.0) / 2.0);
        let (origin, column) = match self.orientation {
            Orientation::Axial => ([-corner, -corner, depth], [0.0, 1.0, 0.0]),
            Orientation::Coronal => ([-corner, depth, corner], [0.0, 0.0, -1.0]),
        };
        Plane {
            origin,
            row: [1.0, 0.0, 0.0],
            column,
            spacing,
            side: self.side,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_centred_and_evenly_spaced_along_their_normal() {
        for (orientation, axis) in [(Orientation::Axial, 2), (Orientation::Coronal, 1)] {
            let stack = Stack {
                orientation,
                slices: 48,
                side: 256,
            };
            let at = |number| stack.plane(number).origin[axis];
            assert!((at(1) + at(48)).abs() < 1e-9, "{orientation:?}");
            for number in 1..48 {
                assert!(
                    (at(number + 1) - at(number) - stack.spacing()).abs() < 1e-9,
                    "{orientation:?}"
                );
            }
        }
    }

    #[test]
    fn moments_are_spelled_as_each_standard_wants() {
        let moment = Moment::new(2026, 1, 5, 9, 7);
        assert_eq!(
            (moment.da().as_str(), moment.tm().as_str()),
            ("20260105", "090700")
        );
        assert_eq!(moment.date_time(), "2026-01-05T09:07:00+01:00");
        assert_eq!(Moment::timezone(), "+0100");
    }
}
