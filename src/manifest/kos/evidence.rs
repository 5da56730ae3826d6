//! The Current Requested Procedure Evidence Sequence (0040,A375): the selection of a document.

use std::collections::{HashMap, HashSet};

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::code::RawCode;
use super::indexed_study::{IndexedStudy, InstanceDescription, SeriesDescription};
use super::reader::{Reader, add};
use super::{Error, MAX_INSTANCES, MAX_SERIES};
use crate::dicom::dataset::{DataSet, Element};
use crate::dicom::{NotAUid, SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::{Location, RetrieveLocationUid};
use crate::manifest::location;
use crate::manifest::model::{FlaggedInstance, KeyObject, Study};
use crate::manifest::warning::{Defect, Subject, Warnings};
use crate::resource::Target;

const PRIVATE_CREATOR: &[u8] = b"IHE_MADO_PRIVATE";

/// The studies that a document selects.
#[derive(Default)]
pub(super) struct Evidence {
    studies: Vec<IndexedStudy>,
    at: HashMap<StudyInstanceUid, usize>,
    sop_classes: HashSet<SopClassUid>,
    series: usize,
    instances: usize,
    duplicates: u32,
}

impl Evidence {
    pub(super) fn read(sequence: Element<'_>, reader: &mut Reader) -> Result<Self, Error> {
        let mut evidence = Self::default();
        for item in sequence.items() {
            evidence.read_study(&item?, reader)?;
        }
        if evidence.instances == 0 {
            return Err(Error::NoEvidence);
        }
        evidence.warn_of_repetition(&mut reader.warnings);
        Ok(evidence)
    }

    fn warn_of_repetition(&self, warnings: &mut Warnings) {
        if self.duplicates > 0 {
            warnings.turn_to(Subject::Manifest);
            warnings.read_all_the_same(Defect::Duplicates(self.duplicates));
        }
        let shared = self.studies.iter().map(IndexedStudy::in_several_series);
        let shared = u32::try_from(shared.sum::<usize>()).unwrap_or(u32::MAX);
        for study in &self.studies {
            for series in study.sharing_series() {
                warnings.turn_to(study.subject(Some(series)));
                warnings.read_all_the_same(Defect::InSeveralSeries(shared));
            }
        }
    }

    /// The position of a study.
    pub(super) fn find(&self, study: &str) -> Option<usize> {
        self.at.get(study).copied()
    }

    /// The position of the only study.
    pub(super) fn only(&self) -> Option<usize> {
        (self.studies.len() == 1).then_some(0)
    }

    pub(super) fn indexed_study_mut(&mut self, at: usize) -> &mut IndexedStudy {
        &mut self.studies[at]
    }

    pub(super) fn study_mut(&mut self, at: usize) -> &mut Study {
        &mut self.studies[at].study
    }

    /// The described studies.
    pub(super) fn finish(self, reader: &mut Reader) -> Vec<Study> {
        let studies = self.studies.into_iter().map(|indexed| indexed.study);
        studies.map(|study| finish(study, reader)).collect()
    }

    fn read_study(&mut self, item: &DataSet<'_>, reader: &mut Reader) -> Result<(), Error> {
        let [uid, series, display_uri] = reader.select(
            item,
            [
                tags::STUDY_INSTANCE_UID,
                tags::REFERENCED_SERIES_SEQUENCE,
                tags::DISPLAY_URI,
            ],
        )?;
        let uid = parse(uid, "study instance UID", StudyInstanceUid::parse)?;
        let subject = Subject::Study(uid.clone());
        let mut study_at = self.find(uid.as_str());
        for item in series.iter().flat_map(Element::items) {
            self.read_series(&uid, &mut study_at, &item?, reader)?;
        }
        reader.warnings.turn_to(subject);
        let Some(study_at) = study_at else {
            reader.warnings.left_out(Defect::Empty("study"));
            return Ok(());
        };
        let viewers = &mut self.studies[study_at].study.viewer_urls;
        for uri in [display_uri, private_display_uri(item)] {
            if let Some(uri) = reader.plain(uri, "display URI") {
                add(viewers, uri.into());
            }
        }
        Ok(())
    }

    fn read_series(
        &mut self,
        study: &StudyInstanceUid,
        study_at: &mut Option<usize>,
        item: &DataSet<'_>,
        reader: &mut Reader,
    ) -> Result<(), Error> {
        if let Some(uid) = item.text(tags::SERIES_INSTANCE_UID)
            && let Ok(uid) = SeriesInstanceUid::parse(&String::from_utf8_lossy(uid))
        {
            reader.warnings.turn_to(Subject::Series(uid));
        }
        let item = SeriesItem::read(item, reader)?;
        let mut instances = item.instances.iter().flat_map(Element::items).peekable();
        if instances.peek().is_none() {
            reader.warnings.left_out(Defect::Empty("series"));
            return Ok(());
        }
        let study_at = *study_at.get_or_insert_with(|| self.add_study(study));
        let series_at = self.add_series(study_at, &item.uid)?;
        for instance in instances {
            self.read_instance(study_at, series_at, &instance?, reader)?;
        }
        let location = item.location(study, reader);
        let indexed = &mut self.studies[study_at];
        indexed.describe_series(series_at, item.description(reader));
        if location != Location::default() {
            add(&mut indexed.series(series_at).locations, location);
        }
        Ok(())
    }

    fn read_instance(
        &mut self,
        study_at: usize,
        series_at: u32,
        item: &DataSet<'_>,
        reader: &mut Reader,
    ) -> Result<(), Error> {
        let [class, uid, number, frames, related, content] = reader.select(
            item,
            [
                tags::REFERENCED_SOP_CLASS_UID,
                tags::REFERENCED_SOP_INSTANCE_UID,
                tags::INSTANCE_NUMBER,
                tags::NUMBER_OF_FRAMES,
                tags::RELATED_SERIES_SEQUENCE,
                tags::CONTENT_SEQUENCE,
            ],
        )?;
        let uid = parse(uid, "SOP instance UID", SopInstanceUid::parse)?;
        let class = self.sop_class(class)?;
        if self.instances == MAX_INSTANCES {
            return Err(Error::TooLarge {
                what: "instances",
                at_most: MAX_INSTANCES,
            });
        }
        if !self.studies[study_at].add_instance(series_at, class, &uid) {
            self.duplicates = self.duplicates.saturating_add(1);
            return Ok(());
        }
        self.instances += 1;
        let KeyObject {
            title,
            description,
            flagged,
        } = key_object(related, content, reader);
        // Xt-EHR V7e describes the instance here, DRIM-M gives its number.
        let description = InstanceDescription {
            number: reader.integer(number, "instance number"),
            frames: reader.count(frames, "number of frames"),
            title,
            description,
            flagged,
        };
        self.studies[study_at].describe_instance(uid.as_str(), Some(series_at), description);
        Ok(())
    }

    // A few SOP classes serve many instances: they share the text.
    fn sop_class(&mut self, element: Option<Element<'_>>) -> Result<SopClassUid, Error> {
        let text = element.as_ref().and_then(Element::ascii);
        if let Some(known) = text.and_then(|text| self.sop_classes.get(text)) {
            return Ok(known.clone());
        }
        let class = parse(element, "SOP class UID", SopClassUid::parse)?;
        self.sop_classes.insert(class.clone());
        Ok(class)
    }

    fn add_study(&mut self, uid: &StudyInstanceUid) -> usize {
        let at = self.studies.len();
        self.studies.push(IndexedStudy::new(uid.clone()));
        self.at.insert(uid.clone(), at);
        at
    }

    fn add_series(&mut self, study_at: usize, uid: &SeriesInstanceUid) -> Result<u32, Error> {
        let study = &mut self.studies[study_at];
        if let Some(at) = study.find_series(uid.as_str()) {
            return Ok(at);
        }
        if self.series == MAX_SERIES {
            return Err(Error::TooLarge {
                what: "series",
                at_most: MAX_SERIES,
            });
        }
        self.series += 1;
        Ok(study.add_series(uid))
    }
}

/// An item of the Referenced Series Sequence (0008,1115).
struct SeriesItem<'a> {
    uid: SeriesInstanceUid,
    instances: Option<Element<'a>>,
    retrieve_location_uid: Option<Element<'a>>,
    retrieve_url: Option<Element<'a>>,
    retrieve_ae_title: Option<Element<'a>>,
    number: Option<Element<'a>>,
    date: Option<Element<'a>>,
    time: Option<Element<'a>>,
    modality: Option<Element<'a>>,
    description: Option<Element<'a>>,
}

