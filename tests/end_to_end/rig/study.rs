//! Small studies: instances as Part 10 files, and manifests that select them.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
pub(crate) const JPEG_XL: &str = "1.2.840.10008.1.2.4.110";
pub(crate) const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const KOS: &str = "1.2.840.10008.5.1.4.1.1.88.59";

/// Patient data of all studies made here; no log may contain it.
pub(crate) const PATIENT_NAME: &str = "Quetzalcoatl^Philomena";
pub(crate) const PATIENT_ID: &str = "PID-4711-SECRET";

/// A study as a manifest lists it. Sources may hold other instances.
#[derive(Debug, Clone)]
pub(crate) struct Study {
    pub(crate) uid: String,
    pub(crate) series: Vec<Series>,
}

#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) uid: String,
    /// Where the manifest says that it is.
    pub(crate) locations: Vec<Location>,
    pub(crate) instances: Vec<Instance>,
}

/// What a manifest says of a place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Location {
    pub(crate) retrieve_location_uid: Option<String>,
    pub(crate) retrieve_url: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) study: String,
    pub(crate) series: String,
    pub(crate) uid: String,
    pub(crate) transfer_syntax: String,
    /// The Part 10 file.
    pub(crate) bytes: Bytes,
}

/// A place by its Retrieve Location UID, `1.3.6.1.4.1.99999.1.{last}`.
pub(crate) fn at(last: u32) -> Vec<Location> {
    vec![Location {
        retrieve_location_uid: Some(location_uid(last)),
        retrieve_url: None,
    }]
}

/// A place by its Retrieve URL.
pub(crate) fn at_url(url: &str) -> Vec<Location> {
    vec![Location {
        retrieve_location_uid: None,
        retrieve_url: Some(url.into()),
    }]
}

pub(crate) fn location_uid(last: u32) -> String {
    format!("1.3.6.1.4.1.99999.1.{last}")
}

impl Study {
    /// A study without series; `last` tells its UIDs from those of other studies.
    pub(crate) fn new(last: u32) -> Self {
        Self {
            uid: format!("2.25.700.{last}"),
            series: Vec::new(),
        }
    }

    /// This study with one more series of small CT slices.
    pub(crate) fn with(self, instances: usize, locations: Vec<Location>) -> Self {
        self.with_series(locations, vec![(EXPLICIT, 3000); instances])
    }

    /// This study with one more series, of these transfer syntaxes and sizes.
    pub(crate) fn with_series(
        mut self,
        locations: Vec<Location>,
        instances: Vec<(&str, usize)>,
    ) -> Self {
        let uid = format!("{}.{}", self.uid, self.series.len() + 1);
        let instances = instances.into_iter().enumerate();
        let instances = instances.map(|(at, (transfer_syntax, size))| {
            Instance::new(
                [&self.uid, &uid, &format!("{uid}.{}", at + 1)],
                transfer_syntax,
                // Not all of one size, and odd ones among them.
                size + at * 7,
            )
        });
        self.series.push(Series {
            instances: instances.collect(),
            uid,
            locations,
        });
        self
    }

