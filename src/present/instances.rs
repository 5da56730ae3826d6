//! Instances as PS3.18 10.4 has them: many in a `multipart/related`, or one alone.

use super::Presented;
use super::parts::{self, Part, Parts};
use crate::body;
use crate::dicom::media_type::{APPLICATION_DICOM, application_dicom};
use crate::instance::{Instance, Instances, Item};
use crate::multipart::Boundary;
use crate::resource::Target;

/// All instances in one `multipart/related`, each part with the address that `located` gives it.
#[must_use]
pub fn multipart(
    instances: Instances,
    boundary: Boundary,
    located: impl Fn(&Target) -> String + Send + 'static,
) -> Presented {
    let parts = InstanceParts { instances, located };
    parts::multipart(boundary, APPLICATION_DICOM, None, parts)
}

/// One instance, alone.
#[must_use]
pub fn single(instance: Instance) -> Presented {
    Presented {
        content_type: application_dicom(&instance.identity.transfer_syntax),
        body: instance.body,
    }
}

struct InstanceParts<L> {
    instances: Instances,
    located: L,
}

impl<L: Fn(&Target) -> String + Send + 'static> Parts for InstanceParts<L> {
    async fn next(&mut self) -> Result<Option<Part>, body::Error> {
        let item = self.instances.next_item().await?;
        Ok(item.map(|item| match item {
            Item::Instance(instance) => Part {
                content_type: application_dicom(&instance.identity.transfer_syntax),
                location: (self.located)(&instance.identity.target()),
                body: instance.body,
            },
            Item::StandIn(absent) => Part::stand_in((self.located)(&absent.target), &absent.reason),
        }))
    }
}
