//! Reads one ImagingStudy, with the resources that it references, into a study of the model.

use std::collections::HashSet;
use std::sync::Arc;

use time::UtcOffset;

use super::concept::{Concept, Extension, Identifier, IdentifierKind, Reference};
use super::date_time::{DateTime, dicom_offset};
use super::location::Endpoints;
use super::member::{Integer, List, Member, Shape};
use super::patient;
use super::reference::{Directory, Resolver};
use super::resource::{Entry, ImagingStudy, Order};
use super::series::{Fault, Series as ListedSeries, SeriesList};
use crate::dicom::{StudyInstanceUid, Uid};
use crate::manifest::warning::{Defect, Subject, Warnings};
use crate::manifest::{Accession, Code, Patient, Series, Study};

const ANATOMICAL_REGION: &[&str] = &["anatomicalregion"];

/// The limit for accession numbers of one study.
const MOST_ACCESSIONS: usize = 64;

/// The limit for the bytes of an accession number; DICOM allows 16, other standards more.
const LONGEST_ACCESSION: usize = 256;

/// A study as one ImagingStudy of the Bundle describes it.
#[derive(Debug)]
pub(super) struct StudyEntry {
    pub(super) study: Study,
    pub(super) declared_instances: Option<u32>,
    /// Whether two of its entries name different patients.
    pub(super) patients_differ: bool,
}

/// Reads one study of a Bundle.
///
/// # Errors
/// [`Fault`] if the study, a series or an instance has no UID, or a limit is exceeded.
pub(super) fn read(
    entry: Entry<Box<ImagingStudy>>,
    bundle: &Directory<'_>,
    warnings: &mut Warnings,
) -> Result<StudyEntry, Fault> {
    let Entry {
        full_url,
        resource: mut study,
        ..
    } = entry;
    let contained = std::mem::take(&mut study.contained);
    let contained = Directory::new(&contained);
    let resolver = Resolver::new(bundle, &contained, full_url.as_deref());
    let uid = study_instance_uid(&study.identifier)?;
    warnings.turn_to(Subject::Study(uid.clone()));
    let series = series_list(std::mem::take(&mut study.series))?;
    let patient = patient_of(std::mem::take(&mut study.subject), &resolver, warnings);
    Ok(StudyEntry {
        declared_instances: count(
            std::mem::take(&mut study.number_of_instances),
            "number of instances",
            warnings,
        ),
        patients_differ: false,
        study: Study {
            patient: Arc::new(patient),
            ..describe(uid, *study, series, &resolver, warnings)
        },
    })
}

/// Adds the accession numbers of orders, also of orders that the study does not reference.
pub(super) fn add_orders(study: &mut Study, orders: &[Entry<Order>], warnings: &mut Warnings) {
    for order in orders {
        add_order(&mut study.accessions, &order.resource, warnings);
    }
}

fn study_instance_uid(identifiers: &List<Identifier>) -> Result<StudyInstanceUid, Fault> {
    let named = identifiers
        .items
        .iter()
        .find(|identifier| identifier.kind == IdentifierKind::StudyInstanceUid);
    let uid = match named {
        Some(identifier) => Uid::from_text(&identifier.value).present(),
        None => only_uid(&identifiers.items),
    };
    let missing = || Fault::Uid {
        what: "study instance uid",
        path: ".identifier".to_owned(),
    };
    uid.map(StudyInstanceUid::from).ok_or_else(missing)
}

// Of several UIDs without a type, none is certain to be the study's.
fn only_uid(identifiers: &[Identifier]) -> Option<Uid> {
    let mut uids = identifiers.iter().filter_map(Identifier::uid_in_uri);
    uids.next().filter(|_| uids.next().is_none())
}

fn series_list(series: Member<SeriesList>) -> Result<Vec<ListedSeries>, Fault> {
    match series {
        Member::Absent => Ok(Vec::new()),
        Member::Malformed => Err(Fault::List {
            path: ".series".to_owned(),
        }),
        Member::Present(SeriesList {
            fault: Some(fault), ..
        }) => Err(fault.within(".series")),
        Member::Present(series) => Ok(series.list),
    }
}

