//! *Retrieve Rendered* (PS3.18 10.4.1.1.3, 10.4.1.1.4): pictures of frames, and thumbnails.

use http::Response;

use crate::body::Body;
use crate::derive::{
    ImageParts, InstanceFrames, PictureParts, Renderer, SelectedInstance, SelectedInstances, Style,
};
use crate::gateway::dicomweb::heads::media_type;
use crate::gateway::edge::conditional::EntityTag;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::{boundary, response, warn_of_left_out};
use crate::gateway::{Error, Gateway};
use crate::object;
use crate::pixels::Format;
use crate::present::Presented;
use crate::present::parts::{self, Part};
use crate::request::Rendered;
use crate::request::rendering::{self, Annotation};
use crate::resource::{FrameForm, SubResource, Target};
use crate::retrieve;

/// The size of a thumbnail for which the client names none.
const THUMBNAIL: (u32, u32) = (128, 128);

impl Gateway {
    /// Pictures of a target, or the document, report or video that an instance is.
    pub(crate) async fn rendered(
        &self,
        exchange: &Exchange<'_>,
        selected: SelectedInstances,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let is_thumbnail = matches!(
            locator.sub_resource,
            SubResource::Thumbnail | SubResource::Frames(_, FrameForm::Thumbnail)
        );
        let rendered = Rendered::parse(exchange.query())?;
        let rendered = if is_thumbnail {
            thumbnail(rendered)
        } else {
            rendered
        };
        match &locator.target {
            Target::Instance(..) => {
                let instance = selected.single()?;
                self.rendered_instance(exchange, instance, rendered, locator)
                    .await
            }
            Target::Series(..) | Target::Study(_) if is_thumbnail => {
                self.representative(exchange, selected, rendered, locator)
                    .await
            }
            Target::Series(..) | Target::Study(_) => {
                self.all_pictures(exchange, selected, rendered, locator)
                    .await
            }
        }
    }

    async fn rendered_instance(
        &self,
        exchange: &Exchange<'_>,
        instance: SelectedInstance,
        rendered: Rendered,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let location = locator.url();
        let numbers: Vec<u32> = match &locator.sub_resource {
            SubResource::Frames(frames, _) => {
                frames.numbers().iter().map(|number| number.get()).collect()
            }
            SubResource::Thumbnail => vec![1],
            SubResource::Metadata
            | SubResource::Rendered
            | SubResource::Pixeldata
            | SubResource::Bulkdata(_) => {
                let document = self.document(exchange, &instance, &location).await?;
                return match document {
                    Some(document) => Ok(document),
                    None => {
                        self.picture_of_all(exchange, instance, rendered, &location)
                            .await
                    }
                };
            }
        };
        let style = style(exchange, rendered)?;
        let renderer = Renderer::new(instance, style);
        self.pictures(exchange, renderer, &numbers, &location).await
    }

    /// A picture from the middle of the first series that holds images: it stands for the target.
    async fn representative(
        &self,
        exchange: &Exchange<'_>,
        selected: SelectedInstances,
        rendered: Rendered,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let location = locator.url();
        let mut reason = Error::from(retrieve::Error::NotLocatable);
        for series in selected.representatives() {
            for instance in series {
                let renderer = Renderer::new(instance, style(exchange, rendered.clone())?);
                reason = match self.pictures(exchange, renderer, &[1], &location).await {
                    Err(error @ (Error::Instance(_) | Error::Pixels(_))) => error,
                    outcome => return outcome,
                };
                // The others are no images either.
                if matches!(reason, Error::Instance(object::Error::NoPixelData)) {
                    break;
                }
            }
        }
        Err(reason)
    }

    /// A picture of a whole instance: a GIF of several frames moves, any other shows the first one.
    async fn picture_of_all(
        &self,
        exchange: &Exchange<'_>,
        instance: SelectedInstance,
        rendered: Rendered,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let style = style(exchange, rendered)?;
        let (digest, count) = match style.format {
            Format::Gif => {
                let (opened, frames) = InstanceFrames::open(&instance).await?;
                (opened.digest(), frames.count())
            }
            Format::Jpeg | Format::Png => (None, 1),
        };
        let renderer = Renderer::new(instance, style);
        if count == 1 {
            return self.pictures(exchange, renderer, &[1], location).await;
        }
        let tag = digest.map(|digest| tag(renderer.style(), digest, "all"));
        if let Some(unchanged) = self.unchanged(exchange, location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let presented = Presented {
            content_type: media_type(Format::Gif).to_owned(),
            body: renderer.animate(count).await?,
        };
        self.together(exchange, presented, location, tag.as_ref())
    }

    /// Pictures of frames of one instance.
    pub(crate) async fn pictures(
        &self,
        exchange: &Exchange<'_>,
        renderer: Renderer,
        numbers: &[u32],
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let (first, rest) = numbers.split_first().ok_or(Error::Internal)?;
        let opened = renderer.instance().open().await?;
        let name = format!("{numbers:?} at {location}");
        let tag = opened
            .digest()
            .map(|digest| tag(renderer.style(), digest, &name));
        if let Some(unchanged) = self.unchanged(exchange, location, tag.as_ref())? {
            return Ok(unchanged);
        }
        let content_type = media_type(renderer.style().format);
        let body = Body::full(renderer.render_opened(opened, *first).await?);
        if rest.is_empty() {
            let presented = Presented {
                content_type: content_type.to_owned(),
                body,
            };
            return self.alone(exchange, presented, location, tag.as_ref());
        }
        let first = Part {
            content_type: content_type.to_owned(),
            location: location.to_owned(),
            body,
        };
        let rest = PictureParts::new(renderer, content_type, location.to_owned(), rest.to_vec());
        let presented = parts::multipart(boundary()?, content_type, Some(first), rest);
        self.together(exchange, presented, location, tag.as_ref())
    }

    /// A picture of each instance that is an image.
    async fn all_pictures(
        &self,
        exchange: &Exchange<'_>,
        selected: SelectedInstances,
        rendered: Rendered,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        let style = style(exchange, rendered)?;
        let content_type = media_type(style.format);
        let (instances, missing) = selected.in_order()?;
        let base = locator.base.clone();
        let located =
            move |target: &Target, resource: &SubResource| base.of_sub_resource(target, resource);
        let mut pictures = ImageParts::new(instances, style, content_type, located);
        let first = pictures.first().await?;
        let left_out = pictures.left_out().clone();
        let rest = pictures.patient();
        let presented = parts::multipart(boundary()?, content_type, Some(first), rest);
        let mut response = response(presented, missing, &locator.url())?;
        self.permit_caching(&mut response, missing);
        warn_of_left_out(&mut response, &left_out)?;
        Ok(response)
    }
}

fn style(exchange: &Exchange<'_>, rendered: Rendered) -> Result<Style, Error> {
    Ok(Style {
        rendered,
        format: rendering::picture(exchange.query(), &exchange.accept())?,
        region: None,
    })
}

fn thumbnail(mut rendered: Rendered) -> Rendered {
    rendered.viewport.size.get_or_insert(THUMBNAIL);
    rendered.viewport.never_larger = true;
    // PS3.18 8.3.5: not a parameter of thumbnails; letters would cover them.
    rendered.annotation = Annotation::default();
    rendered
}

/// The entity tag of pictures, of an instance with this digest.
fn tag(style: &Style, digest: [u8; 32], name: &str) -> EntityTag {
    EntityTag::made(digest, &format!("{name} {style:?}"))
}