impl<'a> SeriesItem<'a> {
    fn read(item: &DataSet<'a>, reader: &mut Reader) -> Result<Self, Error> {
        let [
            uid,
            retrieve_location_uid,
            retrieve_url,
            retrieve_ae_title,
            instances,
            number,
            date,
            time,
            modality,
            description,
        ] = reader.select(
            item,
            [
                tags::SERIES_INSTANCE_UID,
                tags::RETRIEVE_LOCATION_UID,
                tags::RETRIEVE_URL,
                tags::RETRIEVE_AE_TITLE,
                tags::REFERENCED_SOP_SEQUENCE,
                tags::SERIES_NUMBER,
                tags::SERIES_DATE,
                tags::SERIES_TIME,
                tags::MODALITY,
                tags::SERIES_DESCRIPTION,
            ],
        )?;
        Ok(Self {
            uid: parse(uid, "series instance UID", SeriesInstanceUid::parse)?,
            instances,
            retrieve_location_uid,
            retrieve_url,
            retrieve_ae_title,
            number,
            date,
            time,
            modality,
            description,
        })
    }

    fn location(&self, study: &StudyInstanceUid, reader: &mut Reader) -> Location {
        Location {
            retrieve_location_uid: retrieve_location_uid(self.retrieve_location_uid, reader),
            retrieve_url: retrieve_url(self.retrieve_url, study, &self.uid, reader),
            retrieve_ae_title: retrieve_ae_title(self.retrieve_ae_title, reader),
        }
    }

