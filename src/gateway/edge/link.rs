//! Where something is, as an answer tells it: always an address of our own.

use crate::gateway::{Asking, Gateway};
use crate::request::XcWado;
use crate::resource::SubResource;
use crate::resource::Target;

/// What stands around the path of a resource.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: String,
    /// Empty, or a query with its question mark.
    query: String,
}

impl Place {
    /// A DICOMweb root, without a slash at its end.
    pub(crate) fn new(root: String) -> Self {
        Self {
            root,
            query: String::new(),
        }
    }

    /// What stands before `studies`.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Where something below a resource is.
    pub(crate) fn of_sub_resource(&self, target: &Target, sub_resource: &SubResource) -> String {
        let Self { root, query } = self;
        let (target, sub_resource) = (target.path(), sub_resource.path());
        format!("{root}/{target}/{sub_resource}{query}")
    }

    /// Where a resource is.
    pub(crate) fn of(&self, target: &Target) -> String {
        let Self { root, query } = self;
        format!("{root}/{}{query}", target.path())
    }
}

impl Gateway {
    /// The root of a location of a community, under the listener that was asked.
    pub(crate) fn place(&self, asking: &Asking, request: &XcWado) -> Place {
        let front = &asking.front.url;
        let path = &self.xc_wado.path;
        let location = &request.location;
        let query = location.xc_wado_query();
        Place {
            root: format!(
                "{front}/{path}/{}",
                location.xc_wado_path(&request.home_community_id)
            ),
            query: query.map_or(String::new(), |query| format!("?{query}")),
        }
    }
}
