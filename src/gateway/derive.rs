//! What viewers ask for besides instances, made of instances: metadata, frames, bulk data.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dicom_core::Tag;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, HeaderValue, VARY};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::answer::response;
use super::conditional;
use super::place::Place;
use super::{Asking, Error, Gateway, accept_fields, boundary};
use crate::body::{self, Body};
use crate::cache::{Derived, Frames as KeptFrames};
use crate::dicom::json::width;
use crate::dicom::{Encoding, TransferSyntax, TransferSyntaxes};
use crate::hop::Hop;
use crate::instance::{Instance, Target};
use crate::object::{self, Extent, Layout, Skimmed, layout, plain, skim};
use crate::pixels::{MOST_BYTES, Pool, Task, Wanted, is_decodable};
use crate::present::metadata::{Form, describe};
use crate::present::parts::{self, Part, with_syntax};
use crate::present::{Presented, metadata};
use crate::request::accept_bulk::{self, OCTET_STREAM, Representation, Stored, media_type_of};
use crate::request::{BulkAcceptable, MetadataForm, Root, accept, search};
use crate::retrieve::{Job, Missing, Plan, Retrieval, Retriever};
use crate::search::Include;
use crate::sub_resource::{BulkdataPath, FrameForm, Frames, SubResource};

const PIXEL_DATA: &str = "7FE00010";

/// One instance that can be opened as often as it is needed.
#[derive(Debug, Clone)]
pub(super) struct One {
    retriever: Retriever,
    job: Job,
    hop: Arc<Hop>,
}

/// A value of an instance: where it is, or what it is.
#[derive(Debug)]
enum Value {
    /// So many bytes from a place on.
    There(u64, u64),
    /// These bytes.
    Here(Bytes),
    /// Encapsulated pixel data.
    Frames,
}

impl Gateway {
    /// Something that is made of instances.
    pub(super) async fn derive(
        &self,
        head: &Parts,
        asking: &Asking,
        root: Root,
        (target, resource): (&Target, &SubResource),
    ) -> Result<Response<Body>, Error> {
        let holding = self.holding(root).await?;
        let plan = self.plan(&holding, target, asking)?;
        let place = self.root_place(root);
        match resource {
            SubResource::Metadata => self.metadata(head, plan, place, target).await,
            SubResource::Frames(frames, FrameForm::Pixels) => {
                let one = self.one(plan)?;
                self.frames(head, one, place, (target, frames)).await
            }
            SubResource::Pixeldata => {
                let one = self.one(plan)?;
                self.bulkdata(head, one, place, (target, resource, PIXEL_DATA))
                    .await
            }
            SubResource::Bulkdata(path) => {
                let one = self.one(plan)?;
                let path = value_path(path);
                self.bulkdata(head, one, place, (target, resource, &path))
                    .await
            }
            SubResource::Rendered
            | SubResource::Thumbnail
            | SubResource::Frames(_, FrameForm::Rendered | FrameForm::Thumbnail) => {
                self.rendered(head, plan, place, (target, resource)).await
            }
        }
    }

    /// The one instance that is asked for.
    pub(super) fn one(&self, plan: Plan) -> Result<One, Error> {
        let mut jobs = plan.jobs.into_iter();
        match (jobs.next(), jobs.next()) {
            (Some(job), None) if job.only.is_some() => Ok(One {
                retriever: self.retriever.clone(),
                job,
                hop: plan.hop,
            }),
            (None, _) if plan.not_locatable > 0 => Err(crate::retrieve::Error::NotLocatable.into()),
            _ => Err(Error::OfInstancesOnly),
        }
    }

    async fn metadata(
        &self,
        head: &Parts,
        plan: Plan,
        place: Place,
        target: &Target,
    ) -> Result<Response<Body>, Error> {
        let form = accept::metadata(head.uri.query(), &accept_fields(head))?;
        let include = included(head.uri.query())?;
        let gzip = form == MetadataForm::Json && takes_gzip(&head.headers);
        let form = written(form, gzip)?;
        let Retrieval {
            mut instances,
            missing,
            is_kept: _,
        } = self
            .retriever
            .start(plan, TransferSyntaxes::AsStored)
            .await?;
        let derived = self.retriever.cache().derived().clone();
        // What is wrong with the first is an error that can still be told.
        let first = instances.next().await?.ok_or(body::Error::Missing(1))?;
        let first = described(&derived, first).await?;
        let describing = move |instance| {
            let derived = derived.clone();
            async move { described(&derived, instance).await.map_err(in_body) }
        };
        let how = (form, place.root().to_owned(), include);
        let presented = metadata::metadata(Some(first), instances, describing, how);
        let location = place.of_sub_resource(target, &SubResource::Metadata);
        let mut response = response(presented, missing, &location)?;
        self.keepable(&mut response, missing);
        encoded(&mut response, gzip);
        Ok(response)
    }

