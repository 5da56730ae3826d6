//! Forwards responses of a source: checks their media type, writes their head anew, and rewrites
//! their links to lead to the gateway.

use bytes::Bytes;

use super::Presented;
use crate::body::{self, Body, Emitter};
use crate::dicom::MediaType;
use crate::multipart::{Boundary, Event, Joiner, Limits, PartHead, Splitter};
use crate::rewrite::{JsonLinks, Links, NotJson};

/// Media types of single payloads that are forwarded, beside images, videos and audio.
const SINGLE: &[&str] = &[
    "application/octet-stream",
    "application/pdf",
    "text/html",
    "text/plain",
    "text/rtf",
    "text/xml",
];
/// Links are rewritten in pieces of this size: the output of many short links exceeds the input.
const PIECE: usize = 16 << 10;
const JSON: &[&str] = &["application/dicom+json", "application/json"];

/// The response cannot be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response has a type or content that cannot be forwarded")]
pub struct Unsuitable;

/// Forwards metadata in DICOM JSON (PS3.18 Annex F).
///
/// # Errors
/// [`Unsuitable`] if the media type differs.
pub fn metadata(
    media_type: &MediaType,
    mut body: Body,
    links: Links,
) -> Result<Presented, Unsuitable> {
    if !JSON.contains(&media_type.essence()) {
        return Err(Unsuitable);
    }
    let body = Body::generate(None, |out| async move {
        let mut links = JsonLinks::new(links);
        while let Some(chunk) = body.chunk().await? {
            for piece in chunk.chunks(PIECE) {
                out.emit(links.push(piece).map_err(broken)?).await?;
            }
        }
        links.finish().map_err(broken)
    });
    Ok(Presented {
        content_type: "application/dicom+json".to_owned(),
        body,
    })
}

/// Forwards frames, bulk data or rendered images: a `multipart/related`, or a single payload.
///
/// # Errors
/// [`Unsuitable`] if the media type differs.
pub fn payload(
    media_type: &MediaType,
    body: Body,
    boundary: Boundary,
    links: Links,
) -> Result<Presented, Unsuitable> {
    if media_type.essence() == "multipart/related" {
        return multipart(media_type, body, boundary, links);
    }
    let kind = media_type.essence().split('/').next();
    let is_picture = matches!(kind, Some("image" | "video" | "audio"));
    if !is_picture && !SINGLE.contains(&media_type.essence()) {
        return Err(Unsuitable);
    }
    Ok(Presented {
        content_type: media_type.to_string(),
        body,
    })
}

/// As [`payload`], for a source that nobody vouches for: it must begin to send something of an
/// expected media type.
///
/// # Errors
/// [`Unsuitable`] otherwise.
pub async fn expected(
    media_type: &MediaType,
    mut body: Body,
    boundary: Boundary,
    links: Links,
    is_expected: &(dyn Fn(Wrapping, &MediaType) -> bool + Sync),
) -> Result<Presented, Unsuitable> {
    if media_type.essence() == "multipart/related" {
        let mut splitter = splitter(media_type)?;
        let head = first_part(&mut splitter, &mut body).await?;
        let of_part = head.content_type().and_then(MediaType::parse);
        if !of_part.is_some_and(|of_part| is_expected(Wrapping::Part, &of_part)) {
            return Err(Unsuitable);
        }
        let parts = Parts { splitter, body };
        return Ok(joined(media_type, parts, Some(head), boundary, links));
    }
    if !is_expected(Wrapping::Alone, media_type) {
        return Err(Unsuitable);
    }
    let length = body.length();
    let first = body.chunk().await.ok().flatten().ok_or(Unsuitable)?;
    let body = Body::generate(length, |out| async move {
        out.emit(first).await?;
        while let Some(chunk) = body.chunk().await? {
            out.emit(chunk).await?;
        }
        Ok(())
    });
    Ok(Presented {
        content_type: media_type.to_string(),
        body,
    })
}

/// Whether a payload is a part or the whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// A part of a `multipart/related`.
    Part,
    /// The body.
    Alone,
}

/// The parts of a body.
struct Parts {
    splitter: Splitter,
    body: Body,
}

fn splitter(media_type: &MediaType) -> Result<Splitter, Unsuitable> {
    let theirs = media_type.parameter("boundary").ok_or(Unsuitable)?;
    let theirs = Boundary::parse(theirs).map_err(|_invalid| Unsuitable)?;
    Ok(Splitter::new(&theirs, Limits::default()))
}

/// Reads the head of the first part.
async fn first_part(splitter: &mut Splitter, body: &mut Body) -> Result<PartHead, Unsuitable> {
    loop {
        match splitter.next().map_err(|_malformed| Unsuitable)? {
            Some(Event::Part(head)) => return Ok(head),
            Some(Event::Data(_) | Event::PartEnd) => {}
            None if splitter.is_closed() => return Err(Unsuitable),
            None => {
                let chunk = body.chunk().await.ok().flatten();
                splitter.push(chunk.ok_or(Unsuitable)?);
            }
        }
    }
}

fn multipart(
    media_type: &MediaType,
    body: Body,
    boundary: Boundary,
    links: Links,
) -> Result<Presented, Unsuitable> {
    let splitter = splitter(media_type)?;
    let parts = Parts { splitter, body };
    Ok(joined(media_type, parts, None, boundary, links))
}

fn joined(
    media_type: &MediaType,
    parts: Parts,
    first: Option<PartHead>,
    boundary: Boundary,
    links: Links,
) -> Presented {
    let part_type = media_type.part_type();
    let joiner = Joiner::new(boundary);
    Presented {
        content_type: joiner
            .content_type(part_type.as_deref().unwrap_or("application/octet-stream")),
        body: Body::generate(None, |out| join(parts, first, joiner, links, out)),
    }
}

async fn join(
    parts: Parts,
    first: Option<PartHead>,
    mut joiner: Joiner,
    links: Links,
    out: Emitter,
) -> Result<(), body::Error> {
    let Parts {
        mut splitter,
        mut body,
    } = parts;
    if let Some(head) = first {
        out.emit(part(&mut joiner, &head, &links)).await?;
    }
    loop {
        match splitter.next()? {
            Some(Event::Part(head)) => out.emit(part(&mut joiner, &head, &links)).await?,
            Some(Event::Data(bytes)) => out.emit(bytes).await?,
            Some(Event::PartEnd) => {}
            None if splitter.is_closed() => break,
            None => match body.chunk().await? {
                Some(chunk) => splitter.push(chunk),
                None => break splitter.finish()?,
            },
        }
    }
    out.emit(joiner.close()).await
}

/// Keeps the media type of a part, and its location if that leads to the gateway.
fn part(joiner: &mut Joiner, head: &PartHead, links: &Links) -> Bytes {
    let media_type = head.content_type().and_then(MediaType::parse);
    let content_type = media_type.map(|media_type| media_type.to_string());
    let location = head.content_location().and_then(|link| links.rewrite(link));
    let fields: Vec<_> = [
        ("Content-Type", content_type),
        ("Content-Location", location),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    joiner.part(&fields)
}

fn broken(_not_json: NotJson) -> body::Error {
    body::Error::Malformed("the metadata are not DICOM JSON")
}
