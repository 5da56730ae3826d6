//! Attributes of cached instances that no manifest tells.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::dicom::json::AVAILABLE_TRANSFER_SYNTAX_UID;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid, TransferSyntax, digits};
use crate::gateway::Gateway;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::selection::expected;
use crate::instance::Listing;
use crate::manifest::Holding;
use crate::present::metadata::rooted;
use crate::resource::Target;
use crate::retrieve::{PatientCheck, Retriever};
use crate::search::{Include, Row};
use crate::source::Source;

/// Instances of a series that are looked at for an attribute that all of them share.
const LOOKED_AT: usize = 4;
/// PS3.18 table 10.6.3-5: attributes of an instance that a manifest does not hold.
const OF_INSTANCES: [&str; 4] = ["00280008", "00280010", "00280011", "00280100"];

const CONTENT_SEQUENCE: &str = "0040A730";

/// Instances of a series, and their source.
struct LocatedListing {
    source: Arc<Source>,
    listing: Arc<Listing>,
    patient: Arc<PatientCheck>,
}

/// The cached metadata of some series.
pub(super) struct KnownInstances {
    retriever: Retriever,
    series: HashMap<SeriesInstanceUid, Vec<LocatedListing>>,
}

impl Gateway {
    /// The cached metadata of the instances of these studies.
    pub(super) fn known<'a>(
        &self,
        exchange: &Exchange<'_>,
        holding: &Holding,
        studies: impl Iterator<Item = &'a StudyInstanceUid>,
    ) -> KnownInstances {
        let mut series: HashMap<_, Vec<_>> = HashMap::new();
        for study in studies {
            let target = Target::Study(study.clone());
            let patient = PatientCheck::new(expected(holding, study), Vec::new());
            let located = self.located(exchange, holding, &target);
            for (selected, source) in located.into_iter().flatten() {
                if let Some(source) = source {
                    let uid = selected.listing.series.clone();
                    let listing = selected.listing;
                    let located = LocatedListing {
                        source,
                        listing,
                        patient: Arc::clone(&patient),
                    };
                    series.entry(uid).or_default().push(located);
                }
            }
        }
        KnownInstances {
            retriever: self.retriever.clone(),
            series,
        }
    }
}

impl KnownInstances {
    /// Adds its own attributes to the row of an instance.
    pub(super) fn of_instance(
        &self,
        row: &mut Row,
        series: &SeriesInstanceUid,
        uid: &SopInstanceUid,
        include: &Include,
    ) {
        let mut listings = self.series.get(series).into_iter().flatten();
        let located = listings.find(|located| located.listing.instances.contains_key(uid));
        if let Some(syntax) = located.and_then(|located| self.syntax(located, uid)) {
            let tag = digits(AVAILABLE_TRANSFER_SYNTAX_UID);
            let attribute = json!({ "vr": "UI", "Value": [syntax.available()] });
            row.insert(tag, attribute);
        }
        let known = located.and_then(|located| self.metadata(located, uid));
        let Some(known) = known else { return };
        for (tag, attribute) in known {
            let is_included = OF_INSTANCES.contains(&tag.as_str()) || include.has(&tag);
            // A manifest tells a part of the content of a key object selection.
            let is_there = tag != CONTENT_SEQUENCE && row.get(&tag).is_some_and(has_value);
            let is_asked_for = is_included || row.contains_key(&tag);
            // Results hold no bulk data.
            if is_asked_for && !is_there && attribute.get("BulkDataURI").is_none() {
                row.insert(tag, attribute);
            }
        }
    }

    /// Fills in the empty attributes of a series, or of its study.
    pub(super) fn of_series(&self, row: &mut Row, series: &SeriesInstanceUid) {
        let listings = self.series.get(series).into_iter().flatten();
        let instances = listings.flat_map(|located| {
            let uids = located.listing.instances.keys().take(LOOKED_AT);
            uids.map(move |uid| (located, uid))
        });
        let mut known = instances.filter_map(|(located, uid)| self.metadata(located, uid));
        let Some(mut known) = known.next() else {
            return;
        };
        for (tag, attribute) in row.iter_mut() {
            if has_value(attribute) {
                continue;
            }
            if let Some(own) = known.remove(tag).filter(has_value) {
                *attribute = own;
            }
        }
    }

    fn syntax(&self, located: &LocatedListing, uid: &SopInstanceUid) -> Option<TransferSyntax> {
        let LocatedListing {
            source,
            listing,
            patient,
        } = located;
        self.retriever.known_syntax(source, listing, uid, patient)
    }

    fn metadata(
        &self,
        located: &LocatedListing,
        uid: &SopInstanceUid,
    ) -> Option<Map<String, Value>> {
        let LocatedListing {
            source,
            listing,
            patient,
        } = located;
        let known = self.retriever.known_metadata(source, listing, uid, patient);
        let json = known?;
        // Links are skipped, so their root does not matter.
        serde_json::from_slice(&rooted(&json, "")).ok()
    }
}

fn has_value(attribute: &Value) -> bool {
    let values = attribute.get("Value").and_then(Value::as_array);
    values.is_some_and(|values| !values.is_empty())
}
