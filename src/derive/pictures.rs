//! Pictures of frames (PS3.18 10.4.1.1.3).

use std::collections::VecDeque;

use bytes::Bytes;

use super::frames::skimmed;
use super::{Error, InOrder, InstanceFrames, SelectedInstance};
use crate::body::{self, Body};
use crate::instance::{Instance, LeftOut};
use crate::object::{self, Extent, Skimmed, lettering, shading};
use crate::pixels::{Format, Lettering, Output, Rendering, Viewport};
use crate::present::animation;
use crate::present::parts::{Part, Parts};
use crate::request::Rendered;
use crate::request::rendering::Annotation;
use crate::request::wado_uri::Region;
use crate::resource::{SubResource, Target};

/// How pictures look.
#[derive(Debug, Clone)]
pub struct Style {
    /// The parameters of the request.
    pub rendered: Rendered,
    /// The format of the pictures.
    pub format: Format,
    /// The part of each frame that is shown; all of it if `None`.
    pub region: Option<Region>,
}

/// Renders the frames of one instance in one style.
#[derive(Debug)]
pub struct Renderer {
    instance: SelectedInstance,
    style: Style,
}

impl Renderer {
    /// A renderer of this instance.
    #[must_use]
    pub fn new(instance: SelectedInstance, style: Style) -> Self {
        Self { instance, style }
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &SelectedInstance {
        &self.instance
    }

    /// The style.
    #[must_use]
    pub fn style(&self) -> &Style {
        &self.style
    }

    /// The same after the head of the response has left; see [`super::Context::patient`].
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            instance: self.instance.patient(),
            ..self
        }
    }

    /// A picture of a frame; frames count from 1.
    ///
    /// # Errors
    /// [`object::Error::NoPixelData`], or why the frame cannot be rendered.
    pub async fn render(&self, number: u32) -> Result<Bytes, Error> {
        let opened = self.instance.open().await?;
        self.render_opened(opened, number).await
    }

    /// The same of an instance that is open already.
    ///
    /// # Errors
    /// [`object::Error::NoPixelData`], or why the frame cannot be rendered.
    pub async fn render_opened(&self, opened: Instance, number: u32) -> Result<Bytes, Error> {
        let key = opened.layout_key();
        let mut skimmed = skimmed(&self.instance, opened.body, Extent::ToPixelData).await?;
        if skimmed.pixel_data().is_none() {
            return Err(object::Error::NoPixelData.into());
        }
        let geometry = object::geometry(&skimmed)?;
        geometry.check()?;
        let mut rendering = self.rendering(shading(&skimmed, &geometry, number));
        rendering.lettering = self.lettering(&skimmed);
        if let Some(region) = self.style.region {
            let (width, height) = (f64::from(geometry.columns), f64::from(geometry.rows));
            rendering.viewport = shown(region, rendering.viewport, width, height);
        }
        let frames = InstanceFrames::of_skimmed(&self.instance, &mut skimmed, key).await?;
        drop(skimmed);
        let picture = Output::Picture(Box::new(rendering));
        Ok(frames.decode(number, picture).await?.bytes)
    }

    /// A moving picture of the first `frames` frames (GIF89a). The first frame is rendered before
    /// anything is given.
    ///
    /// # Errors
    /// Why the first frame cannot be rendered.
    pub async fn animate(self, frames: u32) -> Result<Body, Error> {
        let first = animation::begun(&self.render(1).await?).ok_or(Error::Internal)?;
        let renderer = self.patient();
        Ok(Body::generate(None, move |out| async move {
            Body::full(first).give(&out).await?;
            for number in 2..=frames {
                let picture = renderer.render(number).await?;
                let broken = body::Error::Malformed("a picture is not a GIF");
                let block = animation::block(&picture).ok_or(broken)?;
                Body::full(block).give(&out).await?;
            }
            out.emit(animation::ended()).await
        }))
    }

    fn lettering(&self, skimmed: &Skimmed) -> Lettering {
        let Annotation { patient, technique } = self.style.rendered.annotation;
        let lines = |is_asked_for: bool, lines: fn(&Skimmed) -> Vec<String>| {
            if is_asked_for {
                lines(skimmed)
            } else {
                Vec::new()
            }
        };
        Lettering {
            top: lines(patient, lettering::patient),
            bottom: lines(technique, lettering::technique),
        }
    }

    /// The rendering that the instance asks for, overruled by the request.
    fn rendering(&self, own: Rendering) -> Rendering {
        let rendered = &self.style.rendered;
        let window = rendered.window;
        Rendering {
            format: self.style.format,
            quality: rendered.quality.unwrap_or(own.quality),
            voi_lut: own.voi_lut.filter(|_| window.is_none()),
            window: window.or(own.window),
            viewport: rendered.viewport,
            ..own
        }
    }
}

/// The viewport of a region of a frame with so many columns and rows.
fn shown(region: Region, viewport: Viewport, columns: f64, rows: f64) -> Viewport {
    let width = (region.right - region.left) * columns;
    let height = (region.bottom - region.top) * rows;
    Viewport {
        source: Some((region.left * columns, region.top * rows, width, height)),
        ..viewport
    }
}

