//! What the sender of a request may do and see: decided once, before anything is looked up.

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::access::{self, Caller, Door, Peer, Transaction, view_of_link};
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::{Error, Gateway};
use crate::ihe::HomeCommunityId;
use crate::library::View;
use crate::manifest::Id;
use crate::request::wado_uri::{Content, WadoUri};
use crate::request::{Resource, Root, XcWado};
use crate::resource::{FrameForm, SubResource};

impl Gateway {
    /// The manifests that a request may concern.
    ///
    /// # Errors
    /// If the sender may not do this at all. A manifest that it may not see does not exist for it.
    pub(crate) fn permitted(
        &self,
        caller: &Caller,
        door: Door,
        head: &Parts,
        resource: &Resource,
    ) -> Result<View, Error> {
        let is_xc_wado = matches!(resource, Resource::XcWado(_));
        match (door, caller) {
            // Clients of the listener for partners retrieve by RAD-160 and do nothing else.
            (Door::Gateway, _) if !is_xc_wado => return Err(Error::NotFound),
            // That page is for persons; where there are no logins, it is not there.
            (Door::Public, Caller::Partner(_)) if matches!(resource, Resource::FirstPage) => {
                return Err(Error::NotFound);
            }
            (Door::Public, Caller::Partner(_)) if !is_xc_wado => {
                return Err(Error::PartnersOnlyRetrieve);
            }
            _ => {}
        }
        let is_link = matches!(caller, Caller::Link(_));
        let view = if self.access.rules(door).is_none() && !is_link {
            View::everything()
        } else {
            let Some(transaction) = self.transaction(head, resource) else {
                return Ok(View::nothing());
            };
            if let Resource::XcWado(request) = resource {
                self.permit_xc_wado(caller, door, transaction, request)?;
            }
            self.view(caller, door, transaction)
        };
        match manifest_of(resource) {
            None if is_xc_wado => Ok(view),
            Some(id) if !self.library.shows(&view, id) => Err(Error::NotFound),
            // Its existence is no secret.
            None if view.is_nothing() => Err(access::Error::NoRight.into()),
            Some(_) | None => Ok(view),
        }
    }

    /// The manifests that a transaction of a client concerns.
    fn view(&self, caller: &Caller, door: Door, transaction: Transaction) -> View {
        match (self.access.rules(door), caller) {
            (Some(rules), _) => rules.view(caller, transaction),
            (None, Caller::Link(grant)) => view_of_link(grant, transaction),
            (None, Caller::Member { .. } | Caller::Partner(_) | Caller::Subject(_)) => {
                View::everything()
            }
        }
    }

    fn permit_xc_wado(
        &self,
        caller: &Caller,
        door: Door,
        transaction: Transaction,
        request: &XcWado,
    ) -> Result<(), Error> {
        if matches!(caller, Caller::Link(_)) {
            return Err(Error::NotFound);
        }
        let Some(rules) = self.access.rules(door) else {
            return Ok(());
        };
        let location = request.location.retrieve_location_uid.as_ref();
        // Which locations there are is a secret.
        let is_permitted = rules.permit(caller, transaction, location.map(|uid| uid.as_str()));
        is_permitted.then_some(()).ok_or(Error::NotFound)
    }

    fn transaction(&self, head: &Parts, resource: &Resource) -> Option<Transaction> {
        transaction(head, resource, |community| self.is_ours(community))
    }