// A study without a subject belongs to the only patient of the Bundle. An unreadable or unresolved
// subject may be any patient: the study then has none, rather than the wrong one.
fn patient_of(
    subject: Member<Reference>,
    resolver: &Resolver<'_>,
    warnings: &mut Warnings,
) -> Patient {
    let is_absent = matches!(subject, Member::Absent);
    let members = match subject.read("subject", warnings) {
        None if is_absent => resolver.only_patient(),
        None => None,
        Some(Reference {
            reference: Some(reference),
            ..
        }) => {
            let patient = resolver.patient(&reference);
            if patient.is_none() {
                warnings.left_out(Defect::UnresolvedReference("patient"));
            }
            patient
        }
        Some(Reference {
            reference: None,
            identifier,
            ..
        }) => {
            let Some(identifier) = identifier else {
                warnings.left_out(Defect::UnresolvedReference("patient"));
                return Patient::default();
            };
            match resolver.identified_patient(&identifier) {
                Some(members) => Some(members),
                // The Bundle does not describe this patient: only the identifier is available.
                None => return patient::identified(*identifier),
            }
        }
    };
    members.map_or_else(Patient::default, |members| {
        patient::read(members.clone(), warnings)
    })
}

fn describe(
    uid: StudyInstanceUid,
    study: ImagingStudy,
    listed: Vec<ListedSeries>,
    resolver: &Resolver<'_>,
    warnings: &mut Warnings,
) -> Study {
    let started = moment(study.started, "study date", warnings);
    let offset = started
        .as_ref()
        .and_then(DateTime::offset)
        .or_else(|| listed.iter().find_map(offset));
    let endpoints = Endpoints::resolve(study.endpoint, resolver, warnings);
    let reader = SeriesReader {
        study: &uid,
        offset,
        endpoints: &endpoints,
        resolver,
    };
    let series = reader.read_all(listed, warnings);
    let modalities = study
        .modality
        .read("study modality", warnings)
        .into_iter()
        .filter_map(|concept| concept.code);
    let procedures = study
        .procedure_code
        .read("procedure code", warnings)
        .into_iter();
    Study {
        date: started.as_ref().map(DateTime::dicom_date),
        time: started.as_ref().and_then(DateTime::dicom_time),
        timezone: offset.map(dicom_offset),
        description: study.description.read("study description", warnings),
        referring_physician: referrer(study.referrer, resolver),
        study_id: None,
        accessions: accessions(study.identifier, study.based_on, resolver, warnings),
        modalities: distinct(
            modalities.chain(series.iter().filter_map(|series| series.modality.clone())),
        ),
        regions: regions(study.extension, warnings),
        procedures: procedures
            .chain(study.procedure.read("procedure", warnings))
            .filter_map(Concept::code)
            .collect(),
        viewer_urls: endpoints.viewer_urls(&uid, warnings),
        declared_series: count(study.number_of_series, "number of series", warnings),
        series,
        uid,
        patient: Arc::default(),
    }
}

/// Reads the series of one study.
struct SeriesReader<'a> {
    study: &'a StudyInstanceUid,
    /// The study's offset from UTC.
    offset: Option<UtcOffset>,
    /// The study's endpoints, which a series without endpoints inherits.
    endpoints: &'a Endpoints<'a>,
    resolver: &'a Resolver<'a>,
}

impl SeriesReader<'_> {
    fn read_all(&self, listed: Vec<ListedSeries>, warnings: &mut Warnings) -> Vec<Series> {
        let listed = listed.into_iter();
        let series = listed.map(|series| self.read(series, warnings)).collect();
        warnings.turn_to(Subject::Study(self.study.clone()));
        series
    }

    fn read(&self, series: ListedSeries, warnings: &mut Warnings) -> Series {
        let ListedSeries {
            uid,
            members,
            instances,
            malformed,
        } = series;
        warnings.turn_to(Subject::Series(uid.clone()));
        malformed
            .into_iter()
            .for_each(|what| warnings.malformed(what));
        let started = moment(members.started, "series date", warnings)
            .map(|started| started.in_offset(self.offset));
        let endpoints = Endpoints::resolve(members.endpoint, self.resolver, warnings);
        Series {
            number: members
                .number
                .and_then(Integer::fit)
                .read("series number", warnings),
            modality: code(members.modality).read("series modality", warnings),
            description: members.description.read("series description", warnings),
            date: started.as_ref().map(DateTime::dicom_date),
            time: started.as_ref().and_then(DateTime::dicom_time),
            body_site: members
                .body_site
                .read("body site", warnings)
                .and_then(Concept::code),
            laterality: members
                .laterality
                .read("laterality", warnings)
                .and_then(Concept::code),
            declared_instances: count(members.number_of_instances, "number of instances", warnings),
            locations: endpoints
                .or(self.endpoints)
                .locations(self.study, &uid, warnings),
            instances,
            uid,
        }
    }
}

// A name for display has no structure; PS3.5 6.2.1 then has it as the family name.
fn referrer(reference: Member<Reference>, resolver: &Resolver<'_>) -> Option<Box<str>> {
    let reference = reference.present()?;
    let practitioner = resolver.practitioner(&reference);
    let name = practitioner.and_then(|one| patient::person_name(one.name.items.clone()));
    name.or_else(|| patient::unstructured(&reference.display?))
}

