//! The addresses of resources, as responses give them: always below the gateway's own URL.

use crate::gateway::Gateway;
use crate::gateway::edge::exchange::Exchange;
use crate::manifest::Id;
use crate::request::{Root, XcWado};
use crate::resource::{SubResource, Target};

/// Everything of an address that stands around the path of a resource.
#[derive(Debug, Clone)]
pub(crate) struct BaseUrl {
    root: String,
    /// Empty, or a query with its question mark.
    query: String,
}

/// A target below a base URL, and perhaps a sub-resource of it.
#[derive(Debug, Clone)]
pub(crate) struct Locator {
    pub(crate) base: BaseUrl,
    pub(crate) target: Target,
    pub(crate) sub_resource: SubResource,
}

impl BaseUrl {
    /// A DICOMweb root, without a slash at its end.
    pub(crate) fn new(root: String) -> Self {
        Self {
            root,
            query: String::new(),
        }
    }

    /// The part before `studies`.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The address of a sub-resource.
    pub(crate) fn of_sub_resource(&self, target: &Target, sub_resource: &SubResource) -> String {
        let Self { root, query } = self;
        let (target, sub_resource) = (target.path(), sub_resource.path());
        format!("{root}/{target}/{sub_resource}{query}")
    }

    /// The address of a study, series or instance.
    pub(crate) fn of(&self, target: &Target) -> String {
        let Self { root, query } = self;
        format!("{root}/{}{query}", target.path())
    }
}

impl Locator {
    /// The address of the sub-resource.
    pub(crate) fn url(&self) -> String {
        self.base.of_sub_resource(&self.target, &self.sub_resource)
    }

    /// The same target with another sub-resource.
    pub(crate) fn with(&self, sub_resource: SubResource) -> Self {
        Self {
            sub_resource,
            ..self.clone()
        }
    }
}

impl Exchange<'_> {
    /// The address of the list of manifests.
    pub(crate) fn manifests_url(&self) -> String {
        format!("{}/manifests", self.public_url.url)
    }

    /// The address of a manifest.
    pub(crate) fn manifest_url(&self, id: Id) -> String {
        match &self.link_url {
            Some(link) => link.clone(),
            None => format!("{}/manifests/{id}", self.public_url.url),
        }
    }

    /// The address of a link.
    pub(crate) fn link_url(&self, token: &str) -> String {
        format!("{}/link/{token}", self.public_url.url)
    }

    /// The address of a DICOMweb root.
    pub(crate) fn base_url(&self, root: Root) -> BaseUrl {
        match root {
            Root::Manifest(id) => BaseUrl::new(format!("{}/dicomweb", self.manifest_url(id))),
            Root::All => BaseUrl::new(format!("{}/dicomweb", self.public_url.url)),
        }
    }
}

impl Gateway {
    /// The root of a location of a community, under the listener that accepted the request.
    pub(crate) fn xc_wado_base(&self, exchange: &Exchange<'_>, request: &XcWado) -> BaseUrl {
        let url = &exchange.public_url.url;
        let path = &self.xc_wado.path;
        let location = &request.location;
        let query = location.xc_wado_query();
        BaseUrl {
            root: format!(
                "{url}/{path}/{}",
                location.xc_wado_path(&request.home_community_id)
            ),
            query: query.map_or(String::new(), |query| format!("?{query}")),
        }
    }
}
