//! The resources `manifests` and `manifests/{id}`.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::answer::{json_document, value};
use super::{Asking, Error, Gateway, accept_fields};
use crate::body::Body;
use crate::dicom::MediaType;
use crate::manifest::{Format, Id, Registered, Series, Store, Study, handed_out, store};
use crate::request::accept::ManifestForm;
use crate::request::{self, accept};

impl Gateway {
    /// `POST manifests`.
    pub(super) async fn register<B>(
        &self,
        head: &Parts,
        asking: &Asking,
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let outcome = self.try_register(head, asking, body).await;
        let label = match &outcome {
            Ok((_, true)) => "registered",
            Ok((_, false)) => "known",
            Err(_) => "refused",
        };
        self.metrics.registrations.with_label_values(&[label]).inc();
        let (manifest, is_new) = outcome?;
        self.count_manifests();
        if self.retriever.fetches_what_is_registered() {
            let plan = self.plan_of_all(&manifest.holding, asking)?;
            self.retriever.fetch_ahead(plan);
        }
        let mut response = json_response(&self.summary(asking, &manifest, false));
        if is_new {
            *response.status_mut() = StatusCode::CREATED;
        }
        let location = asking.link(manifest.id);
        response.headers_mut().insert(LOCATION, value(&location)?);
        Ok(response)
    }

    async fn try_register<B>(
        &self,
        head: &Parts,
        asking: &Asking,
        body: B,
    ) -> Result<(Arc<Registered>, bool), Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let registration = request::registration(head.uri.query())?;
        check_media_type(head)?;
        let upload = self
            .uploads
            .read(asking.account.client(), &head.headers, body)
            .await?;
        let register = move |manifests: &Store| {
            let began = Instant::now();
            let registered = manifests.register(&upload.bytes, registration, now());
            (registered, began.elapsed())
        };
        let (registered, taken) = self.read(register).await?;
        let seconds = &self.metrics.manifest_read_seconds;
        seconds.observe(taken.as_secs_f64());
        Ok(registered?)
    }

    /// `GET manifests`.
    pub(super) fn list(&self, head: &Parts, asking: &Asking) -> Result<Response<Body>, Error> {
        accept::json(&accept_fields(head))?;
        let manifests: Vec<Value> = self
            .manifests
            .list()
            .into_iter()
            .map(|(id, record)| {
                json!({
                    "id": id.to_string(),
                    "registered_at": record.registered_at,
                    "media_type": record.media_type,
                    "links": links(asking, id),
                })
            })
            .collect();
        Ok(json_response(&json!({ "manifests": manifests })))
    }

    /// `GET manifests/{id}`; with `?instances=true` the SOP Instance UIDs are listed too.
    pub(super) async fn show(
        &self,
        head: &Parts,
        asking: &Asking,
        id: Id,
    ) -> Result<Response<Body>, Error> {
        match accept::manifest(&accept_fields(head))? {
            ManifestForm::Summary => {}
            ManifestForm::Kos => return self.hand_out(asking, id, "application/dicom").await,
            ManifestForm::Fhir => return self.hand_out(asking, id, "application/fhir+json").await,
        }
        let with_instances = head.uri.query().is_some_and(|query| {
            query
                .split('&')
                .any(|pair| pair.eq_ignore_ascii_case("instances=true"))
        });
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        Ok(json_response(&self.summary(
            asking,
            &manifest,
            with_instances,
        )))
    }

    /// The manifest itself, with what it selects to be retrieved here.
    async fn hand_out(
        &self,
        asking: &Asking,
        id: Id,
        media_type: &'static str,
    ) -> Result<Response<Body>, Error> {
        let manifest = self.load(id).await?.ok_or(Error::NotFound)?;
        let record = self.manifests.record(id).ok_or(Error::NotFound)?;
        if record.media_type != media_type {
            // It is handed out in the format that it came in.
            return Err(accept::NotAcceptable.into());
        }
        let root = format!("{}/dicomweb", asking.link(id));
        let written = self.read(move |manifests| -> Result<_, store::Error> {
            let document = manifests.document(id)?.unwrap_or_default();
            let studies = manifest.holding.studies.iter();
            let series = studies.flat_map(|study| &study.series);
            let series = series.map(|series| series.uid.as_str()).collect();
            Ok(handed_out(&document, &series, &root)?)
        });
        let mut response = json_response(&Value::Null);
        *response.body_mut() = Body::full(written.await??);
        let media_type = HeaderValue::from_static(media_type);
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        Ok(response)
    }

    /// `DELETE manifests/{id}`.
    pub(super) async fn forget(&self, id: Id) -> Result<Response<Body>, Error> {
        let manifests = Arc::clone(&self.manifests);
        let forgetting = spawn_blocking(move || manifests.forget(id));
        if !forgetting.await.map_err(|_panic| Error::Internal)?? {
            return Err(Error::NotFound);
        }
        self.count_manifests();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    pub(super) fn count_manifests(&self) {
        self.metrics
            .manifests
            .set(self.manifests.count().try_into().unwrap_or(i64::MAX));
    }

    fn summary(&self, asking: &Asking, manifest: &Registered, with_instances: bool) -> Value {
        let mut warnings: Vec<String> = manifest.warnings.iter().map(ToString::to_string).collect();
        let community = manifest.registration.home_community_id.as_ref();
        if community.is_some_and(|id| !self.is_ours(id) && self.registry.community(id).is_none()) {
            warnings.push("the manifest's community is not configured here".to_owned());
        }
        let studies = manifest.holding.studies.iter();
        let link = asking.link(manifest.id);
        let studies: Vec<Value> = studies
            .map(|study| {
                self.study_summary((manifest, study, with_instances), &link, &mut warnings)
            })
            .collect();
        json!({
            "id": manifest.id.to_string(),
            "format": format_name(manifest.format),
            "home_community_id":
                manifest.registration.home_community_id.as_ref().map(ToString::to_string),
            "studies": studies,
            "instances": manifest.holding.instances(),
            "links": links(asking, manifest.id),
            "warnings": warnings,
        })
    }

    fn study_summary(
        &self,
        (manifest, study, with_instances): (&Registered, &Study, bool),
        link: &str,
        warnings: &mut Vec<String>,
    ) -> Value {
        let link = format!("{link}/dicomweb/studies/{}", study.uid);
        let community = manifest.registration.home_community_id.as_ref();
        let series: Vec<Value> = study
            .series
            .iter()
            .map(|series| {
                let found = self.registry.resolve(&series.locations, community);
                let is_located = found.is_some();
                if !is_located {
                    let uid = &series.uid;
                    warnings.push(format!("series {uid} is not at any configured location"));
                }
                series_summary(&link, series, is_located, with_instances)
            })
            .collect();
        json!({
            "study_instance_uid": study.uid.as_str(),
            "study_date": study.date,
            "study_description": study.description,
            "modalities": study.modalities,
            "series": series,
            "link": link,
        })
    }
}

