//! *Retrieve Rendered* (PS3.18 10.4.1.1.3, 10.4.1.1.4): pictures of frames, and thumbnails.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::answer::response;
use super::conditional::EntityTag;
use super::heads::media_type;
use super::material::{Material, One};
use super::one::{OneFrame, broken_off, frames_in, frames_of, skimmed};
use super::place::Place;
use super::{Error, Gateway, accept_fields, boundary};
use crate::body::{self, Body};
use crate::instance::{Instance, Target};
use crate::object::{self, Extent, Skimmed, lettering, shading};
use crate::pixels::{Format, Lettering, Output, Rendering};
use crate::present::parts::{self, Part, Related};
use crate::present::{Presented, animation};
use crate::request::rendering::Annotation;
use crate::request::{Rendered, rendering};
use crate::sub_resource::{FrameForm, SubResource};

/// How large a thumbnail is if nobody says so.
const THUMBNAIL: (u32, u32) = (128, 128);

impl Gateway {
    pub(super) async fn rendered(
        &self,
        head: &Parts,
        material: Material,
        place: Place,
        (target, resource): (&Target, &SubResource),
    ) -> Result<Response<Body>, Error> {
        let mut wanted = Rendered::parse(head.uri.query())?;
        let is_thumbnail = matches!(
            resource,
            SubResource::Thumbnail | SubResource::Frames(_, FrameForm::Thumbnail)
        );
        if is_thumbnail {
            wanted.viewport.size.get_or_insert(THUMBNAIL);
            wanted.viewport.never_larger = true;
            // PS3.18 8.3.5: not a parameter of thumbnails; letters would cover them.
            wanted.annotation = Annotation::default();
        }
        let location = place.of_sub_resource(target, resource);
        let frames = match resource {
            SubResource::Frames(frames, _) => Some(frames),
            SubResource::Metadata
            | SubResource::Rendered
            | SubResource::Thumbnail
            | SubResource::Pixeldata
            | SubResource::Bulkdata(_) => None,
        };
        match target {
            Target::Instance(..) => {
                let one = material.one()?;
                if frames.is_none()
                    && !is_thumbnail
                    && let Some(response) = self.as_it_is(head, &one, &location).await?
                {
                    return Ok(response);
                }
                let numbers: Vec<u32> = match frames {
                    Some(frames) => frames.numbers().iter().map(|number| number.get()).collect(),
                    None if is_thumbnail => vec![1],
                    None => return self.picture_of_all(head, one, wanted, &location).await,
                };
                self.pictures(head, one, wanted, (&location, &numbers))
                    .await
            }
            // One picture stands for all of them.
            Target::Series(..) | Target::Study(_) if is_thumbnail => {
                self.representative(head, material, wanted, &location).await
            }
            Target::Series(..) | Target::Study(_) => {
                self.all_pictures(head, material, wanted, (place, &location))
                    .await
            }
        }
    }

    /// A picture from the middle of the first series that has any.
    async fn representative(
        &self,
        head: &Parts,
        material: Material,
        wanted: Rendered,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let mut why = Error::from(crate::retrieve::Error::NotLocatable);
        for one in material.middles() {
            let painting = self.pictures(head, one, wanted.clone(), (location, &[1]));
            match painting.await {
                Err(error @ Error::Instance(object::Error::NoPixelData)) => why = error,
                painted => return painted,
            }
        }
        Err(why)
    }

