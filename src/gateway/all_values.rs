//! Bulk data and pixel data of studies, series and whole instances (PS3.18 10.4.1.1.5): every value
//! that metadata have links to, each in a part.

use std::collections::VecDeque;
use std::sync::Arc;

use http::Response;
use http::request::Parts;
use serde_json::Value as Json;

use super::answer::response;
use super::bulkdata::{Value, opened, value_at, width_at};
use super::frames::own_media_type;
use super::one::{One, OneFrame, broken_off, frames_in};
use super::place::Place;
use super::{Error, Gateway, accept_fields, boundary};
use crate::body::Body;
use crate::dicom::{TransferSyntax, digits, json};
use crate::instance::Target;
use crate::multipart::Joiner;
use crate::object::{self, Extent, Skimmed, skim};
use crate::pixels::{Pool, Wanted};
use crate::present::Presented;
use crate::present::parts::with_syntax;
use crate::request::BulkAcceptable;
use crate::request::accept_bulk::{self, OCTET_STREAM, Representation, Stored};
use crate::retrieve::Plan;

/// Which of them are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    PixelData,
}

impl Gateway {
    /// The values of all instances that are asked for. Instances without any are left out.
    pub(super) async fn all_values(
        &self,
        head: &Parts,
        plan: Plan,
        (place, location): (Place, &str),
        which: Which,
    ) -> Result<Response<Body>, Error> {
        let missing = plan.missing();
        let mut values = Values {
            decoders: self.decoders.clone(),
            acceptable: BulkAcceptable::parse(head.uri.query(), &accept_fields(head)),
            place,
            which,
            instances: self.ones(&plan)?.into(),
            found: VecDeque::new(),
        };
        // The first is opened before anything is said, so that what is wrong with it can be said.
        let first = values.next().await?.ok_or(match which {
            Which::All => object::Error::NoValue,
            Which::PixelData => object::Error::NoPixelData,
        })?;
        let mut joiner = Joiner::new(boundary()?);
        let content_type = joiner.content_type(&first.media_type);
        let body = Body::generate(None, |out| async move {
            let mut next = Some(first);
            while let Some(mut part) = next {
                let fields = [
                    ("Content-Type", part.content_type.as_str()),
                    ("Content-Location", &part.location),
                ];
                out.emit(joiner.part(&fields)).await?;
                while let Some(chunk) = part.body.chunk().await? {
                    out.emit(chunk).await?;
                }
                next = values.next().await.map_err(broken_off)?;
            }
            out.emit(joiner.close()).await
        });
        let presented = Presented { content_type, body };
        let mut response = response(presented, missing, location)?;
        self.keepable(&mut response, missing);
        Ok(response)
    }
}

/// A value, opened.
struct Opened {
    media_type: String,
    content_type: String,
    location: String,
    body: Body,
}

/// A value that has been found.
struct Found {
    one: One,
    stored: TransferSyntax,
    location: String,
    what: What,
}

enum What {
    /// A value, and how wide the numbers in it are that have to be turned round.
    Value(Value, usize),
    Frame(Arc<OneFrame>, u32, Representation),
}

/// The values of instances, one after the other.
struct Values {
    decoders: Pool,
    acceptable: BulkAcceptable,
    place: Place,
    which: Which,
    instances: VecDeque<(One, Target)>,
    /// Those of the instance that has been read last.
    found: VecDeque<Found>,
}

