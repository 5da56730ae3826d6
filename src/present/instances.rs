//! Instances as PS3.18 10.4 defines them: a `multipart/related`, or a single instance.

use crate::body::Body;
use crate::dicom::media_type::{APPLICATION_DICOM, application_dicom};
use crate::instance::{Instance, Instances, Target};
use crate::multipart::{Boundary, Joiner};

/// The media type and the bytes of a response.
#[derive(Debug)]
pub struct Presented {
    /// `Content-Type`.
    pub content_type: String,
    /// The bytes.
    pub body: Body,
}

/// All instances in one `multipart/related`; `located` gives the address of each part. The closing
/// boundary is written only if the stream is complete.
#[must_use]
pub fn multipart(
    mut instances: Instances,
    boundary: Boundary,
    located: impl Fn(&Target) -> String + Send + 'static,
) -> Presented {
    let mut joiner = Joiner::new(boundary);
    let content_type = joiner.content_type(APPLICATION_DICOM);
    let body = Body::generate(None, |out| async move {
        while let Some(mut instance) = instances.next().await? {
            out.emit(joiner.part(&fields(&instance, &located).borrowed()))
                .await?;
            while let Some(chunk) = instance.body.chunk().await? {
                out.emit(chunk).await?;
            }
        }
        out.emit(joiner.close()).await
    });
    Presented { content_type, body }
}

/// A single instance.
#[must_use]
pub fn single(instance: Instance) -> Presented {
    Presented {
        content_type: application_dicom(&instance.identity.transfer_syntax),
        body: instance.body,
    }
}

struct Fields(Vec<(&'static str, String)>);

// Viewers expect `Content-Type` first, in exactly this spelling, with the transfer syntax.
fn fields(instance: &Instance, located: impl Fn(&Target) -> String) -> Fields {
    let identity = &instance.identity;
    let mut fields = vec![("Content-Type", application_dicom(&identity.transfer_syntax))];
    if let Some(length) = instance.body.length() {
        fields.push(("Content-Length", length.to_string()));
    }
    fields.push(("Content-Location", located(&identity.target())));
    Fields(fields)
}

impl Fields {
    fn borrowed(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}
