//! Bulk data and pixel data of studies, series and whole instances (PS3.18 10.4.1.1.5): every value
//! that metadata have links to, each in a part.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::frames::skimmed;
use super::values::{Value, find, open_range, pixel_path};
use super::{Error, FrameParts, InOrder, InstanceFrames, SelectedInstance};
use crate::body::{self, Body};
use crate::dicom::json::{self, Beside};
use crate::dicom::{TransferSyntax, most_written};
use crate::instance::LeftOut;
use crate::object::{self, Extent, Skimmed};
use crate::present::parts::{Part, Parts, with_syntax};
use crate::request::BulkAcceptable;
use crate::request::accept_bulk::{self, OCTET_STREAM, Stored};
use crate::resource::Target;

/// The values of each instance that a response holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFilter {
    /// All of them.
    All,
    /// Pixel data only.
    PixelData,
}

/// The values of instances, one after the other. Instances without any are skipped.
pub struct AllValues<L> {
    instances: InOrder,
    filter: ValueFilter,
    acceptable: BulkAcceptable,
    /// The address of an instance.
    located: L,
    current: Option<InstanceValues>,
    /// The latest instance.
    at: Option<Target>,
    left_out: LeftOut,
}

/// A value in its part, and the media type of it.
#[derive(Debug)]
pub struct ValuePart {
    /// The media type without parameters.
    pub media_type: String,
    /// The value.
    pub part: Part,
}

/// The values that are left of one instance.
struct InstanceValues {
    instance: SelectedInstance,
    stored: TransferSyntax,
    address: String,
    /// The latest path.
    path: String,
    /// Paths of values, and the data set that they lead into. Frames come last, because the data
    /// set is dropped before the wait for their memory.
    values: Option<(Skimmed, std::vec::IntoIter<String>)>,
    frames: Option<FrameParts<RangeInclusive<u32>>>,
}

impl<L: Fn(&Target) -> String> AllValues<L> {
    /// The values of `instances` that `filter` passes, as the client accepts them.
    pub fn new(
        instances: InOrder,
        filter: ValueFilter,
        acceptable: BulkAcceptable,
        located: L,
    ) -> Self {
        Self {
            instances,
            filter,
            acceptable,
            located,
            current: None,
            at: None,
            left_out: LeftOut::default(),
        }
    }

    /// The first value of an instance that can be read. It is opened before the response begins, so
    /// that its head can state the instances that are left out before it.
    ///
    /// # Errors
    /// Why the first instance cannot be read if none can, or that there is no value.
    pub async fn first(&mut self) -> Result<ValuePart, Error> {
        let none = match self.filter {
            ValueFilter::All => object::Error::NoValue,
            ValueFilter::PixelData => object::Error::NoPixelData,
        };
        let mut reason = None;
        loop {
            match self.open_next().await {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => return Err(reason.unwrap_or(none.into())),
                Err(error) if error.is_passed_over() => {
                    self.current = None;
                    self.left_out.add(self.at.as_ref());
                    reason.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The instances that are left out before the first value.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// The address of the latest value, or of all values of the latest instance.
    fn place(&self) -> String {
        match (&self.current, &self.at) {
            (Some(current), _) => current.place(),
            (None, Some(at)) => format!("{}/{}", (self.located)(at), self.filter.path()),
            (None, None) => String::new(),
        }
    }

    /// The same after the head of the response has left; see [`super::Context::patient`].
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            instances: self.instances.patient(),
            ..self
        }
    }

    async fn open_next(&mut self) -> Result<Option<ValuePart>, Error> {
        loop {
            if let Some(current) = &mut self.current
                && let Some(value) = current.open_next(&self.acceptable).await?
            {
                return Ok(Some(value));
            }
            self.current = None;
            let Some(instance) = self.instances.next() else {
                return Ok(None);
            };
            self.at = Some(instance.target());
            self.current = Some(self.values_of(instance).await?);
        }
    }

    async fn values_of(&self, instance: SelectedInstance) -> Result<InstanceValues, Error> {
        let opened = instance.open().await?;
        let stored = opened.identity.transfer_syntax.clone();
        let key = opened.layout_key();
        let extent = match self.filter {
            ValueFilter::All => Extent::Whole,
            ValueFilter::PixelData => Extent::ToPixelData,
        };
        let mut skimmed = skimmed(&instance, opened.body, extent).await?;
        let mut paths = match self.filter {
            ValueFilter::All => paths(&mut skimmed).await?,
            ValueFilter::PixelData => pixel_path(&skimmed).into_iter().collect(),
        };
        let address = (self.located)(&instance.target());
        let pixel_data = skimmed.pixel_data();
        let frames = if pixel_data.is_some_and(|large| large.length.is_none()) {
            paths.retain(|path| Some(path) != pixel_path(&skimmed).as_ref());
            let frames = InstanceFrames::of_skimmed(&instance, &mut skimmed, key).await?;
            Some(self.parts_of(frames, address.clone())?)
        } else {
            None
        };
        Ok(InstanceValues {
            address,
            path: String::new(),
            instance,
            stored,
            values: Some((skimmed, paths.into_iter())),
            frames,
        })
    }

    // PS3.18 10.4.1.1.6: each frame of encapsulated pixel data is a part.
    fn parts_of(
        &self,
        frames: InstanceFrames,
        address: String,
    ) -> Result<FrameParts<RangeInclusive<u32>>, Error> {
        let multipart = accept_bulk::Default::Multipart;
        let given = self
            .acceptable
            .choose(frames.as_stored(), false, multipart)?;
        let numbers = 1..=frames.count();
        Ok(FrameParts::new(frames, given, address, numbers))
    }
}

impl<L: Fn(&Target) -> String + Send + Sync + 'static> Parts for AllValues<L> {
    async fn next(&mut self) -> Result<Option<Part>, body::Error> {
        match self.open_next().await {
            Err(error) if error.is_passed_over() => {
                Ok(Some(Part::stand_in(self.place(), &error.to_string())))
            }
            opened => Ok(opened?.map(|value| value.part)),
        }
    }
}

impl ValueFilter {
    /// The path of the values below their instance.
    fn path(self) -> &'static str {
        match self {
            Self::All => "bulkdata",
            Self::PixelData => "pixeldata",
        }
    }
}

