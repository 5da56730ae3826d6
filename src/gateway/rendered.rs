//! *Retrieve Rendered* (PS3.18 10.4.1.1.3, 10.4.1.1.4): pictures of frames, and thumbnails.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::answer::response;
use super::one::{One, OneFrame, broken_off, frames_in, frames_of};
use super::place::Place;
use super::{Error, Gateway, accept_fields, boundary};
use crate::body::{self, Body};
use crate::instance::Target;
use crate::object::{self, Extent, Skimmed, lettering, shading, skim};
use crate::pixels::{Format, Lettering, Pool, Rendering, Wanted};
use crate::present::parts::{self, Part};
use crate::present::{Presented, animation};
use crate::request::rendering::Annotation;
use crate::request::{Rendered, rendering};
use crate::retrieve::{Missing, Plan};
use crate::sub_resource::{FrameForm, SubResource};

/// How large a thumbnail is if nobody says so.
const THUMBNAIL: (u32, u32) = (128, 128);

impl Gateway {
    pub(super) async fn rendered(
        &self,
        head: &Parts,
        plan: Plan,
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
                let one = self.one(plan)?;
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
                self.representative(head, plan, wanted, &location).await
            }
            Target::Series(..) | Target::Study(_) => {
                self.all_pictures(head, plan, wanted, (place, &location))
                    .await
            }
        }
    }

    /// A picture from the middle of the first series that has any.
    async fn representative(
        &self,
        head: &Parts,
        plan: Plan,
        wanted: Rendered,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let mut why = Error::from(crate::retrieve::Error::NotLocatable);
        for mut job in plan.jobs {
            let middle = job.listing.instances.len() / 2;
            let mut instances = job.listing.instances.iter();
            let found = instances.find(|(_, number)| **number == middle);
            let Some((uid, _)) = found else { continue };
            job.only = Some(uid.clone());
            let mut plan = Plan::new(Arc::clone(&plan.hop));
            plan.jobs.push(job);
            let one = self.one(plan)?;
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
        let frames = match format {
            Format::Gif => frames_of(&one).await?.1.geometry.frames,
            Format::Jpeg | Format::Png => 1,
        };
        if frames == 1 {
            return self.pictures(head, one, wanted, (location, &[1])).await;
        }
        let easel = Easel::new(self.decoders.clone(), one, wanted, format);
        let first = animation::begun(&easel.paint(1).await?).ok_or(Error::Internal)?;
        let body = Body::generate(None, move |out| async move {
            out.emit(first).await?;
            for number in 2..=frames {
                let picture = easel.paint(number).await.map_err(broken_off)?;
                let broken = body::Error::Malformed("a picture is no GIF");
                out.emit(animation::block(&picture).ok_or(broken)?).await?;
            }
            out.emit(animation::ended()).await
        });
        let presented = Presented {
            content_type: media_type(format).to_owned(),
            body,
        };
        let mut response = response(presented, Missing::Nothing, location)?;
        self.keepable(&mut response, Missing::Nothing);
        Ok(response)
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
        let easel = Arc::new(Easel::new(self.decoders.clone(), one, wanted, format));
        let first = numbers.first().copied().unwrap_or(1);
        let picture = easel.paint(first).await?;
        let content_type = media_type(format);
        let response = if let [_] = numbers {
            let presented = Presented {
                content_type: content_type.to_owned(),
                body: Body::full(picture),
            };
            self.alone(head, presented, location)?
        } else {
            let parts = numbers.iter().map(|&what| Part {
                location: location.to_owned(),
                what,
            });
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
            let how = (boundary()?, content_type, content_type.to_owned());
            let presented = parts::multipart(parts.collect(), Body::full(picture), open, how);
            let mut response = response(presented, Missing::Nothing, location)?;
            self.keepable(&mut response, Missing::Nothing);
            response
        };
        Ok(response)
    }

    /// A picture of one frame, as WADO-URI asks for it.
    pub(super) async fn picture(
        &self,
        head: &Parts,
        one: One,
        (wanted, region, format): (Rendered, Option<[f64; 4]>, Format),
        (location, frame): (&str, u32),
    ) -> Result<Response<Body>, Error> {
        let mut easel = Easel::new(self.decoders.clone(), one, wanted, format);
        easel.region = region;
        let presented = Presented {
            content_type: media_type(format).to_owned(),
            body: Body::full(easel.paint(frame).await?),
        };
        self.alone(head, presented, location)
    }

    /// A picture of each instance, in a `multipart/related`. What is no image is left out.
    async fn all_pictures(
        &self,
        head: &Parts,
        plan: Plan,
        wanted: Rendered,
        (place, location): (Place, &str),
    ) -> Result<Response<Body>, Error> {
        let format = rendering::picture(head.uri.query(), &accept_fields(head))?;
        let content_type = media_type(format);
        let missing = plan.missing();
        let easels: Vec<_> = self
            .ones(&plan)?
            .into_iter()
            .map(|(one, target)| {
                let easel = Easel::new(self.decoders.clone(), one, wanted.clone(), format);
                let location = place.of_sub_resource(&target, &SubResource::Rendered);
                (easel, location)
            })
            .collect();
        let boundary = boundary()?;
        let mut joiner = crate::multipart::Joiner::new(boundary);
        let whole = joiner.content_type(content_type);
        let body = Body::generate(None, |out| async move {
            for (easel, location) in easels {
                let picture = match easel.paint(1).await {
                    Ok(picture) => picture,
                    Err(Error::Instance(object::Error::NoPixelData)) => continue,
                    Err(error) => return Err(broken_off(error)),
                };
                let fields = [
                    ("Content-Type", content_type),
                    ("Content-Location", &location),
                ];
                out.emit(joiner.part(&fields)).await?;
                out.emit(picture).await?;
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

fn media_type(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "image/jpeg",
        Format::Png => "image/png",
        Format::Gif => "image/gif",
    }
}

/// Where pictures of one instance are made.
struct Easel {
    decoders: Pool,
    one: One,
    wanted: Rendered,
    format: Format,
    /// The part that is shown: left, top, right and bottom, from 0 to 1.
    region: Option<[f64; 4]>,
}

impl Easel {
    fn new(decoders: Pool, one: One, wanted: Rendered, format: Format) -> Self {
        Self {
            decoders,
            one,
            wanted,
            format,
            region: None,
        }
    }

    /// A picture of a frame, counted from 1.
    async fn paint(&self, number: u32) -> Result<Bytes, Error> {
        let instance = self.one.open().await?;
        let syntax = instance.identity.transfer_syntax.clone();
        let digest = instance.digest();
        let skimmed = skim(instance.body, Extent::ToPixelData, false).await?;
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
        let kept = frames_in(&self.one, &skimmed, digest).await?;
        let frame = OneFrame::new(self.one.clone(), syntax, kept);
        let wanted = Wanted::Picture(Box::new(rendering));
        Ok(frame.made(&self.decoders, number, wanted).await?.bytes)
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