fn moment(
    member: Member<Box<str>>,
    what: &'static str,
    warnings: &mut Warnings,
) -> Option<DateTime> {
    let moment = member
        .and_then(|text| DateTime::parse(&text))
        .read(what, warnings)?;
    if moment.has_lost_time {
        warnings.left_out(Defect::NoTime(what));
    }
    Some(moment)
}

fn offset(series: &ListedSeries) -> Option<UtcOffset> {
    DateTime::parse(series.members.started.as_ref()?)
        .present()?
        .offset()
}

fn count(member: Member<Integer>, what: &'static str, warnings: &mut Warnings) -> Option<u32> {
    member.and_then(Integer::fit).read(what, warnings)
}

fn code(concept: Member<Concept>) -> Member<Box<str>> {
    concept.and_then(|concept| concept.code.into())
}

fn regions(extensions: List<Extension>, warnings: &mut Warnings) -> Vec<Code> {
    let regions = extensions.read("extension", warnings).into_iter();
    let regions = regions.filter(|extension| extension.is(ANATOMICAL_REGION));
    regions
        .filter_map(|region| region.value.read("anatomical region", warnings)?.code())
        .collect()
}

fn distinct(modalities: impl Iterator<Item = Box<str>>) -> Vec<Box<str>> {
    let mut seen = HashSet::new();
    modalities
        .filter(|modality| seen.insert(modality.clone()))
        .collect()
}

fn accessions(
    identifiers: List<Identifier>,
    based_on: List<Reference>,
    resolver: &Resolver<'_>,
    warnings: &mut Warnings,
) -> Vec<Accession> {
    let mut accessions = Vec::new();
    for identifier in identifiers.read("study identifier", warnings) {
        if identifier.kind == IdentifierKind::AccessionNumber {
            add_accession(&mut accessions, &identifier, warnings);
        }
    }
    let mut seen = HashSet::new();
    for reference in based_on.read("order reference", warnings) {
        let order = resolver.order(&reference);
        match (&reference.identifier, order) {
            (None, None) => warnings.left_out(Defect::UnresolvedReference("order")),
            (Some(identifier), _) => add_untyped(&mut accessions, identifier, warnings),
            (None, Some(_)) => {}
        }
        // Each order once: a thousand references to a long order would cost a million comparisons.
        if let Some(order) = order.filter(|&order| seen.insert(std::ptr::from_ref(order))) {
            add_order(&mut accessions, order, warnings);
        }
    }
    accessions
}

fn add_order(accessions: &mut Vec<Accession>, order: &Order, warnings: &mut Warnings) {
    if order.identifier.is_malformed {
        warnings.malformed("order identifier");
    }
    let typed = |identifier: &&Identifier| identifier.kind == IdentifierKind::AccessionNumber;
    for identifier in order.identifier.items.iter().filter(typed) {
        add_accession(accessions, identifier, warnings);
    }
}

// `basedOn` references an order; its identifier is an accession number unless its type says
// otherwise.
fn add_untyped(accessions: &mut Vec<Accession>, identifier: &Identifier, warnings: &mut Warnings) {
    match identifier.kind {
        IdentifierKind::AccessionNumber | IdentifierKind::Untyped => {
            add_accession(accessions, identifier, warnings);
        }
        IdentifierKind::StudyInstanceUid | IdentifierKind::Other => {}
    }
}

fn add_accession(
    accessions: &mut Vec<Accession>,
    identifier: &Identifier,
    warnings: &mut Warnings,
) {
    // A sample of the implementation guide puts the number in quotes.
    let value = identifier
        .value
        .trim_matches(|c: char| c == '"' || c.is_whitespace());
    if value.is_empty() || value.len() > LONGEST_ACCESSION {
        warnings.malformed("accession number");
    } else if let Some(known) = accessions
        .iter_mut()
        .find(|known| is_same(known, value, identifier))
    {
        known.issuer = known.issuer.take().or_else(|| identifier.issuer.clone());
    } else if accessions.len() < MOST_ACCESSIONS {
        accessions.push(Accession {
            value: value.into(),
            issuer: identifier.issuer.clone(),
        });
    } else {
        warnings.malformed("accession number");
    }
}

fn is_same(known: &Accession, value: &str, identifier: &Identifier) -> bool {
    let differ =
        known.issuer.is_some() && identifier.issuer.is_some() && known.issuer != identifier.issuer;
    &*known.value == value && !differ
}