    /// A picture of a whole instance: of its first frame, or one that moves where that is possible.
    async fn picture_of_all(
        &self,
        head: &Parts,
        one: One,
        wanted: Rendered,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let format = rendering::picture(head.uri.query(), &accept_fields(head))?;
        let (digest, frames) = match format {
            Format::Gif => {
                let (instance, kept) = frames_of(&one).await?;
                (instance.digest(), kept.geometry.frames)
            }
            Format::Jpeg | Format::Png => (None, 1),
        };
        if frames == 1 {
            return self.pictures(head, one, wanted, (location, &[1])).await;
        }
        let easel = Easel::new(one, wanted, format);
        let tag = digest.map(|digest| easel.tag(digest, "all"));
        if let Some(unchanged) = self.unchanged(head, location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let first = animation::begun(&easel.paint(1).await?).ok_or(Error::Internal)?;
        let easel = easel.patient();
        let body = Body::generate(None, move |out| async move {
            Body::full(first).give(&out).await?;
            for number in 2..=frames {
                let picture = easel.paint(number).await.map_err(broken_off)?;
                let broken = body::Error::Malformed("a picture is no GIF");
                let block = animation::block(&picture).ok_or(broken)?;
                Body::full(block).give(&out).await?;
            }
            out.emit(animation::ended()).await
        });
        let presented = Presented {
            content_type: media_type(format).to_owned(),
            body,
        };
        self.together(head, presented, location, tag.as_ref())
    }

    /// Pictures of frames of one instance.
    async fn pictures(
        &self,
        head: &Parts,
        one: One,
        wanted: Rendered,
        (location, numbers): (&str, &[u32]),
    ) -> Result<Response<Body>, Error> {
        let format = rendering::picture(head.uri.query(), &accept_fields(head))?;
        let easel = Easel::new(one, wanted, format);
        let first = numbers.first().copied().unwrap_or(1);
        let instance = easel.one.open().await?;
        let what = format!("{numbers:?} at {location}");
        let tag = instance.digest().map(|digest| easel.tag(digest, &what));
        if let Some(unchanged) = self.unchanged(head, location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let picture = easel.paint_opened(instance, first).await?;
        let content_type = media_type(format);
        if let [_] = numbers {
            let presented = Presented {
                content_type: content_type.to_owned(),
                body: Body::full(picture),
            };
            self.alone(head, presented, location, tag.as_ref())
        } else {
            let parts = numbers.iter().map(|&number| Part {
                location: location.to_owned(),
                content: number,
            });
            let easel = Arc::new(easel.patient());
            let open = move |number: &u32| {
                let (easel, number) = (Arc::clone(&easel), *number);
                async move {
                    easel
                        .paint(number)
                        .await
                        .map(Body::full)
                        .map_err(broken_off)
                }
            };
            let related = Related {
                boundary: boundary()?,
                media_type: content_type,
                content_type: content_type.to_owned(),
            };
            let presented = parts::multipart(parts.collect(), Body::full(picture), open, related);
            self.together(head, presented, location, tag.as_ref())
        }
    }

    /// A picture of one frame, as WADO-URI asks for it.
    pub(super) async fn picture(
        &self,
        head: &Parts,
        one: One,
        (wanted, region, format): (Rendered, Option<[f64; 4]>, Format),
        (location, frame): (&str, u32),
    ) -> Result<Response<Body>, Error> {
        let mut easel = Easel::new(one, wanted, format);
        easel.region = region;
        let instance = easel.one.open().await?;
        let tag = instance.digest();
        let tag = tag.map(|digest| easel.tag(digest, &format!("{frame}")));
        if let Some(unchanged) = self.unchanged(head, location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let presented = Presented {
            content_type: media_type(format).to_owned(),
            body: Body::full(easel.paint_opened(instance, frame).await?),
        };
        self.alone(head, presented, location, tag.as_ref())
    }

    /// A picture of each instance, in a `multipart/related`. What is no image is left out.
    async fn all_pictures(
        &self,
        head: &Parts,
        material: Material,
        wanted: Rendered,
        (place, location): (Place, &str),
    ) -> Result<Response<Body>, Error> {
        let format = rendering::picture(head.uri.query(), &accept_fields(head))?;
        let content_type = media_type(format);
        let (mut ones, missing) = material.all()?;
        // The status is known when the first picture is.
        let mut first = None;
        for one in ones.by_ref() {
            let target = one.target();
            match Easel::new(one, wanted.clone(), format).paint(1).await {
                Err(Error::Instance(object::Error::NoPixelData)) => {}
                painted => {
                    first = Some((painted?, target));
                    break;
                }
            }
        }
        let first = first.ok_or(object::Error::NoPixelData)?;
        let mut ones = ones.patient();
        let boundary = boundary()?;
        let mut joiner = crate::multipart::Joiner::new(boundary);
        let whole = joiner.content_type(content_type);
        let body = Body::generate(None, |out| async move {
            let mut next = Some(first);
            loop {
                if let Some((picture, target)) = next.take() {
                    let location = place.of_sub_resource(&target, &SubResource::Rendered);
                    let fields = [
                        ("Content-Type", content_type),
                        ("Content-Location", &location),
                    ];
                    out.emit(joiner.part(&fields)).await?;
                    Body::full(picture).give(&out).await?;
                }
                let Some(one) = ones.next() else { break };
                let target = one.target();
                next = match Easel::new(one, wanted.clone(), format).paint(1).await {
                    Ok(picture) => Some((picture, target)),
                    Err(Error::Instance(object::Error::NoPixelData)) => None,
                    Err(error) => return Err(broken_off(error)),
                };
            }
            out.emit(joiner.close()).await
        });
        let presented = Presented {
            content_type: whole,
            body,
        };
        let mut response = response(presented, missing, location)?;
        self.keepable(&mut response, missing);
        Ok(response)
    }
}

/// Where pictures of one instance are made.
struct Easel {
    one: One,
    wanted: Rendered,
    format: Format,
    /// The part that is shown: left, top, right and bottom, from 0 to 1.
    region: Option<[f64; 4]>,
}

impl Easel {
    fn new(one: One, wanted: Rendered, format: Format) -> Self {
        Self {
            one,
            wanted,
            format,
            region: None,
        }
    }

    /// The same, for an answer that has begun.
    fn patient(self) -> Self {
        Self {
            one: self.one.patient(),
            ..self
        }
    }

    /// A picture of a frame, counted from 1.
    async fn paint(&self, number: u32) -> Result<Bytes, Error> {
        let instance = self.one.open().await?;
        self.paint_opened(instance, number).await
    }

    /// The entity tag of pictures of `what`, of an instance with this digest.
    fn tag(&self, digest: [u8; 32], what: &str) -> EntityTag {
        let (wanted, format, region) = (&self.wanted, self.format, &self.region);
        let representation = format!("{what} {format:?} {wanted:?} {region:?}");
        EntityTag::made(digest, &representation)
    }

    async fn paint_opened(&self, instance: Instance, number: u32) -> Result<Bytes, Error> {
        let syntax = instance.identity.transfer_syntax.clone();
        let digest = instance.digest();
        let mut skimmed = skimmed(&self.one, instance.body, Extent::ToPixelData).await?;
        if skimmed.pixel_data().is_none() {
            return Err(object::Error::NoPixelData.into());
        }
        let geometry = object::geometry(&skimmed)?;
        geometry.check()?;
        let mut rendering = self.rendering(shading(&skimmed, &geometry, number));
        rendering.lettering = self.lettering(&skimmed);
        if let Some([left, top, right, bottom]) = self.region {
            let (width, height) = (f64::from(geometry.columns), f64::from(geometry.rows));
            let size = ((right - left) * width, (bottom - top) * height);
            rendering.viewport.source = Some((left * width, top * height, size.0, size.1));
        }
        let kept = frames_in(&self.one, &mut skimmed, digest).await?;
        drop(skimmed);
        let frame = OneFrame::new(self.one.clone(), syntax, kept);
        let wanted = Output::Picture(Box::new(rendering));
        Ok(frame.made(number, wanted).await?.bytes)
    }

    fn lettering(&self, skimmed: &Skimmed) -> Lettering {
        let Annotation { patient, technique } = self.wanted.annotation;
        let lines = |wanted: bool, lines: fn(&Skimmed) -> Vec<String>| {
            if wanted { lines(skimmed) } else { Vec::new() }
        };
        Lettering {
            top: lines(patient, lettering::patient),
            bottom: lines(technique, lettering::technique),
        }
    }

    fn rendering(&self, own: Rendering) -> Rendering {
        let window = self.wanted.window;
        Rendering {
            format: self.format,
            quality: self.wanted.quality.unwrap_or(own.quality),
            voi_lut: own.voi_lut.filter(|_| window.is_none()),
            window: window.or(own.window),
            viewport: self.wanted.viewport,
            ..own
        }
    }
}
