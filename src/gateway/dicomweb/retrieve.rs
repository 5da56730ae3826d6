//! *Retrieve Instances* (PS3.18 10.4).

use std::cell::RefCell;

use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};

use crate::body::{self, Body};
use crate::derive;
use crate::gateway::edge::conditional::{self, EntityTag};
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::BaseUrl;
use crate::gateway::edge::response::{
    CACHE_STATUS, HIT, MISS, boundary, response, warn, warn_of_left_out, warn_of_patient,
};
use crate::gateway::selection::LEFT_OUT;
use crate::gateway::{Error, Gateway};
use crate::instance::{Instance, Instances, Way};
use crate::present::{self, Presented};
use crate::request::{Acceptable, Payload, Root};
use crate::resource::Target;
use crate::retrieve::{Missing, Retrieval};

impl Gateway {
    /// The instances of a target out of a manifest's selection.
    pub(crate) async fn retrieve(
        &self,
        exchange: &Exchange<'_>,
        root: Root,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let acceptable = acceptable(exchange, target)?;
        let holding = self.holding(exchange, root, target.study()).await?;
        let patient = self.patient(root, &holding, target.study()).await?;
        let plan = self.plan(&holding, target, exchange)?.of_patient(&patient);
        let base = exchange.base_url(root);
        let mut response = if exchange.is_head_of_many(target) {
            let location = base.of(target);
            self.head_of_instances(exchange, &plan, &location, acceptable.payload)?
        } else {
            let context = self.context(exchange);
            let retrieval = derive::transcoded(context, plan, &acceptable.syntaxes).await?;
            self.instances(exchange, retrieval, acceptable.payload, base, target)
                .await?
        };
        warn_of_patient(&mut response, &patient)?;
        if holding.excluded(target.study()) > 0 {
            warn(&mut response, LEFT_OUT)?;
        }
        let beyond = holding.declared_beyond(target);
        if beyond > 0 {
            let text = format!("{beyond} more instances are declared than listed");
            warn(&mut response, &text)?;
        }
        Ok(response)
    }

    /// The response with the instances of a retrieval.
    pub(crate) async fn instances(
        &self,
        exchange: &Exchange<'_>,
        retrieval: Retrieval,
        payload: Payload,
        base: BaseUrl,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let location = base.of(target);
        let Retrieval {
            mut instances,
            missing,
            is_kept,
            left_out,
        } = retrieval;
        let is_one = matches!(target, Target::Instance(..)) && missing == Missing::Nothing;
        let first = match payload {
            Payload::Single => Some(first_of(&mut instances).await?),
            Payload::Multipart if is_one => Some(first_of(&mut instances).await?),
            Payload::Multipart => None,
        };
        let status = match &first {
            Some(instance) => cache_status(instance.way),
            None if is_kept => HIT,
            None => MISS,
        };
        let is_conditional = conditional::is_conditional(&exchange.head.headers);
        let tag = first
            .as_ref()
            .and_then(|instance| tag_of(instance, payload, is_conditional));
        let presented = present(first, instances, payload, base)?;
        let mut response = response(presented, missing, &location)?;
        let headers = response.headers_mut();
        headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
        if missing != Missing::Nothing || left_out.count > 0 {
            warn_of_left_out(&mut response, &left_out)?;
            return Ok(response);
        }
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        let (head, tag) = (exchange.head, tag.as_ref());
        Ok(match payload {
            Payload::Single => conditional::answer(&head.method, &head.headers, tag, response),
            Payload::Multipart => conditional::whole(&head.headers, tag, response),
        })
    }
}

thread_local! {
    /// The latest `Accept` of one field, for an instance or not, and its meaning. A viewer sends
    /// the same one with each of its requests.
    static LATEST: RefCell<Option<(String, bool, Acceptable)>> = const { RefCell::new(None) };
}

/// The representations of a target that the client accepts.
pub(crate) fn acceptable(exchange: &Exchange<'_>, target: &Target) -> Result<Acceptable, Error> {
    let is_instance = matches!(target, Target::Instance(..));
    let fields = exchange.accept();
    let (None, [field]) = (exchange.query(), &fields[..]) else {
        return Ok(Acceptable::parse(exchange.query(), &fields, is_instance)?);
    };
    LATEST.with_borrow_mut(|latest| match latest {
        Some((text, of_instance, known)) if text == field && *of_instance == is_instance => {
            Ok(known.clone())
        }
        _ => {
            let parsed = Acceptable::parse(None, &fields, is_instance)?;
            *latest = Some(((*field).to_owned(), is_instance, parsed.clone()));
            Ok(parsed)
        }
    })
}

fn present(
    first: Option<Instance>,
    instances: Instances,
    payload: Payload,
    base: BaseUrl,
) -> Result<Presented, Error> {
    Ok(match (first, payload) {
        (Some(instance), Payload::Single) => present::single(instance),
        (first, _) => {
            let located = move |target: &Target| base.of(target);
            present::multipart(instances.after(first), boundary()?, located)
        }
    })
}

/// The entity tag of an instance, alone or in a part; none while it is being fetched.
fn tag_of(instance: &Instance, payload: Payload, is_needed: bool) -> Option<EntityTag> {
    let (is_alone, representation) = match payload {
        Payload::Single => (true, "alone"),
        Payload::Multipart => (false, "in parts"),
    };
    match (instance.tag(is_needed), instance.stamp) {
        (Some(blake3), _) if is_alone => Some(EntityTag::of_stored(blake3)),
        (Some(blake3), _) => Some(EntityTag::in_parts(blake3)),
        (None, Some(stamp)) => Some(EntityTag::made(stamp, representation)),
        (None, None) => None,
    }
}

async fn first_of(instances: &mut Instances) -> Result<Instance, body::Error> {
    instances.next().await?.ok_or(body::Error::Missing(1))
}

fn cache_status(way: Way) -> &'static str {
    match way {
        Way::Memory => "xcwado; hit; detail=memory",
        Way::Disk => "xcwado; hit; detail=disk",
        Way::Collapsed => "xcwado; fwd=miss; collapsed",
        Way::Fetched => "xcwado; fwd=miss; stored",
        Way::PassedOn => MISS,
    }
}