    /// Whoever may keep instances may keep what is made of them.
    pub(super) fn keepable(&self, response: &mut Response<Body>, missing: Missing) {
        if missing == Missing::Nothing {
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, self.cache_control.clone());
        }
    }

    async fn frames(
        &self,
        head: &Parts,
        one: One,
        place: Place,
        (target, frames): (&Target, &Frames),
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(head.uri.query(), &accept_fields(head));
        let (instance, kept) = frames_of(&one).await?;
        let all = kept.layout.frames(&kept.geometry);
        let mut numbers: Vec<u32> = frames.numbers().iter().map(|number| number.get()).collect();
        if numbers.iter().any(|&number| number > all) {
            return Err(object::Error::NoFrame(all).into());
        }
        let stored = instance.identity.transfer_syntax.clone();
        let is_one = numbers.len() == 1;
        let as_stored = Stored {
            syntax: &stored,
            media_type: own_media_type(&kept.layout, &stored),
            is_compressed: matches!(kept.layout, Layout::Encapsulated(_)),
        };
        let multipart = accept_bulk::Default::Multipart;
        let given = acceptable.choose(as_stored, is_one, multipart)?;
        let frame = OneFrame::new(one, stored, kept);
        let is_decoded = !given.is_as_stored && frame.is_compressed();
        let syntax = if is_decoded {
            TransferSyntax::explicit_vr_little_endian()
        } else {
            frame.syntax()
        };
        let first = numbers.first().copied().unwrap_or(1);
        let body = if is_decoded {
            drop(instance);
            Body::full(frame.made(&self.decoders, first, Wanted::Samples).await?)
        } else {
            frame.stored(instance, first).await?
        };
        let content_type = with_syntax(&given.media_type, &syntax);
        let location = place.of_sub_resource(
            target,
            &SubResource::Frames(frames.clone(), FrameForm::Pixels),
        );
        if !given.is_multipart {
            let presented = Presented { content_type, body };
            return self.alone(head, presented, &location);
        }
        let root = place.of(target);
        let parts = numbers.drain(..).map(|what| Part {
            location: format!("{root}/frames/{what}"),
            what,
        });
        let frame = Arc::new((frame, self.decoders.clone()));
        let open = move |number: &u32| {
            let (both, number) = (Arc::clone(&frame), *number);
            async move {
                let (frame, decoders) = &*both;
                if is_decoded {
                    let made = frame.made(decoders, number, Wanted::Samples).await;
                    return made.map(Body::full).map_err(broken_off);
                }
                let instance = frame.one.open().await.map_err(broken_off)?;
                frame.stored(instance, number).await.map_err(broken_off)
            }
        };
        let how = (boundary()?, given.media_type.as_str(), content_type);
        let presented = parts::multipart(parts.collect(), body, open, how);
        let mut response = response(presented, Missing::Nothing, &location)?;
        self.keepable(&mut response, Missing::Nothing);
        Ok(response)
    }

    /// An answer of one part that is not wrapped, or a range of its bytes.
    pub(super) fn alone(
        &self,
        head: &Parts,
        presented: Presented,
        location: &str,
    ) -> Result<Response<Body>, Error> {
        let mut response = response(presented, Missing::Nothing, location)?;
        self.keepable(&mut response, Missing::Nothing);
        Ok(conditional::answer(
            (&head.method, &head.headers),
            None,
            response,
        ))
    }

    /// A large value of an instance.
    async fn bulkdata(
        &self,
        head: &Parts,
        one: One,
        place: Place,
        (target, resource, path): (&Target, &SubResource, &str),
    ) -> Result<Response<Body>, Error> {
        let acceptable = BulkAcceptable::parse(head.uri.query(), &accept_fields(head));
        let instance = one.open().await?;
        let stored = instance.identity.transfer_syntax.clone();
        let location = place.of_sub_resource(target, resource);
        let skimmed = skim(instance.body, extent_for(path), false).await?;
        let (body, what) = match value_at(&skimmed, path)? {
            Value::Frames => {
                let (_, kept) = frames_of(&one).await?;
                let all = kept.layout.frames(&kept.geometry);
                // PS3.18 10.4.1.1.6: all frames, each a part.
                let list = (1..=all.min(Frames::MOST as u32)).collect::<Vec<_>>();
                let frames = Frames::of(&list).ok_or(Error::Internal)?;
                return self.frames(head, one, place, (target, &frames)).await;
            }
            Value::Here(bytes) => (Body::full(bytes), OCTET_STREAM),
            Value::There(offset, length) => {
                let again = one.open().await?;
                let body = plain(again.body, &stored).await?;
                let width = width_at(&skimmed, path);
                let body = layout::swapped(body.slice(offset, length), width);
                (body, bulk_type(&skimmed, path))
            }
        };
        let plain_syntax = TransferSyntax::explicit_vr_little_endian();
        let given = if what == OCTET_STREAM {
            let as_stored = Stored {
                syntax: &plain_syntax,
                media_type: what,
                is_compressed: false,
            };
            acceptable.choose(as_stored, true, accept_bulk::Default::Single)?
        } else {
            Representation {
                is_multipart: false,
                media_type: what.to_owned(),
                is_as_stored: true,
            }
        };
        if !given.is_multipart {
            let content_type = given.media_type;
            return self.alone(head, Presented { content_type, body }, &location);
        }
        let parts = vec![Part {
            location: location.clone(),
            what: (),
        }];
        let open = |(): &()| std::future::ready(Err(body::Error::Abandoned));
        let content_type = with_syntax(OCTET_STREAM, &plain_syntax);
        let how = (boundary()?, OCTET_STREAM, content_type);
        let presented = parts::multipart(parts, body, open, how);
        let mut response = response(presented, Missing::Nothing, &location)?;
        self.keepable(&mut response, Missing::Nothing);
        Ok(response)
    }
}

