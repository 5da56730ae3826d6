//! The image library (TID 1600): the descriptions of the selected series and instances.

use super::code::Concept;
use super::content::{Content, Kind};
use super::indexed_study::{IndexedStudy, InstanceDescription, SeriesDescription};
use super::reader::{MAX_LIST, Reader, add};
use super::{MAX_SERIES, drim_m};
use crate::dicom::dataset::Element;
use crate::manifest::model::{Code, Study};
use crate::manifest::warning::Defect;

/// The limit for the depth of the library in the content tree. It belongs directly below the root,
/// but some writers repeat the root.
const MAX_DEPTH: usize = 4;

/// Adds the descriptions in the content tree to a study. False: the tree has no library.
pub(super) fn describe(
    content: Element<'_>,
    indexed: &mut IndexedStudy,
    reader: &mut Reader,
) -> bool {
    let mut search = LibrarySearch::default();
    search.explore(content, 1, reader);
    for code in search.procedures {
        add(&mut indexed.study.procedures, code);
    }
    let has_library = search.library.is_some() || !search.groups.is_empty();
    if search.library.is_some_and(|(_, depth)| depth > 1) {
        reader.warnings.read_all_the_same(Defect::LibraryPlace);
    }
    if !search.groups.is_empty() {
        reader.warnings.read_all_the_same(Defect::GroupPlace);
    }
    for group in search.groups {
        Group::default().describe(group, indexed, reader);
    }
    if let Some((library, _depth)) = search.library {
        describe_study(library, indexed, reader);
    }
    for text in search.texts {
        if let Some(text) = reader.lines(text, Concept::KeyObjectDescription.name()) {
            drim_m::describe(&text, indexed);
        }
    }
    has_library
}

#[derive(Default)]
struct LibrarySearch<'a> {
    library: Option<(Content<'a>, usize)>,
    /// Image library groups outside a library, as documents of IHE's guide had them in April 2026.
    groups: Vec<Content<'a>>,
    procedures: Vec<Code>,
    /// Descriptions of the document itself.
    texts: Vec<Element<'a>>,
}

impl<'a> LibrarySearch<'a> {
    /// Searches for the library, down to [`MAX_DEPTH`], without descending into it.
    fn explore(&mut self, content: Element<'a>, depth: usize, reader: &mut Reader) {
        for item in content.items() {
            let Some(item) = reader.item(item) else { break };
            let content = Content::read(&item, reader);
            match (content.kind, content.concept) {
                (Kind::Container, Some(Concept::ImageLibrary)) => {
                    self.library.get_or_insert((content, depth));
                }
                (Kind::Container, Some(Concept::ImageLibraryGroup)) => {
                    let has_room = self.groups.len() < MAX_SERIES;
                    self.groups.extend(has_room.then_some(content));
                }
                (Kind::Text, Some(Concept::KeyObjectDescription)) => {
                    let has_room = self.texts.len() < MAX_LIST;
                    self.texts.extend(content.plain().filter(|_| has_room));
                }
                (Kind::Container, _) if depth < MAX_DEPTH => {
                    if let Some(children) = content.children {
                        self.explore(children, depth + 1, reader);
                    }
                }
                (Kind::Code, Some(Concept::ProcedureCode)) => {
                    if let Some(code) = content.code(reader) {
                        add(&mut self.procedures, code);
                    }
                }
                _ => {}
            }
        }
    }
}

fn describe_study(library: Content<'_>, indexed: &mut IndexedStudy, reader: &mut Reader) {
    let items = library.children.iter().flat_map(Element::items);
    for item in items {
        let Some(item) = reader.item(item) else { break };
        let content = Content::read(&item, reader);
        if content.kind == Kind::Container {
            Group::default().describe(content, indexed, reader);
        } else {
            describe_study_with(content, &mut indexed.study, reader);
        }
    }
}

fn describe_study_with(content: Content<'_>, study: &mut Study, reader: &mut Reader) {
    match content.concept {
        Some(Concept::Modality) => {
            if let Some(modality) = modality(content, reader) {
                add(&mut study.modalities, modality);
            }
        }
        Some(Concept::TargetRegion) => {
            if let Some(region) = region(content, reader) {
                add(&mut study.regions, region);
            }
        }
        Some(Concept::SeriesCount) => study.declared_series = content.count(reader),
        Some(Concept::StudyDate) => study.date = reader.date(content.plain(), content.name()),
        Some(Concept::StudyTime) => study.time = reader.time(content.plain(), content.name()),
        _ => {}
    }
}

/// An image library group: one series (TID 1600 row 6).
#[derive(Default)]
struct Group<'a> {
    series_uid: Option<&'a str>,
    /// The series of the first instance that the evidence lists.
    series_of_instances: Option<u32>,
    series: SeriesDescription,
    /// The description that precedes the next reference.
    preceding: InstanceDescription,
}

impl<'a> Group<'a> {
    fn describe(mut self, group: Content<'a>, indexed: &mut IndexedStudy, reader: &mut Reader) {
        reader.warnings.turn_to(indexed.subject(None));
        let items = group.children.iter().flat_map(Element::items);
        for item in items {
            let Some(item) = reader.item(item) else { break };
            let content = Content::read(&item, reader);
            if content.kind == Kind::Reference {
                self.describe_instance(content, indexed, reader);
            } else if !self.preceding.read(content, reader) {
                self.preceding = InstanceDescription::default();
                self.describe_series(content, indexed, reader);
            }
        }
        self.finish(indexed, reader);
    }

