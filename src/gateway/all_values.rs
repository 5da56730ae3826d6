//! Bulk data and pixel data of studies, series and whole instances (PS3.18 10.4.1.1.5): every value
//! that metadata have links to, each in a part.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::Response;
use http::request::Parts;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::answer::response;
use super::bulkdata::{Value, opened, value_at, width_at};
use super::frames::own_media_type;
use super::material::{Material, One, Ones};
use super::one::{OneFrame, broken_off, frames_in, skimmed};
use super::place::Place;
use super::{Error, Gateway, accept_fields, boundary};
use crate::body::Body;
use crate::cache::Frames as KeptFrames;
use crate::dicom::{TransferSyntax, digits, json, most_written};
use crate::multipart::Joiner;
use crate::object::{self, Extent, Skimmed};
use crate::pixels::Output;
use crate::present::Presented;
use crate::present::parts::with_syntax;
use crate::request::BulkAcceptable;
use crate::request::accept_bulk::{self, OCTET_STREAM, Representation, Stored};

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
        material: Material,
        (place, location): (Place, &str),
        which: Which,
    ) -> Result<Response<Body>, Error> {
        let (instances, missing) = material.all()?;
        let mut values = Values {
            acceptable: BulkAcceptable::parse(head.uri.query(), &accept_fields(head)),
            place,
            which,
            instances,
            now: None,
        };
        // The first is opened before anything is said, so that what is wrong with it can be said.
        let first = values.next().await?.ok_or(match which {
            Which::All => object::Error::NoValue,
            Which::PixelData => object::Error::NoPixelData,
        })?;
        let mut values = values.patient();
        let mut joiner = Joiner::new(boundary()?);
        let content_type = joiner.content_type(&first.media_type);
        let body = Body::generate(None, |out| async move {
            let mut next = Some(first);
            while let Some(part) = next {
                let fields = [
                    ("Content-Type", part.content_type.as_str()),
                    ("Content-Location", &part.location),
                ];
                out.emit(joiner.part(&fields)).await?;
                part.body.give(&out).await?;
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

/// The instance whose turn it is, and what is left to be given of it.
struct Now {
    one: One,
    /// Its transfer syntax.
    stored: TransferSyntax,
    /// Where it is.
    root: String,
    /// Paths of values, and what they are looked for in. It is not held while there is a wait for memory
    /// for a frame, so frames come last.
    values: Option<(Skimmed, std::vec::IntoIter<String>)>,
    frames: Option<Frames>,
}

/// Frames that are left.
struct Frames {
    frame: OneFrame,
    given: Representation,
    numbers: RangeInclusive<u32>,
}

/// The values of instances, one after the other.
struct Values {
    acceptable: BulkAcceptable,
    place: Place,
    which: Which,
    instances: Ones,
    now: Option<Now>,
}

impl Values {
    /// The same, for an answer that has begun.
    fn patient(self) -> Self {
        Self {
            instances: self.instances.patient(),
            ..self
        }
    }

    async fn next(&mut self) -> Result<Option<Opened>, Error> {
        loop {
            if let Some(now) = &mut self.now
                && let Some(opened) = now.next(&self.acceptable).await?
            {
                return Ok(Some(opened));
            }
            self.now = None;
            let Some(one) = self.instances.next() else {
                return Ok(None);
            };
            self.now = Some(self.find(one).await?);
        }
    }

    async fn find(&self, one: One) -> Result<Now, Error> {
        let instance = one.open().await?;
        let (stored, digest) = (instance.identity.transfer_syntax.clone(), instance.digest());
        let extent = match self.which {
            Which::All => Extent::Whole,
            Which::PixelData => Extent::ToPixelData,
        };
        let mut skimmed = skimmed(&one, instance.body, extent).await?;
        let mut paths = match self.which {
            Which::All => paths(&mut skimmed).await?,
            Which::PixelData => pixel_path(&skimmed).into_iter().collect(),
        };
        let pixel_data = skimmed.pixel_data();
        let frames = if pixel_data.is_some_and(|large| large.length.is_none()) {
            paths.retain(|path| Some(path) != pixel_path(&skimmed).as_ref());
            let kept = frames_in(&one, &mut skimmed, digest).await?;
            Some(self.frames(&one, &stored, kept)?)
        } else {
            None
        };
        Ok(Now {
            root: self.place.of(&one.target()),
            one,
            stored,
            values: Some((skimmed, paths.into_iter())),
            frames,
        })
    }

    // PS3.18 10.4.1.1.6: of what is encapsulated, each frame is a part.
    fn frames(
        &self,
        one: &One,
        stored: &TransferSyntax,
        kept: Arc<KeptFrames>,
    ) -> Result<Frames, Error> {
        let as_stored = Stored {
            syntax: stored,
            media_type: own_media_type(&kept.layout, stored),
            is_compressed: true,
        };
        let multipart = accept_bulk::Default::Multipart;
        let given = self.acceptable.choose(as_stored, false, multipart)?;
        let all = kept.layout.frames(&kept.geometry);
        Ok(Frames {
            frame: OneFrame::new(one.clone(), stored.clone(), kept),
            given,
            numbers: 1..=all,
        })
    }
}

impl Now {
    async fn next(&mut self, acceptable: &BulkAcceptable) -> Result<Option<Opened>, Error> {
        if let Some((skimmed, paths)) = &mut self.values
            && let Some(path) = paths.next()
        {
            let value = value_at(skimmed, &path)?;
            let width = width_at(skimmed, &path);
            return self
                .value(acceptable, &path, (value, width))
                .await
                .map(Some);
        }
        self.values = None;
        let Some(frames) = &mut self.frames else {
            return Ok(None);
        };
        let Some(number) = frames.numbers.next() else {
            return Ok(None);
        };
        let location = format!("{}/frames/{number}", self.root);
        frames.open(number, location).await.map(Some)
    }

    async fn value(
        &self,
        acceptable: &BulkAcceptable,
        path: &str,
        (value, width): (Value, usize),
    ) -> Result<Opened, Error> {
        let plain_syntax = TransferSyntax::explicit_vr_little_endian();
        let as_stored = Stored {
            syntax: &plain_syntax,
            media_type: OCTET_STREAM,
            is_compressed: false,
        };
        let multipart = accept_bulk::Default::Multipart;
        let given = acceptable.choose(as_stored, false, multipart)?;
        let body = match value {
            Value::Here(bytes) => Body::full(bytes),
            Value::There(offset, length) => {
                opened(&self.one, &self.stored, (offset, length), width).await?
            }
            Value::Frames => return Err(object::Error::NoValue.into()),
        };
        Ok(Opened {
            content_type: with_syntax(&given.media_type, &plain_syntax),
            media_type: given.media_type,
            location: format!("{}/bulkdata/{path}", self.root),
            body,
        })
    }
}

impl Frames {
    async fn open(&self, number: u32, location: String) -> Result<Opened, Error> {
        let media_type = self.given.media_type.clone();
        let (body, syntax) = if self.given.is_as_stored {
            (self.frame.opened(number).await?, self.frame.syntax())
        } else {
            let made = self.frame.made(number, Output::Samples).await?;
            let plain_syntax = TransferSyntax::explicit_vr_little_endian();
            (Body::full(made.bytes), plain_syntax)
        };
        Ok(Opened {
            content_type: with_syntax(&media_type, &syntax),
            media_type,
            location,
            body,
        })
    }
}

/// The paths of all values that the metadata of an instance have links to.
async fn paths(skimmed: &mut Skimmed) -> Result<Vec<String>, Error> {
    let linked = skimmed.linked();
    let most = most_written(&skimmed.data_set(), 0).map_err(object::Error::from)?;
    // The metadata, a value that is given, and paths, which are shorter than what they lead to.
    let most = most + skimmed.bytes() + (linked.len() * 256) as u64;
    skimmed.make_room(most).await?;
    let mut text = String::new();
    let written = json::write(&skimmed.data_set(), &linked, "", &mut text);
    written.map_err(object::Error::from)?;
    let mut links = Links(Vec::new());
    let mut reading = serde_json::Deserializer::from_str(&text);
    let read = links.deserialize(&mut reading);
    read.map_err(|_ours| Error::Internal)?;
    Ok(links.0)
}

/// Gathers links in metadata, without making a tree of them.
struct Links(Vec<String>);

impl<'de> DeserializeSeed<'de> for &mut Links {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Links {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            if key == "BulkDataURI" {
                self.0.push(map.next_value()?);
            } else {
                map.next_value_seed(&mut *self)?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _text: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _number: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _number: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _number: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

fn pixel_path(skimmed: &Skimmed) -> Option<String> {
    Some(digits(skimmed.pixel_data()?.tag))
}