impl One {
    pub(super) async fn open(&self) -> Result<Instance, Error> {
        let (listing, only) = (&self.job.listing, &self.job.only);
        if let Some(uid) = only {
            let (study, series) = (listing.study.clone(), listing.series.clone());
            let target = Target::Instance(study, series, uid.clone());
            if let Some(instance) = self.job.source.at_hand(&target).await {
                return Ok(instance);
            }
        }
        let mut plan = Plan::new(Arc::clone(&self.hop));
        plan.jobs.push(self.job.clone());
        let starting = self.retriever.start(plan, TransferSyntaxes::AsStored);
        let mut retrieval = starting.await?;
        let first = retrieval.instances.next().await?;
        Ok(first.ok_or(body::Error::Missing(1))?)
    }
}

/// An instance, and where its frames are.
pub(super) async fn frames_of(one: &One) -> Result<(Instance, Arc<KeptFrames>), Error> {
    let derived = one.retriever.cache().derived();
    let instance = one.open().await?;
    let digest = instance.digest();
    if let Some(kept) = digest.and_then(|digest| derived.frames(&digest)) {
        return Ok((instance, kept));
    }
    let skimmed = skim(instance.body, Extent::ToPixelData, false).await?;
    if skimmed.pixel_data().is_none() {
        return Err(object::Error::NoPixelData.into());
    }
    let geometry = object::geometry(&skimmed)?;
    let again = one.open().await?;
    let layout = skimmed.layout(&geometry, again.body).await?;
    let kept = Arc::new(KeptFrames { geometry, layout });
    if let Some(digest) = digest {
        derived.keep_frames(digest, Arc::clone(&kept));
    }
    Ok((one.open().await?, kept))
}

/// The frames of one instance.
pub(super) struct OneFrame {
    one: One,
    stored: TransferSyntax,
    kept: Arc<KeptFrames>,
}

impl OneFrame {
    pub(super) fn new(one: One, stored: TransferSyntax, kept: Arc<KeptFrames>) -> Self {
        Self { one, stored, kept }
    }

    fn is_compressed(&self) -> bool {
        matches!(self.kept.layout, Layout::Encapsulated(_))
    }

