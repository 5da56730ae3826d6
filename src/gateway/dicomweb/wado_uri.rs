//! WADO-URI over a DICOMweb root (PS3.18 9): always one part.

use http::Response;

use crate::body::Body;
use crate::derive::{self, Renderer, SelectedInstances, Style};
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::warn_of_patient;
use crate::gateway::{Error, Gateway};
use crate::request::wado_uri::{Content, Refusal, WadoUri};
use crate::request::{Payload, Root};

impl Gateway {
    /// The object that the query names.
    pub(crate) async fn wado_uri(
        &self,
        exchange: &Exchange<'_>,
        root: Root,
    ) -> Result<Response<Body>, Error> {
        let parsed = WadoUri::parse(exchange.query(), &exchange.accept());
        let WadoUri { target, content } = parsed.map_err(|wrong| match wrong {
            Refusal::Request(error) => Error::from(error),
            Refusal::NotAcceptable(error) => error.into(),
        })?;
        let holding = self.holding(exchange, root, target.study()).await?;
        let patient = self.patient(root, &holding, target.study()).await?;
        let plan = self.plan(&holding, &target, exchange)?.of_patient(&patient);
        let base = exchange.base_url(root);
        let context = self.context(exchange);
        let mut response = match content {
            Content::Dicom(syntaxes) => {
                let retrieval = derive::transcoded(context, plan, &syntaxes).await?;
                self.instances(exchange, retrieval, Payload::Single, base, &target)
                    .await
            }
            Content::Picture {
                format,
                frame,
                rendered,
                region,
            } => {
                let instance = SelectedInstances { plan, context }.single()?;
                let style = Style {
                    rendered: *rendered,
                    format,
                    region,
                };
                let renderer = Renderer::new(instance, style);
                self.pictures(exchange, renderer, &[frame], &base.of(&target))
                    .await
            }
        }?;
        warn_of_patient(&mut response, &patient)?;
        Ok(response)
    }
}