    fn describe_instance(
        &mut self,
        reference: Content<'a>,
        indexed: &mut IndexedStudy,
        reader: &mut Reader,
    ) {
        let preceding = std::mem::take(&mut self.preceding);
        let Some(uid) = reference.sop_instance_uid(reader) else {
            reader.malformed("image library entry");
            return;
        };
        let Some(series) = indexed.find_series_of(uid) else {
            let defect = Defect::NotListed("image library entry");
            reader.warnings.left_out(defect);
            return;
        };
        self.series_of_instances.get_or_insert(series);
        if self.series_uid.is_none() {
            reader.warnings.turn_to(indexed.subject(Some(series)));
        }
        let mut below = InstanceDescription::default();
        let children = reference.children.iter().flat_map(Element::items);
        for item in children {
            let Some(item) = reader.item(item) else { break };
            below.read(Content::read(&item, reader), reader);
        }
        if below.is_empty() && !preceding.is_empty() {
            reader.warnings.read_all_the_same(Defect::DescriptorPlace);
            below = preceding;
        }
        let named = self.series_uid.and_then(|uid| indexed.find_series(uid));
        indexed.describe_instance(uid, named.or(self.series_of_instances), below);
    }

    fn describe_series(
        &mut self,
        content: Content<'a>,
        indexed: &mut IndexedStudy,
        reader: &mut Reader,
    ) {
        let series = &mut self.series;
        match content.concept {
            Some(Concept::SeriesInstanceUid) => {
                self.series_uid = reader.plain(content.plain(), content.name());
                let at = self.series_uid.and_then(|uid| indexed.find_series(uid));
                reader.warnings.turn_to(indexed.subject(at));
            }
            Some(Concept::SeriesNumber) => series.number = content.integer(reader),
            Some(Concept::Modality) => series.modality = modality(content, reader),
            Some(Concept::SeriesDescription) => series.description = content.text(reader),
            Some(Concept::SeriesDate) => series.date = reader.date(content.plain(), content.name()),
            Some(Concept::SeriesTime) => series.time = reader.time(content.plain(), content.name()),
            Some(Concept::TargetRegion) => series.body_site = region(content, reader),
            Some(Concept::Laterality) => series.laterality = region(content, reader),
            Some(Concept::InstanceCount) => series.declared_instances = content.count(reader),
            Some(Concept::StudyDate) if indexed.study.date.is_none() => {
                indexed.study.date = reader.date(content.plain(), content.name());
            }
            Some(Concept::StudyTime) if indexed.study.time.is_none() => {
                indexed.study.time = reader.time(content.plain(), content.name());
            }
            _ => {}
        }
    }

    fn finish(self, indexed: &mut IndexedStudy, reader: &mut Reader) {
        let series = match self.series_uid {
            Some(uid) => indexed.find_series(uid),
            None => self.series_of_instances,
        };
        let (warnings, is_named) = (&mut reader.warnings, self.series_uid.is_some());
        match (series, is_named) {
            (Some(_), true) => {}
            (Some(_), false) => warnings.read_all_the_same(Defect::GroupWithoutSeries),
            (None, true) => warnings.left_out(Defect::NotListed("image library group")),
            (None, false) => warnings.left_out(Defect::GroupWithoutSeries),
        }
        if let Some(series) = series {
            indexed.describe_series(series, self.series);
        }
        warnings.turn_to(indexed.subject(None));
    }
}

impl InstanceDescription {
    /// Reads a content item that describes an instance. False: it describes something else.
    fn read(&mut self, content: Content<'_>, reader: &mut Reader) -> bool {
        match content.concept {
            Some(Concept::InstanceNumber) => self.number = content.integer(reader),
            Some(Concept::FrameCount) => self.frames = content.count(reader),
            Some(Concept::DocumentTitle) => self.title = content.code(reader),
            Some(Concept::KeyObjectDescription) => self.description = content.text(reader),
            _ => return false,
        }
        true
    }

    fn is_empty(&self) -> bool {
        let Self {
            number,
            frames,
            title,
            description,
            flagged,
        } = self;
        let has_text = title.is_some() || description.is_some();
        number.is_none() && frames.is_none() && !has_text && flagged.is_empty()
    }
}

fn modality(content: Content<'_>, reader: &mut Reader) -> Option<Box<str>> {
    match content.kind {
        Kind::Code => content.code(reader).map(|code| code.value),
        Kind::Text => content.text(reader),
        Kind::Container | Kind::Reference | Kind::Number | Kind::Other => None,
    }
    .filter(|modality| !modality.is_empty())
}

/// A code, or a text in its place, which becomes the meaning of a code without a value.
fn region(content: Content<'_>, reader: &mut Reader) -> Option<Code> {
    content.code(reader).or_else(|| {
        let meaning = Some(content.text(reader)?);
        Some(Code {
            value: "".into(),
            scheme: None,
            meaning,
        })
    })
}
