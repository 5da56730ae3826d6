//! WADO-URI over what a DICOMweb root has (PS3.18 9): always one part.

use http::Response;
use http::request::Parts;

use crate::body::Body;
use crate::gateway::{Asking, Error, Gateway, accept_fields};
use crate::request::wado_uri::{WadoUri, Wanted, Wrong};
use crate::request::{Acceptable, Payload, Root};

impl Gateway {
    pub(crate) async fn wado_uri(
        &self,
        head: &Parts,
        asking: &Asking,
        root: Root,
    ) -> Result<Response<Body>, Error> {
        let asked = WadoUri::parse(head.uri.query(), &accept_fields(head));
        let WadoUri { target, wanted } = asked.map_err(|wrong| match wrong {
            Wrong::Request(error) => Error::from(error),
            Wrong::NotAcceptable(error) => error.into(),
        })?;
        let holding = self.holding(root, target.study()).await?;
        let plan = self.plan(&holding, &target, asking)?;
        let place = asking.root_place(root);
        match wanted {
            Wanted::Dicom(syntaxes) => {
                let retrieval = self.fetch(plan, &syntaxes, asking).await?;
                let acceptable = Acceptable {
                    payload: Payload::Single,
                    syntaxes,
                };
                self.instances(head, (retrieval, acceptable), place, &target)
                    .await
            }
            Wanted::Picture {
                format,
                frame,
                rendered,
                region,
            } => {
                let one = self.material(plan, asking).one()?;
                let location = place.of(&target);
                let shown = (*rendered, region, format);
                self.picture(head, one, shown, (&location, frame)).await
            }
        }
    }
}