impl InstanceValues {
    /// The address of the latest value.
    fn place(&self) -> String {
        match (&self.values, &self.frames) {
            (None, Some(frames)) => frames.place(),
            (Some(_), _) | (None, None) => format!("{}/bulkdata/{}", self.address, self.path),
        }
    }

    async fn open_next(&mut self, acceptable: &BulkAcceptable) -> Result<Option<ValuePart>, Error> {
        if let Some((skimmed, paths)) = &mut self.values
            && let Some(path) = paths.next()
        {
            self.path = path;
            let value = find(skimmed, &self.path)?;
            return self.open(acceptable, value).await.map(Some);
        }
        self.values = None;
        let Some(frames) = &mut self.frames else {
            return Ok(None);
        };
        let part = frames.open_next(None).await?;
        Ok(part.map(|part| ValuePart {
            media_type: frames.media_type().to_owned(),
            part,
        }))
    }

    async fn open(&self, acceptable: &BulkAcceptable, value: Value) -> Result<ValuePart, Error> {
        let plain_syntax = TransferSyntax::explicit_vr_little_endian();
        let as_stored = Stored {
            syntax: &plain_syntax,
            media_type: OCTET_STREAM,
            is_compressed: false,
            is_decodable: true,
        };
        let multipart = accept_bulk::Default::Multipart;
        let given = acceptable.choose(as_stored, false, multipart)?;
        let body = match value {
            Value::Bytes(bytes) => Body::full(bytes),
            Value::Range(range) => open_range(&self.instance, &self.stored, range).await?,
            Value::Frames => return Err(object::Error::NoValue.into()),
        };
        Ok(ValuePart {
            part: Part {
                content_type: with_syntax(&given.media_type, &plain_syntax),
                location: self.place(),
                body,
            },
            media_type: given.media_type,
        })
    }
}

/// The paths of all values that the metadata of an instance have links to.
async fn paths(skimmed: &mut Skimmed) -> Result<Vec<String>, Error> {
    let linked = skimmed.linked();
    let most = most_written(&skimmed.data_set(), 0).map_err(object::Error::from)?;
    // The metadata, a copied value, and paths, which are shorter than the values that they lead to.
    let most = most + skimmed.bytes() + (linked.len() * 256) as u64;
    skimmed.make_room(most).await?;
    let mut text = String::new();
    let beside = Beside {
        linked: &linked,
        available: None,
    };
    let outcome = json::write(&skimmed.data_set(), beside, "", &mut text);
    outcome.map_err(object::Error::from)?;
    let mut links = Links(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let outcome = links.deserialize(&mut deserializer);
    outcome.map_err(|_ours| Error::Internal)?;
    Ok(links.0)
}

/// Collects the links of metadata without building a tree of them.
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
