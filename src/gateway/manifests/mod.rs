//! The resources `manifests` and `manifests/{id}`.

pub(crate) mod forget;
pub(crate) mod links;
pub(crate) mod summary;
pub(crate) mod viewers;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::header::{CONTENT_TYPE, HeaderValue, LINK, LOCATION};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::yield_now;

use crate::access::Caller;
use crate::body::Body;
use crate::dicom::MediaType;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::{json_document, streamed_document, value};
use crate::gateway::selection::locate;
use crate::gateway::{Error, Gateway};
use crate::library::{self, Library, ManifestEntry, Neighbours, now};
use crate::manifest::{Export, Format, Id, Owner, Registered, Registration};
use crate::present::document::document;
use crate::request::accept::ManifestForm;
use crate::request::{self, Page, accept};

pub(crate) const JSON: &str = "application/json";

impl Gateway {
    /// `POST manifests`.
    pub(crate) async fn register<B>(
        &self,
        exchange: &Exchange<'_>,
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let outcome = self.try_register(exchange, body).await;
        let label = match &outcome {
            Ok((_, true)) => "registered",
            Ok((_, false)) => "known",
            Err(_) => "refused",
        };
        self.metrics.registrations.with_label_values(&[label]).inc();
        let (manifest, is_new) = outcome?;
        self.count_manifests();
        if self.retriever.fetches_what_is_registered() {
            let plan = self.plan_of_all(&manifest.holding, exchange)?;
            self.retriever.fetch_ahead(plan);
        }
        self.ask_partners(&manifest.holding, exchange);
        let location = exchange.manifest_url(manifest.id);
        let mut response = self.summary(exchange, manifest, false).await?;
        if is_new {
            *response.status_mut() = StatusCode::CREATED;
        }
        response.headers_mut().insert(LOCATION, value(&location)?);
        Ok(response)
    }

    async fn try_register<B>(
        &self,
        exchange: &Exchange<'_>,
        body: B,
    ) -> Result<(Arc<Registered>, bool), Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let mut submission = request::registration(exchange.query())?;
        submission.registration.owner = exchange.caller.owner();
        check_media_type(exchange.headers())?;
        let upload = self
            .uploads
            .read(exchange.account.client(), exchange.headers(), body)
            .await?;
        let registry = Arc::clone(&self.registry);
        let view = exchange.view.clone();
        let register = move |manifests: &Library| {
            let began = Instant::now();
            let (view, locate) = (&view, &locate(&registry));
            let neighbours = Neighbours { view, locate };
            let registered = manifests.register(&upload.bytes, submission, now(), &neighbours);
            (registered, began.elapsed())
        };
        let (registered, taken) = self.read(register).await?;
        let seconds = &self.metrics.manifest_read_seconds;
        seconds.observe(taken.as_secs_f64());
        Ok(registered?)
    }

    /// `GET manifests`: one page, newest first.
    pub(crate) async fn list(&self, exchange: &Exchange<'_>) -> Result<Response<Body>, Error> {
        accept::json(&exchange.accept())?;
        let Page { limit, before } = request::page(exchange.query())?;
        let all = exchange.manifests_url();
        let (listed, end) = self.page_of_list(exchange, limit, before).await;
        let next = end.map(|end| format!("{all}?limit={limit}&before={end}"));
        let link = next.as_ref().map(|next| format!("<{next}>; rel=\"next\""));
        let body = document(|mut writer| async move {
            writer.text("{\"manifests\":[").await?;
            let mut comma = "\n";
            for listed in listed {
                writer.text(comma).await?;
                comma = ",\n";
                writer.json(&entry(&listed, &all)).await?;
            }
            writer.text("],\n\"next\":").await?;
            writer.json(&Value::from(next)).await?;
            writer.text("}\n").await?;
            Ok(writer)
        });
        let mut response = streamed_document(body, JSON).await?;
        if let Some(link) = link {
            response.headers_mut().insert(LINK, value(&link)?);
        }
        Ok(response)
    }

    /// A page of the manifests that the client may see, and the sequence of its last one if another
    /// page follows.
    async fn page_of_list(
        &self,
        exchange: &Exchange<'_>,
        limit: usize,
        before: Option<u64>,
    ) -> (Vec<ManifestEntry>, Option<u64>) {
        /// Records that are looked at together: about a millisecond.
        const LOOKS: usize = 512;
        let (mut all, mut before) = (Vec::new(), before);
        loop {
            let wanted = limit + 1 - all.len();
            let (listed, next) = self.library.list(&exchange.view, before, LOOKS.max(wanted));
            all.extend(listed.into_iter().take(wanted));
            if all.len() > limit || next.is_none() {
                break;
            }
            before = next;
            yield_now().await;
        }
        let has_more = all.len() > limit;
        all.truncate(limit);
        let last = all.last().map(|last| last.sequence);
        (all, last.filter(|_| has_more))
    }

    /// `GET manifests/{id}`; with `?instances=true` the SOP Instance UIDs are listed too.
    pub(crate) async fn show(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
    ) -> Result<Response<Body>, Error> {
        match accept::manifest(&exchange.accept())? {
            ManifestForm::Summary => {}
            ManifestForm::Kos => return self.hand_out(exchange, id, "application/dicom").await,
            ManifestForm::Fhir => {
                return self.hand_out(exchange, id, "application/fhir+json").await;
            }
        }
        let with_instances = exchange.query().is_some_and(|query| {
            query
                .split('&')
                .any(|pair| pair.eq_ignore_ascii_case("instances=true"))
        });
        let manifest = self.manifest(exchange, id).await?;
        self.summary(exchange, manifest, with_instances).await
    }

    /// The manifest itself, with the gateway's own Retrieve URLs.
    async fn hand_out(
        &self,
        exchange: &Exchange<'_>,
        id: Id,
        media_type: &'static str,
    ) -> Result<Response<Body>, Error> {
        let manifest = self.manifest(exchange, id).await?;
        let record = self.library.record(id).ok_or(Error::NotFound)?;
        // It is handed out in the format that it came in; and not to the holder of a link if it tells
        // of series that the link does not show.
        if record.media_type != media_type || tells_more(exchange, &manifest) {
            return Err(accept::NotAcceptable.into());
        }
        // The document as it is stored, and as it is written.
        let share = exchange.account.share(record.length() * 2).await?;
        let address = exchange.manifest_url(id);
        let (root, wado_uri) = (format!("{address}/dicomweb"), format!("{address}/wado"));
        let context = export_context(exchange, &manifest);
        let written = self.read(move |manifests| -> Result<_, library::Error> {
            let document = manifests.document(id)?.unwrap_or_default();
            let studies = manifest.holding.studies.iter();
            let series = studies.flat_map(|study| &study.series);
            let export = Export {
                series: series.map(|series| series.uid.as_str()).collect(),
                root: &root,
                wado_uri: &wado_uri,
                context: &context,
                is_r5: manifest.format == Format::FhirR5,
            };
            Ok(export.write(&document)?)
        });
        let mut response = json_document(String::new());
        *response.body_mut() = Body::full(share.hold(written.await??.into()));
        let media_type = HeaderValue::from_static(media_type);
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        Ok(response)
    }

    pub(crate) fn count_manifests(&self) {
        self.metrics
            .manifests
            .set(self.library.count().try_into().unwrap_or(i64::MAX));
    }
}