    /// All instances, series after series.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        let series = self.series.iter();
        series.flat_map(|series| series.instances.clone()).collect()
    }

    /// The bytes of all instances, sorted.
    pub(crate) fn bytes(&self) -> Vec<Bytes> {
        let instances = self.instances().into_iter();
        super::client::sorted(instances.map(|instance| instance.bytes))
    }

    /// The path of the study below a DICOMweb root.
    pub(crate) fn path(&self) -> String {
        format!("studies/{}", self.uid)
    }

    /// The path of one of its series, counted from 0.
    pub(crate) fn series_path(&self, at: usize) -> String {
        format!("studies/{}/series/{}", self.uid, self.series[at].uid)
    }

    /// Writes the instances of a series into a folder.
    pub(crate) fn write(&self, at: usize, folder: &Path) {
        for instance in &self.series[at].instances {
            let path = folder.join(format!("{}.dcm", instance.uid));
            std::fs::write(path, &instance.bytes).expect("written");
        }
    }

    /// A FHIR R4 collection Bundle that lists the study.
    pub(crate) fn fhir(&self) -> Vec<u8> {
        self.fhir_document().to_string().into_bytes()
    }

    /// As [`Study::fhir`], to be spoilt.
    pub(crate) fn fhir_document(&self) -> Value {
        let mut entries = Vec::new();
        let mut series = Vec::new();
        for (at, listed) in self.series.iter().enumerate() {
            let ids = (0..listed.locations.len()).map(|n| format!("urn:uuid:{at}-{n}"));
            let ids: Vec<String> = ids.collect();
            for (id, location) in ids.iter().zip(&listed.locations) {
                entries.push(json!({ "fullUrl": id, "resource": endpoint(location) }));
            }
            let references = ids.iter().map(|id| json!({ "reference": id }));
            let instances = listed.instances.iter().map(|instance| {
                json!({ "uid": instance.uid, "sopClass": { "code": format!("urn:oid:{CT}") } })
            });
            let mut resource = json!({
                "uid": listed.uid,
                "modality": { "code": "CT" },
                "instance": instances.collect::<Vec<_>>(),
            });
            if !ids.is_empty() {
                resource["endpoint"] = references.collect();
            }
            series.push(resource);
        }
        entries.insert(
            0,
            json!({ "fullUrl": "urn:uuid:study", "resource": {
                "resourceType": "ImagingStudy",
                "status": "available",
                "identifier": [{ "system": "urn:dicom:uid", "value": format!("urn:oid:{}", self.uid) }],
                "subject": { "reference": "urn:uuid:patient" },
                "series": series,
            }}),
        );
        entries.push(json!({ "fullUrl": "urn:uuid:patient", "resource": {
            "resourceType": "Patient",
            "identifier": [{ "value": PATIENT_ID }],
            "name": [{ "family": "Quetzalcoatl", "given": ["Philomena"] }],
        }}));
        json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
    }

    /// A Key Object Selection document that lists the study.
    pub(crate) fn kos(&self) -> Vec<u8> {
        self.kos_of_class(KOS)
    }

    /// As [`Study::kos`], of another SOP class.
    pub(crate) fn kos_of_class(&self, class: &str) -> Vec<u8> {
        let uid = format!("{}.0.1", self.uid);
        let title = [
            text(0x0008_0100, b"SH", "131560"),
            text(0x0008_0102, b"SH", "DCM"),
            text(0x0008_0104, b"LO", "Imaging study manifest"),
        ];
        let mut set = [
            text(0x0008_0016, b"UI", class),
            text(0x0008_0018, b"UI", &uid),
            text(0x0008_0060, b"CS", "KO"),
            text(0x0010_0010, b"PN", PATIENT_NAME),
            text(0x0010_0020, b"LO", PATIENT_ID),
            text(0x0020_000D, b"UI", &self.uid),
            text(0x0020_000E, b"UI", &format!("{}.0", self.uid)),
            sequence(0x0040_A043, [title.concat()]),
        ]
        .concat();
        if !self.series.is_empty() {
            let study = [
                sequence(0x0008_1115, self.series.iter().map(referenced_series)),
                text(0x0020_000D, b"UI", &self.uid),
            ];
            set.extend(sequence(0x0040_A375, [study.concat()]));
        }
        part10(class, &uid, EXPLICIT, &set)
    }
}

fn referenced_series(series: &Series) -> Vec<u8> {
    let instances = series.instances.iter().map(|instance| {
        [
            text(0x0008_1150, b"UI", CT),
            text(0x0008_1155, b"UI", &instance.uid),
        ]
        .concat()
    });
    let location = series.locations.first().cloned().unwrap_or_default();
    let mut item = Vec::new();
    if let Some(url) = &location.retrieve_url {
        item.extend(text(0x0008_1190, b"UR", url));
    }
    item.extend(sequence(0x0008_1199, instances));
    item.extend(text(0x0020_000E, b"UI", &series.uid));
    if let Some(uid) = &location.retrieve_location_uid {
        item.extend(text(0x0040_E011, b"UI", uid));
    }
    item
}

fn endpoint(location: &Location) -> Value {
    let mut endpoint = json!({
        "resourceType": "Endpoint",
        "status": "active",
        "connectionType": { "code": "dicom-wado-rs" },
        "payloadType": [{ "text": "DICOM" }],
        "address": location.retrieve_url.as_deref().unwrap_or("https://nowhere.invalid/rs"),
    });
    if let Some(uid) = &location.retrieve_location_uid {
        endpoint["extension"] = json!([{
            "url": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoRetrieveLocationUIDExtension",
            "valueString": uid,
        }]);
    }
    endpoint
}

