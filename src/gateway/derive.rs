//! What viewers ask for besides instances: which of it is made where, and what all of it has in common.

use http::Response;
use http::header::CACHE_CONTROL;
use http::request::Parts;

use super::all_values::Which;
use super::answer::response;
use super::conditional::EntityTag;
use super::{Asking, Error, Gateway, boundary, conditional, heads};
use crate::body::Body;
use crate::instance::Target;
use crate::present::Presented;
use crate::present::metadata::Format;
use crate::request::accept_bulk::OCTET_STREAM;
use crate::request::{MetadataForm, Root};
use crate::retrieve::Missing;
use crate::sub_resource::{BulkdataPath, FrameForm, SubResource};

const PIXEL_DATA: &str = "7FE00010";

impl Gateway {
    /// Something that is made of instances.
    pub(super) async fn derive(
        &self,
        head: &Parts,
        asking: &Asking,
        root: Root,
        (target, resource): (&Target, &SubResource),
    ) -> Result<Response<Body>, Error> {
        let holding = self.holding(root, target.study()).await?;
        let plan = self.plan(&holding, target, asking)?;
        let place = asking.root_place(root);
        if heads::is_of_many(head, target) {
            let location = place.of_sub_resource(target, resource);
            return self.head_of_derived(head, &plan, resource, &location);
        }
        let what = (&place, target, resource);
        if let Some(response) = self.offered(head, &plan, what).await? {
            return Ok(response);
        }
        let material = self.material(plan, asking);
        match resource {
            SubResource::Metadata => self.metadata(head, material, place, target).await,
            SubResource::Frames(frames, FrameForm::Pixels) => {
                let one = material.one()?;
                self.frames(head, one, place, (target, frames)).await
            }
            SubResource::Pixeldata if !matches!(target, Target::Instance(..)) => {
                let location = place.of_sub_resource(target, resource);
                self.all_values(head, material, (place, &location), Which::PixelData)
                    .await
            }
            SubResource::Bulkdata(path) if path.is_all() => {
                let location = place.of_sub_resource(target, resource);
                self.all_values(head, material, (place, &location), Which::All)
                    .await
            }
            SubResource::Pixeldata => {
                let one = material.one()?;
                self.bulkdata(head, one, place, (target, resource, PIXEL_DATA))
                    .await
            }
            SubResource::Bulkdata(path) => {
                let one = material.one()?;
                let path = value_path(path);
                self.bulkdata(head, one, place, (target, resource, &path))
                    .await
            }
            SubResource::Rendered
            | SubResource::Thumbnail
            | SubResource::Frames(_, FrameForm::Rendered | FrameForm::Thumbnail) => {
                self.rendered(head, material, place, (target, resource))
                    .await
            }
        }
    }

    /// Whoever may keep instances may keep what is made of them.
    pub(super) fn keepable(&self, response: &mut Response<Body>, missing: Missing) {
        if missing == Missing::Nothing {
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, self.cache_control.clone());
        }
    }

    /// An answer of one part that is not wrapped, or a range of its bytes.
    pub(super) fn alone(
        &self,
        head: &Parts,
        presented: Presented,
        location: &str,
        tag: Option<&EntityTag>,
    ) -> Result<Response<Body>, Error> {
        let response = self.whole(presented, location)?;
        let asked = (&head.method, &head.headers);
        Ok(conditional::answer(asked, tag, response))
    }

    /// An answer that cannot be given in parts.
    pub(super) fn together(
        &self,
        head: &Parts,
        presented: Presented,
        location: &str,
        tag: Option<&EntityTag>,
    ) -> Result<Response<Body>, Error> {
        let response = self.whole(presented, location)?;
        Ok(conditional::whole(&head.headers, tag, response))
    }

    /// An answer that lacks nothing and may be kept.
    fn whole(&self, presented: Presented, location: &str) -> Result<Response<Body>, Error> {
        let mut response = response(presented, Missing::Nothing, location)?;
        self.keepable(&mut response, Missing::Nothing);
        Ok(response)
    }

    /// That the client has what is asked for, if it does: then nothing has to be made.
    pub(super) fn unchanged(
        &self,
        head: &Parts,
        location: &str,
        tag: Option<&EntityTag>,
    ) -> Result<Option<Response<Body>>, Error> {
        if !conditional::is_had(&head.headers, tag) {
            return Ok(None);
        }
        let presented = Presented {
            content_type: OCTET_STREAM.to_owned(),
            body: Body::empty(),
        };
        self.together(head, presented, location, tag).map(Some)
    }
}

pub(super) fn written(form: MetadataForm, gzip: bool) -> Result<Format, Error> {
    Ok(match form {
        MetadataForm::Json => Format::Json { gzip },
        MetadataForm::Xml => Format::Xml(boundary()?),
    })
}

/// The path of a value, without the `bulkdata/` before it.
fn value_path(path: &BulkdataPath) -> String {
    let path = path.to_string();
    path.split_once('/').map_or("", |(_, rest)| rest).to_owned()
}