    /// Whether a client may use the operator listener. Where rules apply, only those on this machine
    /// may without a token.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn may_operate(&self, peer: &Peer, headers: &HeaderMap) -> Result<(), Error> {
        let Some(rules) = self.access.rules(Door::Public) else {
            return Ok(());
        };
        if peer.address.to_canonical().is_loopback() {
            return Ok(());
        }
        let caller = self.access.identify(peer, headers).await?;
        match rules.view(&caller, Transaction::Operate).is_nothing() {
            true => Err(access::Error::Unidentified.into()),
            false => Ok(()),
        }
    }

    /// Whether a client that is not identified may retrieve a manifest.
    pub(crate) fn is_for_everybody(&self, exchange: &Exchange<'_>, id: Id) -> bool {
        let nobody = Caller::Member {
            with_certificate: false,
        };
        let view = self.view(&nobody, exchange.door, Transaction::Retrieve);
        self.library.shows(&view, id)
    }

    /// The manifests that the sender of a request may make links to.
    pub(crate) fn linkable(&self, exchange: &Exchange<'_>) -> View {
        self.view(&exchange.caller, exchange.door, Transaction::Link)
    }
}

/// The transaction of a request, as rules name it; `None` for one that shows nothing.
#[must_use]
pub fn transaction(
    head: &Parts,
    resource: &Resource,
    is_ours: impl Fn(&HomeCommunityId) -> bool,
) -> Option<Transaction> {
    let method = &head.method;
    Some(match resource {
        Resource::ProtectedResource
        | Resource::Unlock(_)
        | Resource::FirstPage
        | Resource::Login
        | Resource::LoggedIn
        | Resource::Logout => return None,
        Resource::Manifests if *method == Method::POST => Transaction::Register,
        Resource::Manifest(_) if *method == Method::DELETE => Transaction::Register,
        Resource::Manifests | Resource::Manifest(_) => Transaction::List,
        Resource::Links(_) | Resource::Link(..) => Transaction::Link,
        Resource::Root(_) | Resource::Search(..) => Transaction::Search,
        Resource::Viewers(_) | Resource::Viewer(..) | Resource::Retrieve(..) => {
            Transaction::Retrieve
        }
        Resource::Wado(_) => of_wado_uri(head),
        Resource::Derive(_, _, resource) => of_sub_resource(resource),
        Resource::XcWado(request) if is_ours(&request.home_community_id) => {
            Transaction::XcWadoResponding
        }
        Resource::XcWado(_) => Transaction::XcWadoInitiating,
    })
}

/// A request that cannot be read shows nothing.
fn of_wado_uri(head: &Parts) -> Transaction {
    let fields = head.headers.get_all(ACCEPT).iter();
    let accept: Vec<&str> = fields.filter_map(|field| field.to_str().ok()).collect();
    let parsed = WadoUri::parse(head.uri.query(), &accept);
    match parsed.map(|request| request.content) {
        Ok(Content::Picture { .. }) => Transaction::Render,
        Ok(Content::Dicom(_)) | Err(_) => Transaction::Retrieve,
    }
}

fn of_sub_resource(resource: &SubResource) -> Transaction {
    match resource {
        SubResource::Rendered
        | SubResource::Thumbnail
        | SubResource::Frames(_, FrameForm::Rendered | FrameForm::Thumbnail) => Transaction::Render,
        SubResource::Metadata
        | SubResource::Frames(_, FrameForm::Pixels)
        | SubResource::Bulkdata(_)
        | SubResource::Pixeldata => Transaction::Retrieve,
    }
}

/// The manifest that a resource belongs to.
#[must_use]
pub fn manifest_of(resource: &Resource) -> Option<Id> {
    match resource {
        Resource::Manifest(id)
        | Resource::Viewers(id)
        | Resource::Viewer(id, _)
        | Resource::Links(id)
        | Resource::Link(id, _) => Some(*id),
        Resource::Root(root)
        | Resource::Search(root, _)
        | Resource::Wado(root)
        | Resource::Retrieve(root, _)
        | Resource::Derive(root, _, _) => match root {
            Root::Manifest(id) => Some(*id),
            Root::All => None,
        },
        Resource::Manifests
        | Resource::Unlock(_)
        | Resource::ProtectedResource
        | Resource::FirstPage
        | Resource::Login
        | Resource::LoggedIn
        | Resource::Logout
        | Resource::XcWado(_) => None,
    }
}