    /// What they are in when they are given as they are stored.
    fn syntax(&self) -> TransferSyntax {
        if self.is_compressed() {
            self.stored.clone()
        } else {
            TransferSyntax::explicit_vr_little_endian()
        }
    }

    /// The bytes of a frame, counted from 1.
    async fn stored(&self, instance: Instance, number: u32) -> Result<Body, Error> {
        let body = plain(instance.body, &self.stored).await?;
        let all = self.kept.layout.frames(&self.kept.geometry);
        match &self.kept.layout {
            _ if number == 0 || number > all => Err(object::Error::NoFrame(all).into()),
            Layout::Native(native) => Ok(layout::native_frame(body, *native, number)),
            Layout::Encapsulated(encapsulated) => {
                let span = encapsulated.spans.get(number as usize - 1);
                let span = *span.ok_or(object::Error::NoFrame(all))?;
                Ok(layout::compressed_frame(body, span))
            }
        }
    }

    /// All of a video, which is in one piece whatever the number of its frames.
    pub(super) async fn whole_video(&self) -> Result<Body, Error> {
        let instance = self.one.open().await?;
        self.stored(instance, 1).await
    }

    /// What a decoder makes of a frame.
    pub(super) async fn made(
        &self,
        decoders: &Pool,
        number: u32,
        wanted: Wanted,
    ) -> Result<Bytes, Error> {
        let geometry = &self.kept.geometry;
        geometry.check()?;
        let compressed = self
            .is_compressed()
            .then(|| self.stored.as_str().to_owned());
        if compressed
            .as_deref()
            .is_some_and(|syntax| !is_decodable(syntax))
        {
            return Err(crate::pixels::Error::NoDecoder.into());
        }
        let instance = self.one.open().await?;
        let mut body = self.stored(instance, number).await?;
        let mut frame = BytesMut::new();
        while let Some(chunk) = body.chunk().await? {
            if (frame.len() + chunk.len()) as u64 > MOST_BYTES {
                return Err(crate::pixels::Error::TooLarge.into());
            }
            frame.extend_from_slice(&chunk);
        }
        let task = Task {
            compressed,
            geometry: geometry.clone(),
            wanted,
        };
        Ok(decoders.make(&task, &frame).await?)
    }
}

/// The metadata of an instance, worked out unless they are kept.
pub(super) async fn described(
    derived: &Derived,
    instance: Instance,
) -> Result<Bytes, object::Error> {
    if let Some(kept) = instance
        .digest()
        .and_then(|digest| derived.metadata(&digest))
    {
        return Ok(kept);
    }
    let target = instance.identity.target();
    let digest = instance.digest();
    let with_digest = digest.is_none();
    let skimmed = skim(instance.body, Extent::Whole, with_digest).await?;
    let described = describe(&skimmed, &target)?;
    if let Some(digest) = digest.or(skimmed.sha256) {
        derived.keep_metadata(digest, described.clone());
    }
    Ok(described)
}

/// What is wrong with an instance in the middle of an answer.
pub(super) fn in_body(error: object::Error) -> body::Error {
    match error {
        object::Error::Body(error) => error,
        object::Error::Part10(_) | object::Error::DataSet(_) => {
            body::Error::Malformed("an instance cannot be read")
        }
        object::Error::TooLarge => body::Error::Malformed("a data set is too large"),
        object::Error::NoPixelData
        | object::Error::NoFrame(_)
        | object::Error::Pixels(_)
        | object::Error::NoValue => body::Error::Malformed("an instance has no such frame"),
    }
}

pub(super) fn broken_off(error: Error) -> body::Error {
    if let Error::BrokeOff(error) = error {
        return error;
    }
    if let Error::Instance(error) = error {
        return in_body(error);
    }
    tracing::info!(%error, "an instance cannot be opened again");
    body::Error::Disconnected
}

fn own_media_type(layout: &Layout, stored: &TransferSyntax) -> &'static str {
    match layout {
        Layout::Native(_) => OCTET_STREAM,
        Layout::Encapsulated(_) => media_type_of(stored),
    }
}

/// `includefield` and its plural, which PS3.18 has for metadata.
fn included(query: Option<&str>) -> Result<Option<Include>, Error> {
    let query = query.map(|query| query.replace("includefields=", "includefield="));
    let parsed = search(query.as_deref())?;
    let wanted = parsed.query.include;
    let is_all = wanted.is_empty() || wanted == Include::All;
    Ok((!is_all).then_some(wanted))
}

