//! What is no picture but can be looked at: encapsulated documents, structured reports, videos.

use http::Response;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use http::request::Parts;

use super::bulkdata::document_type;
use super::conditional::EntityTag;
use super::material::One;
use super::metadata::described;
use super::one::{OneFrame, frames_of, skimmed};
use super::{Error, Gateway, accept_fields};
use crate::body::Body;
use crate::instance::Instance;
use crate::object::{Extent, plain};
use crate::present::report::{self, Format};
use crate::present::{Presented, metadata};
use crate::request::accept_bulk::media_type_of;
use crate::request::rendering;

/// SOP classes of structured reports (PS3.4 B.5).
const REPORTS: &str = "1.2.840.10008.5.1.4.1.1.88.";
/// SOP classes of encapsulated documents (PS3.4 B.5): PDF, CDA, STL, OBJ, MTL.
const DOCUMENTS: &str = "1.2.840.10008.5.1.4.1.1.104.";
const ENCAPSULATED_DOCUMENT: dicom_core::Tag = dicom_core::Tag(0x0042, 0x0011);
/// Whatever is in it, it runs nothing here.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

impl Gateway {
    /// A structured report as text, if that is accepted.
    async fn report(
        &self,
        head: &Parts,
        (one, instance): (&One, Instance),
        location: &str,
    ) -> Result<Option<Response<Body>>, Error> {
        let accept = accept_fields(head);
        let accepts = |media_type| rendering::accepts(head.uri.query(), &accept, media_type);
        let (form, media_type) = if accepts("text/html") {
            (Format::Html, "text/html; charset=utf-8")
        } else if accepts("text/plain") {
            (Format::Plain, "text/plain; charset=utf-8")
        } else {
            return Ok(None);
        };
        let tag = instance
            .digest()
            .map(|digest| EntityTag::made(digest, media_type));
        if let Some(unchanged) = self.unchanged(head, location, tag.as_ref())? {
            return Ok(Some(unchanged));
        }
        let mut described = described(&one.context, instance).await?;
        described
            .share
            .grow(metadata::most_of_text(&described.json))
            .await?;
        // Links to what is large are no text of it.
        let json = metadata::rooted(&described.json, "");
        let set = serde_json::from_slice(&json).map_err(|_ours| Error::Internal)?;
        let text = report::text(&set, form).into();
        drop((json, set, described.json));
        let presented = Presented {
            content_type: media_type.to_owned(),
            body: Body::full(described.share.hold(text)),
        };
        let mut response = self.alone(head, presented, location, tag.as_ref())?;
        response
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, SANDBOX);
        Ok(Some(response))
    }

    /// An encapsulated document, a report or a video, if that is what the instance is.
    pub(super) async fn as_it_is(
        &self,
        head: &Parts,
        one: &One,
        location: &str,
    ) -> Result<Option<Response<Body>>, Error> {
        let instance = one.open().await?;
        let digest = instance.digest();
        let syntax = instance.identity.transfer_syntax.clone();
        let video = media_type_of(&syntax);
        let is_video = video.starts_with("video/");
        let class = instance.identity.sop_class.as_str();
        let is_document = class.starts_with(DOCUMENTS);
        if class.starts_with(REPORTS) {
            return self.report(head, (one, instance), location).await;
        }
        if !is_video && !is_document {
            return Ok(None);
        }
        let accept = accept_fields(head);
        let accepts = |media_type| rendering::accepts(head.uri.query(), &accept, media_type);
        if is_video {
            drop(instance);
            if !accepts(video) {
                return Err(crate::request::accept::NotAcceptable.into());
            }
            let frame = OneFrame::new(one.clone(), syntax, frames_of(one).await?.1);
            let body = frame.whole_video().await?;
            let presented = Presented {
                content_type: video.to_owned(),
                body,
            };
            let tag = digest.map(|digest| EntityTag::made(digest, video));
            return self
                .alone(head, presented, location, tag.as_ref())
                .map(Some);
        }
        let skimmed = skimmed(one, instance.body, Extent::ToPixelData).await?;
        let Some(large) = skimmed.large(ENCAPSULATED_DOCUMENT).copied() else {
            return Ok(None);
        };
        let kind = document_type(&skimmed);
        if !accepts(kind) {
            return Err(crate::request::accept::NotAcceptable.into());
        }
        let again = plain(one.open().await?.body, &syntax).await?;
        let presented = Presented {
            content_type: kind.to_owned(),
            body: again.slice(large.offset, large.length.unwrap_or(0)),
        };
        let tag = digest.map(|digest| EntityTag::made(digest, kind));
        let mut response = self.alone(head, presented, location, tag.as_ref())?;
        if kind != "application/pdf" {
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, SANDBOX);
        }
        Ok(Some(response))
    }
}