/// What changes the content of a manifest that is handed out: the gateway that does it, the series to
/// which it is narrowed, and its owner; or the link, which has both of its own.
fn export_context(exchange: &Exchange<'_>, manifest: &Registered) -> String {
    if let Some(link) = &exchange.link_url {
        return link.clone();
    }
    let Registration { series, owner, .. } = &manifest.registration;
    let mut context = exchange.manifests_url();
    let series = series.iter().map(ToString::to_string);
    let owner = owner.map(|Owner(digest)| HEXLOWER.encode(&digest));
    for part in series.chain(owner) {
        context.push('\n');
        context.push_str(&part);
    }
    context
}

/// Whether the document of a manifest tells the holder of a link more than the link shows.
fn tells_more(exchange: &Exchange<'_>, manifest: &Registered) -> bool {
    let Caller::Link(grant) = &exchange.caller else {
        return false;
    };
    !grant.series.is_empty() || !manifest.registration.series.is_empty()
}

fn entry(listed: &ManifestEntry, all: &str) -> Value {
    let id = listed.id.to_string();
    json!({
        "links": links(&format!("{all}/{id}")),
        "id": id,
        "registered_at": listed.registered_at,
        "media_type": listed.media_type,
    })
}

pub(crate) fn links(manifest: &str) -> Value {
    json!({
        "manifest": manifest,
        "dicomweb": format!("{manifest}/dicomweb"),
        "wado_uri": format!("{manifest}/wado"),
        "viewers": format!("{manifest}/viewers"),
    })
}

/// Only media types that a page of a foreign origin cannot send without asking first. A form can
/// send no type at all, `text/plain`, `multipart/form-data` and `application/x-www-form-urlencoded`
/// (WHATWG Fetch, "CORS-safelisted request-header").
fn check_media_type(headers: &HeaderMap) -> Result<(), Error> {
    let field = headers.get(CONTENT_TYPE);
    let media_type = field.and_then(|field| MediaType::parse(field.to_str().ok()?));
    match media_type.as_ref().map(MediaType::essence) {
        Some(
            "application/dicom"
            | "application/dicom+json"
            | "application/fhir+json"
            | "application/json"
            | "application/octet-stream",
        ) => Ok(()),
        Some(_) | None => Err(Error::UnsupportedMediaType),
    }
}