pub(super) fn written(form: MetadataForm, gzip: bool) -> Result<Form, Error> {
    Ok(match form {
        MetadataForm::Json => Form::Json { gzip },
        MetadataForm::Xml => Form::Xml(boundary()?),
    })
}

/// Whether the answer may be compressed (RFC 9110 12.5.3).
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    codings.any(|coding| {
        let mut pieces = coding.split(';').map(str::trim);
        let is_gzip = matches!(pieces.next(), Some("gzip" | "x-gzip" | "*"));
        is_gzip && !pieces.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

pub(super) fn encoded(response: &mut Response<Body>, gzip: bool) {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// The path of a value, without the `bulkdata/` before it.
fn value_path(path: &BulkdataPath) -> String {
    let path = path.to_string();
    path.split_once('/').map_or("", |(_, rest)| rest).to_owned()
}

fn extent_for(path: &str) -> Extent {
    // Pixel data are last but for what hardly anybody has.
    if path == PIXEL_DATA {
        Extent::ToPixelData
    } else {
        Extent::Whole
    }
}

/// Finds a value by the path that metadata give it.
fn value_at(skimmed: &Skimmed, path: &str) -> Result<Value, object::Error> {
    let mut pieces = path.split('/');
    let first = pieces.next().and_then(tag).ok_or(object::Error::NoValue)?;
    let rest: Vec<&str> = pieces.collect();
    if let Some(large) = skimmed.large(first).filter(|_| rest.is_empty()) {
        return Ok(match large.length {
            Some(length) => Value::There(large.offset, length),
            None => Value::Frames,
        });
    }
    let mut set = skimmed.data_set();
    let mut tag_now = first;
    let mut rest = rest.as_slice();
    while let [number, next, deeper @ ..] = rest {
        let number: usize = number
            .parse()
            .map_err(|_no_number| object::Error::NoValue)?;
        let index = number.checked_sub(1).ok_or(object::Error::NoValue)?;
        let item = set.items(tag_now).nth(index);
        set = item.ok_or(object::Error::NoValue)??;
        tag_now = tag(next).ok_or(object::Error::NoValue)?;
        rest = deeper;
    }
    if !rest.is_empty() {
        return Err(object::Error::NoValue);
    }
    let element = set.element(tag_now).ok_or(object::Error::NoValue)?;
    if element.is_sequence() || element.is_encapsulated() {
        return Err(object::Error::NoValue);
    }
    Ok(Value::Here(
        crate::dicom::json::little_endian(&element).into(),
    ))
}

fn tag(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(text, 16).ok()?;
    Some(Tag((number >> 16) as u16, (number & 0xFFFF) as u16))
}

/// How many bytes of a value of the top level have to change places to be little endian.
fn width_at(skimmed: &Skimmed, path: &str) -> usize {
    let large = tag(path).and_then(|tag| skimmed.large(tag));
    let Some(large) = large.filter(|_| skimmed.transfer_syntax.encoding() == Encoding::ExplicitBig)
    else {
        return 1;
    };
    if large.tag == layout::PIXEL_DATA {
        let geometry = object::geometry(skimmed);
        let bits = geometry.map_or(0, |geometry| geometry.bits_allocated);
        return layout::swapped_bytes(large, bits);
    }
    large.vr.map_or(1, width)
}

/// What an encapsulated document says that it is (PS3.3 C.24.2).
pub(super) fn document_type(skimmed: &Skimmed) -> &'static str {
    const MIME_TYPE: Tag = Tag(0x0042, 0x0012);
    let set = skimmed.data_set();
    let said = set.element(MIME_TYPE);
    match said.as_ref().and_then(|element| element.ascii()) {
        Some("application/pdf") => "application/pdf",
        Some("text/xml" | "application/xml") => "text/xml",
        Some(_) | None => OCTET_STREAM,
    }
}

fn bulk_type(skimmed: &Skimmed, path: &str) -> &'static str {
    const ENCAPSULATED_DOCUMENT: &str = "00420011";
    if path == ENCAPSULATED_DOCUMENT {
        document_type(skimmed)
    } else {
        OCTET_STREAM
    }
}