impl Instance {
    /// An instance whose pixel data are `size` bytes that look random; `uids` are those of the
    /// study, the series and the instance.
    pub(crate) fn new(uids: [&str; 3], transfer_syntax: &str, size: usize) -> Self {
        let [study, series, uid] = uids;
        let element = match transfer_syntax {
            IMPLICIT => implicit,
            _ => text,
        };
        let set = [
            element(0x0008_0016, b"UI", CT),
            element(0x0008_0018, b"UI", uid),
            element(0x0008_0060, b"CS", "CT"),
            element(0x0010_0010, b"PN", PATIENT_NAME),
            element(0x0010_0020, b"LO", PATIENT_ID),
            element(0x0020_000D, b"UI", study),
            element(0x0020_000E, b"UI", series),
            pixel_data(transfer_syntax, &random(uid, size + size % 2)),
        ];
        Self {
            study: study.into(),
            series: series.into(),
            uid: uid.into(),
            transfer_syntax: transfer_syntax.into(),
            bytes: part10(CT, uid, transfer_syntax, &set.concat()).into(),
        }
    }

    /// The same instance decoded, as a source gives it on request.
    pub(crate) fn decoded(&self) -> Self {
        Self::new([&self.study, &self.series, &self.uid], EXPLICIT, 9000)
    }

    /// The path of the instance below a DICOMweb root.
    pub(crate) fn path(&self) -> String {
        let Self {
            study, series, uid, ..
        } = self;
        format!("studies/{study}/series/{series}/instances/{uid}")
    }
}

/// A Part 10 file of this data set.
pub(crate) fn part10(class: &str, uid: &str, transfer_syntax: &str, set: &[u8]) -> Vec<u8> {
    let meta = [
        long(0x0002_0001, b"OB", &[0, 1]),
        text(0x0002_0002, b"UI", class),
        text(0x0002_0003, b"UI", uid),
        text(0x0002_0010, b"UI", transfer_syntax),
        text(0x0002_0012, b"UI", "2.25.1"),
    ]
    .concat();
    let length = u32::try_from(meta.len())
        .expect("a short head")
        .to_le_bytes();
    let group_length = short(0x0002_0000, b"UL", &length);
    [&[0; 128][..], b"DICM", &group_length, &meta, set].concat()
}

/// An element of text, padded as PS3.5 6.2 wants it.
pub(crate) fn text(tag: u32, vr: &[u8; 2], value: &str) -> Vec<u8> {
    let padded = padded(vr, value);
    match vr {
        b"UR" | b"UT" | b"UC" => long(tag, vr, &padded),
        _ => short(tag, vr, &padded),
    }
}

/// A sequence whose items have lengths.
pub(crate) fn sequence(tag: u32, items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut value = Vec::new();
    for item in items {
        value.extend(tag_bytes(0xFFFE_E000));
        value.extend(length(&item));
        value.extend(item);
    }
    long(tag, b"SQ", &value)
}

/// An element whose length takes four bytes.
pub(crate) fn long(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    [&tag_bytes(tag)[..], vr, &[0, 0], &length(value), value].concat()
}

fn short(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a short value");
    [&tag_bytes(tag)[..], vr, &length.to_le_bytes(), value].concat()
}

fn implicit(tag: u32, vr: &[u8; 2], value: &str) -> Vec<u8> {
    let value = padded(vr, value);
    [&tag_bytes(tag)[..], &length(&value), &value].concat()
}

fn pixel_data(transfer_syntax: &str, pixels: &[u8]) -> Vec<u8> {
    const PIXEL_DATA: u32 = 0x7FE0_0010;
    let tag = tag_bytes(PIXEL_DATA);
    match transfer_syntax {
        IMPLICIT => [&tag[..], &length(pixels), pixels].concat(),
        EXPLICIT => long(PIXEL_DATA, b"OW", pixels),
        // PS3.5 A.4: an empty offset table, one fragment, the end.
        _ => [
            &tag[..],
            b"OB\0\0\xFF\xFF\xFF\xFF",
            &tag_bytes(0xFFFE_E000),
            &[0; 4],
            &tag_bytes(0xFFFE_E000),
            &length(pixels),
            pixels,
            &tag_bytes(0xFFFE_E0DD),
            &[0; 4],
        ]
        .concat(),
    }
}

fn padded(vr: &[u8; 2], value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(if vr == b"UI" { 0 } else { b' ' });
    }
    bytes
}

fn tag_bytes(tag: u32) -> [u8; 4] {
    let ([g0, g1], [e0, e1]) = (
        u16::try_from(tag >> 16).expect("16 bits").to_le_bytes(),
        u16::try_from(tag & 0xFFFF).expect("16 bits").to_le_bytes(),
    );
    [g0, g1, e0, e1]
}

fn length(value: &[u8]) -> [u8; 4] {
    u32::try_from(value.len()).expect("32 bits").to_le_bytes()
}

/// Pseudo-random bytes, the same in every run (SplitMix64, seeded with a UID).
fn random(seed: &str, size: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(7_u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01B3)
            .wrapping_add(byte.into())
    });
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend((word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
