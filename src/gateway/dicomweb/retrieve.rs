//! Instances as an answer: what is said at its head, and what the client wants of them.

use http::header::{
    CACHE_CONTROL, CONTENT_LOCATION, CONTENT_TYPE, HeaderName, HeaderValue, VARY, WARNING,
};
use http::request::Parts;
use http::{Response, StatusCode};

use crate::body::{self, Body};
use crate::gateway::edge::conditional::{self, EntityTag};
use crate::gateway::edge::link::Place;
use crate::gateway::{Error, Gateway, boundary};
use crate::instance::{Instance, Instances, Way};
use crate::present::{self, Presented};
use crate::request::{Acceptable, Payload};
use crate::resource::Target;
use crate::retrieve::{Missing, Retrieval};

/// RFC 9211.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const HIT: &str = "xcwado; hit";
pub(crate) const MISS: &str = "xcwado; fwd=miss";

impl Gateway {
    /// Instances of `target`, as the client accepts them.
    pub(crate) async fn instances(
        &self,
        head: &Parts,
        (retrieval, acceptable): (Retrieval, Acceptable),
        place: Place,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let location = place.of(target);
        let Retrieval {
            mut instances,
            missing,
            is_kept,
        } = retrieval;
        let is_one = matches!(target, Target::Instance(..)) && missing == Missing::Nothing;
        let first = match acceptable.payload {
            Payload::Single => Some(first_of(&mut instances).await?),
            Payload::Multipart if is_one => Some(first_of(&mut instances).await?),
            Payload::Multipart => None,
        };
        let status = match &first {
            Some(instance) => status_of(instance.way),
            None if is_kept => HIT,
            None => MISS,
        };
        let is_alone = acceptable.payload == Payload::Single;
        let tag = first
            .as_ref()
            .and_then(|instance| tag_of(instance, is_alone));
        let presented = match (first, acceptable.payload) {
            (Some(instance), Payload::Single) => present::single(instance),
            (first, _) => {
                let located = move |target: &Target| place.of(target);
                present::multipart(instances.after(first), boundary()?, located)
            }
        };
        let mut response = response(presented, missing, &location)?;
        let headers = response.headers_mut();
        headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
        if missing != Missing::Nothing {
            return Ok(response);
        }
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        Ok(match acceptable.payload {
            Payload::Single => {
                conditional::answer((&head.method, &head.headers), tag.as_ref(), response)
            }
            Payload::Multipart => conditional::whole(&head.headers, tag.as_ref(), response),
        })
    }
}

/// The entity tag of an instance, alone or in parts; none while it is being fetched.
fn tag_of(instance: &Instance, is_alone: bool) -> Option<EntityTag> {
    let form = if is_alone { "alone" } else { "in parts" };
    match (instance.sha256, instance.stamp) {
        (Some(sha256), _) if is_alone => Some(EntityTag::of_stored(sha256)),
        (Some(sha256), _) => Some(EntityTag::in_parts(sha256)),
        (None, Some(stamp)) => Some(EntityTag::made(stamp, form)),
        (None, None) => None,
    }
}

async fn first_of(instances: &mut Instances) -> Result<Instance, body::Error> {
    instances.next().await?.ok_or(body::Error::Missing(1))
}

fn status_of(way: Way) -> &'static str {
    match way {
        Way::Memory => "xcwado; hit; detail=memory",
        Way::Disk => "xcwado; hit; detail=disk",
        Way::Collapsed => "xcwado; fwd=miss; collapsed",
        Way::Fetched => "xcwado; fwd=miss; stored",
        Way::PassedOn => "xcwado; fwd=miss",
    }
}

/// An answer that nobody else may keep, and that says what is missing.
pub(crate) fn response(
    presented: Presented,
    missing: Missing,
    location: &str,
) -> Result<Response<Body>, Error> {
    let mut response = Response::new(presented.body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value(&presented.content_type)?);
    headers.insert(CONTENT_LOCATION, value(location)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    // PS3.18 10.4.3: some of what was asked for.
    let warning = match missing {
        Missing::Nothing => return Ok(response),
        Missing::Some { missing, selected } => {
            format!("299 xcwado \"{missing} of {selected} instances cannot be given\"")
        }
        Missing::SourceSaysSome => "299 xcwado \"some instances cannot be given\"".to_owned(),
    };
    headers.insert(WARNING, value(&warning)?);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(response)
}

pub(crate) fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_invalid| Error::Internal)
}

/// A document that is written while it is read. A short one is written at once: then its length is
/// known, and a client that leaves costs nothing more.
pub(crate) async fn written_document(
    mut body: Body,
    content_type: &'static str,
) -> Result<Response<Body>, Error> {
    let first = body.chunk().await?.unwrap_or_default();
    let body = match body.chunk().await? {
        None => Body::full(first),
        Some(second) => body.after(second).after(first),
    };
    let mut response = json_document(String::new());
    *response.body_mut() = body;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// A document of our own, which nobody else may keep.
pub(crate) fn json_document(text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // Some of them have other forms.
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}