fn links(asking: &Asking, id: Id) -> Value {
    let manifest = asking.link(id);
    json!({ "manifest": manifest, "dicomweb": format!("{manifest}/dicomweb") })
}

fn series_summary(
    study_link: &str,
    series: &Series,
    is_located: bool,
    with_instances: bool,
) -> Value {
    let mut summary = json!({
        "series_instance_uid": series.uid.as_str(),
        "series_number": series.number,
        "modality": series.modality,
        "series_description": series.description,
        "instances": series.instances.len(),
        "located": is_located,
        "link": format!("{study_link}/series/{}", series.uid),
    });
    if with_instances {
        let uids = series
            .instances
            .iter()
            .map(|instance| instance.uid.as_str());
        summary["sop_instance_uids"] = uids.collect();
    }
    summary
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Kos(_) => "kos",
        Format::FhirR4 => "fhir-r4",
        Format::FhirR5 => "fhir-r5",
    }
}

/// Only media types that a page of a foreign origin cannot send without asking first. A form can send
/// no type at all, `text/plain`, `multipart/form-data` and `application/x-www-form-urlencoded`
/// (WHATWG Fetch, "CORS-safelisted request-header").
fn check_media_type(head: &Parts) -> Result<(), Error> {
    let field = head.headers.get(CONTENT_TYPE);
    let media_type = field.and_then(|field| MediaType::parse(field.to_str().ok()?));
    match media_type.as_ref().map(MediaType::essence) {
        Some(
            "application/dicom"
            | "application/fhir+json"
            | "application/json"
            | "application/octet-stream",
        ) => Ok(()),
        Some(_) | None => Err(Error::UnsupportedMediaType),
    }
}

fn json_response(document: &Value) -> Response<Body> {
    json_document(format!("{document:#}\n"))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