impl Values {
    async fn next(&mut self) -> Result<Option<Opened>, Error> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return self.open(found).await.map(Some);
            }
            let Some((one, target)) = self.instances.pop_front() else {
                return Ok(None);
            };
            self.find(one, &target).await?;
        }
    }

    async fn find(&mut self, one: One, target: &Target) -> Result<(), Error> {
        let instance = one.open().await?;
        let stored = instance.identity.transfer_syntax.clone();
        let digest = instance.digest();
        let extent = match self.which {
            Which::All => Extent::Whole,
            Which::PixelData => Extent::ToPixelData,
        };
        let skimmed = skim(instance.body, extent, false).await?;
        let root = self.place.of(target);
        let paths = match self.which {
            Which::All => paths(&skimmed)?,
            Which::PixelData => pixel_path(&skimmed).into_iter().collect(),
        };
        for path in paths {
            let value = value_at(&skimmed, &path)?;
            let found = |location, what| Found {
                one: one.clone(),
                stored: stored.clone(),
                location,
                what,
            };
            if !matches!(value, Value::Frames) {
                let width = width_at(&skimmed, &path);
                let location = format!("{root}/bulkdata/{path}");
                self.found
                    .push_back(found(location, What::Value(value, width)));
                continue;
            }
            // PS3.18 10.4.1.1.6: of what is encapsulated, each frame is a part.
            let kept = frames_in(&one, &skimmed, digest).await?;
            let as_stored = Stored {
                syntax: &stored,
                media_type: own_media_type(&kept.layout, &stored),
                is_compressed: true,
            };
            let multipart = accept_bulk::Default::Multipart;
            let given = self.acceptable.choose(as_stored, false, multipart)?;
            let all = kept.layout.frames(&kept.geometry);
            let frame = Arc::new(OneFrame::new(one.clone(), stored.clone(), kept));
            self.found.extend((1..=all).map(|number| {
                let what = What::Frame(Arc::clone(&frame), number, given.clone());
                found(format!("{root}/frames/{number}"), what)
            }));
        }
        Ok(())
    }

    async fn open(&self, found: Found) -> Result<Opened, Error> {
        let plain_syntax = TransferSyntax::explicit_vr_little_endian();
        let (body, syntax, media_type) = match found.what {
            What::Frame(frame, number, given) if given.is_as_stored => (
                frame.opened(number).await?,
                frame.syntax(),
                given.media_type,
            ),
            What::Frame(frame, number, given) => {
                let made = frame.made(&self.decoders, number, Wanted::Samples).await?;
                (Body::full(made.bytes), plain_syntax, given.media_type)
            }
            What::Value(value, width) => {
                let as_stored = Stored {
                    syntax: &plain_syntax,
                    media_type: OCTET_STREAM,
                    is_compressed: false,
                };
                let multipart = accept_bulk::Default::Multipart;
                let given = self.acceptable.choose(as_stored, false, multipart)?;
                let body = match value {
                    Value::Here(bytes) => Body::full(bytes),
                    Value::There(offset, length) => {
                        opened(&found.one, &found.stored, (offset, length), width).await?
                    }
                    Value::Frames => return Err(Error::Internal),
                };
                (body, plain_syntax, given.media_type)
            }
        };
        Ok(Opened {
            content_type: with_syntax(&media_type, &syntax),
            media_type,
            location: found.location,
            body,
        })
    }
}

/// The paths of all values that the metadata of an instance have links to.
fn paths(skimmed: &Skimmed) -> Result<Vec<String>, Error> {
    let mut text = String::new();
    let written = json::write(&skimmed.data_set(), &skimmed.linked(), "", &mut text);
    written.map_err(object::Error::from)?;
    let metadata: Json = serde_json::from_str(&text).map_err(|_ours| Error::Internal)?;
    let mut paths = Vec::new();
    links(&metadata, &mut paths);
    Ok(paths)
}

fn links(json: &Json, paths: &mut Vec<String>) {
    match json {
        Json::Object(map) => {
            if let Some(Json::String(path)) = map.get("BulkDataURI") {
                paths.push(path.clone());
            }
            map.values().for_each(|value| links(value, paths));
        }
        Json::Array(values) => values.iter().for_each(|value| links(value, paths)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn pixel_path(skimmed: &Skimmed) -> Option<String> {
    Some(digits(skimmed.pixel_data()?.tag))
}
