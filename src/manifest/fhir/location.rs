//! Turns the endpoints of a series, or those of its study, into locations.

use super::concept::Reference;
use super::endpoint::{Endpoint, Purpose};
use super::member::List;
use super::reference::Resolver;
use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
use crate::ihe::Location;
use crate::manifest::location;
use crate::manifest::warning::{Defect, Warnings};
use crate::resource::Target;

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
            match resolver.endpoint(&reference) {
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

    /// The addresses at which web viewers open a study.
    pub(super) fn viewer_urls(
        &self,
        study: &StudyInstanceUid,
        warnings: &mut Warnings,
    ) -> Vec<Box<str>> {
        let viewers = self.viewers.iter().filter_map(|viewer| {
            let url = viewer.address.clone().read("endpoint address", warnings)?;
            Some(match viewer.purpose {
                Purpose::InvokeImageDisplay => invoke_image_display(&url, study),
                Purpose::Viewer | Purpose::Retrieve | Purpose::Other => url,
            })
        });
        viewers.collect()
    }

    fn add(&mut self, endpoint: &'a Endpoint, warnings: &mut Warnings) {
        let list = match endpoint.purpose {
            Purpose::Retrieve => &mut self.retrieve,
            Purpose::Viewer | Purpose::InvokeImageDisplay => &mut self.viewers,
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

/// A study at the base of an Image Display (IHE RAD TF-2 4.106.4.1.2), unless its address has the
/// parameters already.
fn invoke_image_display(base: &str, study: &StudyInstanceUid) -> Box<str> {
    const ACTION: &str = "IHEInvokeImageDisplay";
    let (path, query) = base.split_once('?').unwrap_or((base, ""));
    if query.to_ascii_lowercase().contains("requesttype=") {
        return base.into();
    }
    let path = path.trim_end_matches('/');
    let (slash, action) = match path.ends_with(ACTION) {
        true => ("", ""),
        false => ("/", ACTION),
    };
    let more = if query.is_empty() { "" } else { "&" };
    format!("{path}{slash}{action}?{query}{more}requestType=STUDY&studyUID={study}").into()
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
    let target = Target::Series(study.clone(), series.clone());
    let retrieve_url = address.and_then(|address| location::base_uri(&address, &target, warnings));
    Location {
        retrieve_location_uid,
        retrieve_url,
        retrieve_ae_title: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_an_image_display_gets_its_parameters() {
        let study = StudyInstanceUid::parse("1.2.3").expect("a UID");
        let url = "https://v.example/iid/IHEInvokeImageDisplay?requestType=STUDY&studyUID=1.2.3";
        for base in [
            "https://v.example/iid",
            "https://v.example/iid/",
            "https://v.example/iid/IHEInvokeImageDisplay",
            "https://v.example/iid/IHEInvokeImageDisplay?",
            url,
        ] {
            assert_eq!(&*invoke_image_display(base, &study), url, "{base}");
        }
        let with_query = invoke_image_display("https://v.example/?site=7", &study);
        let expected =
            "https://v.example/IHEInvokeImageDisplay?site=7&requestType=STUDY&studyUID=1.2.3";
        assert_eq!(&*with_query, expected);
    }
}
