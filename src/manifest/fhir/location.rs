//! Turns the endpoints of a series, or those of its study, into locations.

use super::concept::Reference;
use super::endpoint::{Endpoint, Purpose};
use super::member::List;
use super::reference::Resolver;
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::ihe::Location;
use crate::manifest::location;
use crate::manifest::warning::{Defect, Warnings};

/// The limit for endpoints of one purpose of a series or study: each series copies those of its
/// study.
const MOST_ENDPOINTS: usize = 8;

/// The endpoints that a study or series references.
#[derive(Debug, Default)]
pub(super) struct Endpoints<'a> {
    retrieve: Vec<&'a Endpoint>,
    viewers: Vec<&'a Endpoint>,
    /// Whether some references are unresolved.
    is_incomplete: bool,
}

impl<'a> Endpoints<'a> {
    /// Resolves the references, in their order.
    pub(super) fn resolve(
        references: List<Reference>,
        resolver: &Resolver<'a>,
        warnings: &mut Warnings,
    ) -> Self {
        let mut endpoints = Self {
            is_incomplete: references.is_malformed,
            ..Self::default()
        };
        for reference in references.read("endpoint reference", warnings) {
            match reference
                .reference
                .and_then(|reference| resolver.endpoint(&reference))
            {
                Some(endpoint) => endpoints.add(endpoint, warnings),
                None => {
                    endpoints.is_incomplete = true;
                    warnings.left_out(Defect::UnresolvedReference("endpoint"));
                }
            }
        }
        endpoints
    }

    /// These endpoints, or those of the study if the series references none. With an unresolved
    /// reference, the study's endpoints would be a guess.
    pub(super) fn or<'s>(&'s self, inherited: &'s Self) -> &'s Self {
        if self.retrieve.is_empty() && !self.is_incomplete {
            inherited
        } else {
            self
        }
    }

    /// The locations of a series, in the order of its endpoints.
    pub(super) fn locations(
        &self,
        study: &StudyInstanceUid,
        series: &SeriesInstanceUid,
        warnings: &mut Warnings,
    ) -> Vec<Location> {
        let mut locations = Vec::new();
        for endpoint in &self.retrieve {
            let location = location_of(endpoint, study, series, warnings);
            if location != Location::default() && !locations.contains(&location) {
                locations.push(location);
            }
        }
        locations
    }

    /// The addresses of web viewers.
    pub(super) fn viewer_urls(&self, warnings: &mut Warnings) -> Vec<Box<str>> {
        let url = |viewer: &&Endpoint| viewer.address.clone().read("endpoint address", warnings);
        self.viewers.iter().filter_map(url).collect()
    }

    fn add(&mut self, endpoint: &'a Endpoint, warnings: &mut Warnings) {
        let list = match endpoint.purpose {
            Purpose::Retrieve => &mut self.retrieve,
            Purpose::Viewer => &mut self.viewers,
            Purpose::Other => return,
        };
        if list.iter().any(|known| std::ptr::eq(*known, endpoint)) {
            return;
        }
        if list.len() < MOST_ENDPOINTS {
            list.push(endpoint);
        } else {
            warnings.left_out(Defect::TooLong("list of endpoints"));
        }
    }
}

fn location_of(
    endpoint: &Endpoint,
    study: &StudyInstanceUid,
    series: &SeriesInstanceUid,
    warnings: &mut Warnings,
) -> Location {
    let retrieve_location_uid = endpoint
        .retrieve_location_uid
        .clone()
        .read("Retrieve Location UID", warnings);
    if let Some(uid) = &retrieve_location_uid {
        location::check_uid(uid, warnings);
    }
    let address = endpoint.address.clone().read("endpoint address", warnings);
    let retrieve_url =
        address.and_then(|address| location::base_uri(&address, study, series, warnings));
    Location {
        retrieve_location_uid,
        retrieve_url,
        retrieve_ae_title: None,
    }
}