    // Xt-EHR V7e describes the series here; DRIM-M gives its number.
    fn description(&self, reader: &mut Reader) -> SeriesDescription {
        SeriesDescription {
            number: reader.integer(self.number, "series number"),
            modality: reader.text(self.modality, "modality"),
            description: reader.text(self.description, "series description"),
            date: reader.date(self.date, "series date"),
            time: reader.time(self.time, "series time"),
            ..SeriesDescription::default()
        }
    }
}

fn parse<T>(
    element: Option<Element<'_>>,
    what: &'static str,
    parse: fn(&str) -> Result<T, NotAUid>,
) -> Result<T, Error> {
    let text = element.as_ref().and_then(Element::ascii);
    parse(text.unwrap_or_default()).map_err(|NotAUid| Error::InvalidUid(what))
}

fn retrieve_location_uid(
    element: Option<Element<'_>>,
    reader: &mut Reader,
) -> Option<RetrieveLocationUid> {
    const PART: &str = "Retrieve Location UID";
    let text = reader.plain(element, PART)?;
    let Ok(uid) = RetrieveLocationUid::parse(text) else {
        reader.malformed(PART);
        return None;
    };
    location::check_uid(&uid, &mut reader.warnings);
    Some(uid)
}

fn retrieve_url(
    element: Option<Element<'_>>,
    study: &StudyInstanceUid,
    series: &SeriesInstanceUid,
    reader: &mut Reader,
) -> Option<Box<str>> {
    let url = reader.plain(element, "Retrieve URL")?;
    let target = Target::Series(study.clone(), series.clone());
    location::base_uri(url, &target, &mut reader.warnings)
}

fn retrieve_ae_title(element: Option<Element<'_>>, reader: &mut Reader) -> Option<Box<str>> {
    // The first of several values: all are titles of the same archive.
    let first = reader
        .plain(element, "Retrieve AE Title")?
        .split('\\')
        .next()?;
    let title = first.trim();
    (!title.is_empty()).then(|| title.into())
}

// MADO 1.1: (000D,xx01) in the block xx of its private creator (PS3.5 7.8.1).
fn private_display_uri<'a>(item: &DataSet<'a>) -> Option<Element<'a>> {
    const GROUP: u16 = 0x000D;
    let creator = item.elements().map_while(Result::ok).find(|element| {
        element.tag.group() == GROUP
            && (0x0010..=0x00FF).contains(&element.tag.element())
            && element.text() == Some(PRIVATE_CREATOR)
    })?;
    item.element(Tag(GROUP, creator.tag.element() << 8 | 0x01))
}

// Xt-EHR V7e: the item of a key object selection has its purpose, the flagged instances and its
// description.
fn key_object(
    related: Option<Element<'_>>,
    content: Option<Element<'_>>,
    reader: &mut Reader,
) -> KeyObject {
    let mut key_object = KeyObject {
        description: reader.first(content).and_then(|content| {
            let [text] = reader.describe(&content, [tags::TEXT_VALUE]);
            reader.text(text, "key object description")
        }),
        ..KeyObject::default()
    };
    for series in related.iter().flat_map(Element::items) {
        let Some(series) = reader.item(series) else {
            break;
        };
        let [instances] = reader.describe(&series, [tags::REFERENCED_SOP_SEQUENCE]);
        for item in instances.iter().flat_map(Element::items) {
            let Some(item) = reader.item(item) else { break };
            flag(&item, &mut key_object, reader);
        }
    }
    key_object
}

fn flag(item: &DataSet<'_>, key_object: &mut KeyObject, reader: &mut Reader) {
    let [class, uid, purpose] = reader.describe(
        item,
        [
            tags::REFERENCED_SOP_CLASS_UID,
            tags::REFERENCED_SOP_INSTANCE_UID,
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        ],
    );
    if key_object.title.is_none() {
        key_object.title = RawCode::of(purpose, "purpose of reference", reader).decode(reader);
    }
    let text = |element: &Option<Element<'_>>| {
        let text = element.as_ref().and_then(Element::ascii);
        text.unwrap_or_default().to_owned()
    };
    let class = SopClassUid::parse(&text(&class));
    match (class, SopInstanceUid::parse(&text(&uid))) {
        (Ok(sop_class), Ok(uid)) => {
            add(&mut key_object.flagged, FlaggedInstance { sop_class, uid })
        }
        (Err(NotAUid), _) | (_, Err(NotAUid)) => reader.malformed("flagged instance"),
    }
}

fn finish(mut study: Study, reader: &mut Reader) -> Study {
    for series in &study.series {
        if let Some(modality) = &series.modality {
            add(&mut study.modalities, modality.clone());
        }
        if series.locations.is_empty() {
            reader.warnings.turn_to(Subject::Series(series.uid.clone()));
            reader.warnings.left_out(Defect::NoLocation);
        }
    }
    study
}