/// Pictures of frames of one instance, each rendered when its turn comes.
#[derive(Debug)]
pub struct PictureParts {
    renderer: Renderer,
    content_type: &'static str,
    location: String,
    numbers: std::vec::IntoIter<u32>,
}

impl PictureParts {
    /// Pictures of these frames; each part has the same address.
    #[must_use]
    pub fn new(
        renderer: Renderer,
        content_type: &'static str,
        location: String,
        numbers: Vec<u32>,
    ) -> Self {
        Self {
            renderer: renderer.patient(),
            content_type,
            location,
            numbers: numbers.into_iter(),
        }
    }
}

impl Parts for PictureParts {
    async fn next(&mut self) -> Result<Option<Part>, body::Error> {
        let Some(number) = self.numbers.next() else {
            return Ok(None);
        };
        let location = self.location.clone();
        let picture = match self.renderer.render(number).await {
            Err(error) if error.is_passed_over() => {
                return Ok(Some(Part::stand_in(location, &error.to_string())));
            }
            rendered => rendered?,
        };
        Ok(Some(Part {
            content_type: self.content_type.to_owned(),
            location,
            body: Body::full(picture),
        }))
    }
}

/// A picture of each instance that is an image.
pub struct ImageParts<L> {
    instances: InOrder,
    style: Style,
    content_type: &'static str,
    /// The address of a sub-resource.
    located: L,
    /// The latest instance.
    at: Option<Target>,
    left_out: LeftOut,
    /// Pictures that were rendered before the response began, and the instance that was not.
    ahead: VecDeque<Part>,
    postponed: Option<SelectedInstance>,
}

/// The most pictures, and their bytes, that are rendered before a response begins.
const AHEAD: usize = 8;
const MOST_AHEAD: u64 = 1 << 20;

impl<L: Fn(&Target, &SubResource) -> String> ImageParts<L> {
    /// Pictures of `instances`, below the address that `located` gives each.
    pub fn new(instances: InOrder, style: Style, content_type: &'static str, located: L) -> Self {
        Self {
            instances,
            style,
            content_type,
            located,
            at: None,
            left_out: LeftOut::default(),
            ahead: VecDeque::new(),
            postponed: None,
        }
    }

    /// The first picture that can be rendered. That and a few more are rendered before the response
    /// begins, so that its head can state the instances that are left out.
    ///
    /// # Errors
    /// Why the first image cannot be rendered if none can, or [`object::Error::NoPixelData`] if no
    /// instance is an image.
    pub async fn first(&mut self) -> Result<Part, Error> {
        let mut reason = None;
        loop {
            match self.render_next().await {
                Ok(Some(picture)) => {
                    self.look_ahead().await;
                    return Ok(picture);
                }
                Ok(None) => return Err(reason.unwrap_or(object::Error::NoPixelData.into())),
                Err(error) if error.is_passed_over() => {
                    self.left_out.add(self.at.as_ref());
                    reason.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn look_ahead(&mut self) {
        let mut held = 0;
        while self.ahead.len() < AHEAD && held < MOST_AHEAD {
            match self.render_next().await {
                Ok(Some(picture)) => {
                    held += picture.body.length().unwrap_or(MOST_AHEAD);
                    self.ahead.push_back(picture);
                }
                Ok(None) => return,
                Err(error) if error.is_passed_over() => self.left_out.add(self.at.as_ref()),
                // It may come when it is its turn: with more patience, or from a source that is back.
                Err(_for_now) => return,
            }
        }
    }

    /// The instances that were left out before the response began.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// The same after the head of the response has left; see [`super::Context::patient`].
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            instances: self.instances.patient(),
            postponed: self.postponed.map(|instance| instance.patient()),
            ..self
        }
    }

    async fn render_next(&mut self) -> Result<Option<Part>, Error> {
        while let Some(instance) = self.postponed.take().or_else(|| self.instances.next()) {
            let target = instance.target();
            self.at = Some(target.clone());
            let renderer = Renderer::new(instance, self.style.clone());
            let picture = match renderer.render(1).await {
                Err(Error::Instance(object::Error::NoPixelData)) => continue,
                Err(error) if !error.is_of_instance() => {
                    self.postponed = Some(renderer.instance);
                    return Err(error);
                }
                rendered => rendered?,
            };
            return Ok(Some(Part {
                content_type: self.content_type.to_owned(),
                location: (self.located)(&target, &SubResource::Rendered),
                body: Body::full(picture),
            }));
        }
        Ok(None)
    }
}

impl<L: Fn(&Target, &SubResource) -> String + Send + Sync + 'static> Parts for ImageParts<L> {
    async fn next(&mut self) -> Result<Option<Part>, body::Error> {
        if let Some(ready) = self.ahead.pop_front() {
            return Ok(Some(ready));
        }
        let error = match self.render_next().await {
            Err(error) if error.is_passed_over() => error,
            rendered => return Ok(rendered?),
        };
        let place = |target| (self.located)(target, &SubResource::Rendered);
        let location = self.at.as_ref().map(place).unwrap_or_default();
        Ok(Some(Part::stand_in(location, &error.to_string())))
    }
}
