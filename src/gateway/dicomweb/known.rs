//! What is known of instances that have crossed: their own attributes, which no manifest tells.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::gateway::Gateway;
use crate::instance::Listing;
use crate::manifest::Holding;
use crate::present::metadata::rooted;
use crate::resource::Target;
use crate::retrieve::Retriever;
use crate::search::{Include, Row};
use crate::source::Source;

/// Instances of a series that are looked at for what all of them say.
const LOOKED_AT: usize = 4;
/// PS3.18 table 10.6.3-5: given of an instance once it is known.
const OF_INSTANCES: [&str; 4] = ["00280008", "00280010", "00280011", "00280100"];

/// Instances, and where they come from.
type Shelf = (Arc<Source>, Arc<Listing>);

/// Where the instances of some series are kept.
pub(crate) struct KnownInstances {
    retriever: Retriever,
    series: HashMap<SeriesInstanceUid, Vec<Shelf>>,
}

impl Gateway {
    /// What is known of the instances of these studies.
    pub(crate) fn known<'a>(
        &self,
        holding: &Holding,
        studies: impl Iterator<Item = &'a StudyInstanceUid>,
    ) -> KnownInstances {
        let mut series: HashMap<_, Vec<_>> = HashMap::new();
        for study in studies {
            let target = Target::Study(study.clone());
            let located = self.located(holding, &target);
            for (selected, source) in located.into_iter().flatten() {
                if let Some(source) = source {
                    let uid = selected.listing.series.clone();
                    let shelves = series.entry(uid).or_default();
                    shelves.push((source, selected.listing));
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
    /// Adds to the attributes of an instance what is its own.
    pub(crate) fn of_instance(
        &self,
        row: &mut Row,
        (series, uid): (&SeriesInstanceUid, &SopInstanceUid),
        include: &Include,
    ) {
        let shelves = self.series.get(series).into_iter().flatten();
        let mut shelves = shelves.filter(|(_, listing)| listing.instances.contains_key(uid));
        let known = shelves.next().and_then(|shelf| self.metadata(shelf, uid));
        let Some(known) = known else { return };
        for (tag, attribute) in known {
            let is_wanted = OF_INSTANCES.contains(&tag.as_str()) || include.has(&tag);
            let is_there = row.get(&tag).is_some_and(has_value);
            let is_asked_for = is_wanted || row.contains_key(&tag);
            // What is large is not looked for by anybody who searches.
            if is_asked_for && !is_there && attribute.get("BulkDataURI").is_none() {
                row.insert(tag, attribute);
            }
        }
    }

    /// Gives those attributes of a series, or of what it is in, a value that have none.
    pub(crate) fn of_series(&self, row: &mut Row, series: &SeriesInstanceUid) {
        let shelves = self.series.get(series).into_iter().flatten();
        let instances = shelves.flat_map(|shelf| {
            let uids = shelf.1.instances.keys().take(LOOKED_AT);
            uids.map(move |uid| (shelf, uid))
        });
        let mut known = instances.filter_map(|(shelf, uid)| self.metadata(shelf, uid));
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

    fn metadata(
        &self,
        (source, listing): &Shelf,
        uid: &SopInstanceUid,
    ) -> Option<Map<String, Value>> {
        let json = self.retriever.known_metadata(source, listing, uid)?;
        // Links are left out; whose they would be does not matter.
        serde_json::from_slice(&rooted(&json, "")).ok()
    }
}

fn has_value(attribute: &Value) -> bool {
    let values = attribute.get("Value").and_then(Value::as_array);
    values.is_some_and(|values| !values.is_empty())
}
