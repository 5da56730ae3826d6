//! Rendered instances that are not pictures (PS3.18 10.4.1.1.3): encapsulated documents, structured
//! reports, videos.

use http::Response;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use crate::body::Body;
use crate::derive::{EncapsulatedDocument, InstanceFrames, SelectedInstance, report};
use crate::gateway::edge::conditional::EntityTag;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::{Error, Gateway};
use crate::instance::Instance;
use crate::present::Presented;
use crate::present::report::Format;
use crate::request::accept::NotAcceptable;
use crate::request::accept_bulk::media_type_of;
use crate::request::rendering;

/// SOP classes of structured reports (PS3.4 B.5).
const REPORTS: &str = "1.2.840.10008.5.1.4.1.1.88.";
/// SOP classes of encapsulated documents (PS3.4 B.5): PDF, CDA, STL, OBJ, MTL.
const DOCUMENTS: &str = "1.2.840.10008.5.1.4.1.1.104.";
/// A document from a source runs no script here.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

impl Gateway {
    /// The document, report or video of an instance; `None` if it is none of these.
    pub(crate) async fn document(
        &self,
        exchange: &Exchange<'_>,
        instance: &SelectedInstance,
        location: &str,
    ) -> Result<Option<Response<Body>>, Error> {
        let opened = instance.open().await?;
        let class = opened.identity.sop_class.as_str();
        if class.starts_with(REPORTS) {
            return self.report(exchange, instance, opened, location).await;
        }
        let media_type = media_type_of(&opened.identity.transfer_syntax);
        if media_type.starts_with("video/") {
            let digest = opened.digest();
            drop(opened);
            let video = self.video(exchange, instance, media_type).await?;
            let tag = digest.map(|digest| EntityTag::made(digest, media_type));
            let response = self.alone(exchange, video, location, tag.as_ref());
            return response.map(Some);
        }
        if class.starts_with(DOCUMENTS) {
            return self
                .encapsulated(exchange, instance, opened, location)
                .await;
        }
        Ok(None)
    }

    /// A structured report as text; `None` if the client does not accept text.
    async fn report(
        &self,
        exchange: &Exchange<'_>,
        instance: &SelectedInstance,
        opened: Instance,
        location: &str,
    ) -> Result<Option<Response<Body>>, Error> {
        let (form, media_type) = if accepts(exchange, "text/html") {
            (Format::Html, "text/html; charset=utf-8")
        } else if accepts(exchange, "text/plain") {
            (Format::Plain, "text/plain; charset=utf-8")
        } else {
            return Ok(None);
        };
        let tag = opened
            .digest()
            .map(|digest| EntityTag::made(digest, media_type));
        if let Some(unchanged) = self.unchanged(exchange, location, tag.as_ref())? {
            return Ok(Some(unchanged));
        }
        let text = report(instance.context(), opened, form).await?;
        let presented = Presented {
            content_type: media_type.to_owned(),
            body: Body::full(text),
        };
        let response = self.alone(exchange, presented, location, tag.as_ref())?;
        Ok(Some(sandboxed(response)))
    }

    async fn video(
        &self,
        exchange: &Exchange<'_>,
        instance: &SelectedInstance,
        media_type: &str,
    ) -> Result<Presented, Error> {
        if !accepts(exchange, media_type) {
            return Err(NotAcceptable.into());
        }
        let (_, frames) = InstanceFrames::open(instance).await?;
        Ok(Presented {
            content_type: media_type.to_owned(),
            body: frames.whole_video().await?,
        })
    }

    async fn encapsulated(
        &self,
        exchange: &Exchange<'_>,
        instance: &SelectedInstance,
        opened: Instance,
        location: &str,
    ) -> Result<Option<Response<Body>>, Error> {
        let digest = opened.digest();
        let stored = opened.identity.transfer_syntax.clone();
        let document = EncapsulatedDocument::find(instance, opened.body).await?;
        let Some(document) = document else {
            return Ok(None);
        };
        let media_type = document.media_type;
        if !accepts(exchange, media_type) {
            return Err(NotAcceptable.into());
        }
        let presented = Presented {
            content_type: media_type.to_owned(),
            body: document.open(instance, &stored).await?,
        };
        let tag = digest.map(|digest| EntityTag::made(digest, media_type));
        let response = self.alone(exchange, presented, location, tag.as_ref())?;
        // Browsers show a PDF in a sandbox of their own, and not at all in this one.
        Ok(Some(if media_type == "application/pdf" {
            response
        } else {
            sandboxed(response)
        }))
    }
}

fn accepts(exchange: &Exchange<'_>, media_type: &str) -> bool {
    rendering::accepts(exchange.query(), &exchange.accept(), media_type)
}

fn sandboxed(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
    response
}
