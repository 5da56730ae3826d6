//! *Retrieve Metadata* (PS3.18 10.4.1.1.2): data sets without their large values, as JSON or XML.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Presented, xml};
use crate::body::{self, Body, Emitter};
use crate::budget::Share;
use crate::dicom::json::{self, Beside};
use crate::dicom::most_written;
use crate::dicom::part10::Identity;
use crate::instance::{Instance, Instances};
use crate::multipart::{Boundary, Joiner};
use crate::object::{self, Skimmed};
use crate::resource::Target;
use crate::search::Include;

/// `application/dicom+json`.
pub const DICOM_JSON: &str = "application/dicom+json";
/// `application/dicom+xml`.
pub const DICOM_XML: &str = "application/dicom+xml";

/// The placeholder for the DICOMweb root in cached metadata; each client has a root of its own. The
/// byte cannot occur in JSON.
const ROOT: char = '\0';

/// A description up to this length is written at once.
const SHORT: usize = 64 << 10;
/// The most bytes of the attribute that tells the transfer syntax.
const MOST_OF_SYNTAX: u64 = 128;
/// The most bytes of a link behind its prefix.
const MOST_OF_LINK: usize = 80;

/// The format of metadata.
#[derive(Debug)]
pub enum Format {
    /// A JSON array.
    Json {
        /// Whether it is compressed.
        gzip: bool,
    },
    /// A `multipart/related` of documents (PS3.19 A.1).
    Xml(Boundary),
}

/// How a client sees metadata.
#[derive(Debug)]
pub struct View {
    /// The DICOMweb root of its links.
    pub root: String,
    /// The attributes that it asks for; all by default.
    pub include: Option<Include>,
}

/// The metadata of an instance, with a placeholder for the DICOMweb root.
#[derive(Debug)]
pub struct Described {
    /// The JSON object.
    pub json: Bytes,
    /// The memory of the object.
    pub share: Share,
    /// Whether the instance could be read, rather than only named.
    pub is_read: bool,
}

/// Names an instance whose data set cannot be read: its UIDs, and that it is unavailable.
#[must_use]
pub fn named(identity: &Identity, share: Share) -> Described {
    let uid = |uid: &str| serde_json::json!({ "vr": "UI", "Value": [uid] });
    let json = serde_json::json!({
        "00080016": uid(identity.sop_class.as_str()),
        "00080018": uid(identity.sop_instance.as_str()),
        // Instance Availability.
        "00080056": { "vr": "CS", "Value": ["UNAVAILABLE"] },
        "0020000D": uid(identity.study.as_str()),
        "0020000E": uid(identity.series.as_str()),
    });
    Described {
        json: json.to_string().into(),
        share,
        is_read: false,
    }
}

/// Describes an instance. The memory of the description is reserved before it is written.
///
/// # Errors
/// Why its data set is malformed, or that the budget has no memory.
pub async fn describe(mut skimmed: Skimmed, target: &Target) -> Result<Described, object::Error> {
    let link = format!("{ROOT}/{}/bulkdata/", target.path());
    let linked = skimmed.linked();
    let of_links = (linked.len() * (link.len() + MOST_OF_LINK)) as u64;
    let most = most_written(&skimmed.data_set(), link.len())? + of_links + MOST_OF_SYNTAX;
    skimmed.make_room(most).await?;
    let mut out = String::with_capacity(usize::try_from(most).unwrap_or(0));
    let beside = Beside {
        linked: &linked,
        available: Some(skimmed.transfer_syntax.available()),
    };
    json::write(&skimmed.data_set(), beside, &link, &mut out)?;
    out.shrink_to_fit();
    let json = Bytes::from(out);
    let mut share = skimmed.into_share();
    share.shrink(json.len() as u64);
    Ok(Described {
        json,
        share,
        is_read: true,
    })
}

/// The pieces between placeholders of the root.
fn pieces(described: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = Some(described.clone());
    std::iter::from_fn(move || {
        let mut piece = rest.take()?;
        if let Some(at) = memchr::memchr(0, &piece) {
            rest = Some(piece.slice(at + 1..));
            piece.truncate(at);
        }
        Some(piece)
    })
}

/// An upper bound on the memory for a tree of values and its text.
#[must_use]
pub fn most_of_text(json: &[u8]) -> u64 {
    const VALUE: usize = 160;
    let values = memchr::memchr3_iter(b',', b':', b'[', json).count();
    let escaped = memchr::memchr3_iter(b'&', b'<', b'>', json).count();
    (json.len() * 4 + values * VALUE + escaped * 16) as u64
}

/// The metadata of one instance with links below `root`.
#[must_use]
pub fn rooted(described: &Bytes, root: &str) -> Bytes {
    if memchr::memchr(0, described).is_none() {
        return described.clone();
    }
    let mut out = Vec::with_capacity(described.len() + 256);
    let mut copied = 0;
    for at in memchr::memchr_iter(0, described) {
        out.extend_from_slice(&described[copied..at]);
        out.extend_from_slice(root.as_bytes());
        copied = at + 1;
    }
    out.extend_from_slice(&described[copied..]);
    out.into()
}

/// The metadata of all instances, each sent as soon as `described` returns it, behind those that
/// are described already.
pub fn metadata<D, F>(
    first: Vec<Described>,
    mut instances: Instances,
    described: D,
    format: Format,
    view: View,
) -> Presented
where
    D: Fn(Instance) -> F + Send + 'static,
    F: Future<Output = Result<Described, body::Error>> + Send,
{
    let (mut writer, content_type) = Writer::new(format);
    let View { root, include } = view;
    let body = Body::generate(None, |out| async move {
        let mut first = first.into_iter();
        loop {
            let next = match first.next() {
                Some(first) => Some(first),
                None => match instances.next().await? {
                    Some(instance) => Some(described(instance).await?),
                    None => None,
                },
            };
            let Some(mut next) = next else { break };
            if let Some(include) = &include {
                let length = next.json.len() as u64;
                next.share.grow(length * 3).await?;
                next.json = only(&rooted(&next.json, &root), include)?;
            }
            writer.give(next, &root, &out).await?;
        }
        out.emit(writer.finish()?).await
    });
    Presented { content_type, body }
}

/// The rows that match a search.
pub fn rows(format: Format, rows: impl Iterator<Item = Bytes> + Send + 'static) -> Presented {
    const ROWS_AT_ONCE: usize = 64;
    let (mut writer, content_type) = Writer::new(format);
    let mut rows = rows;
    let body = Body::generate(None, |out| async move {
        loop {
            let mut bytes = Vec::new();
            for row in rows.by_ref().take(ROWS_AT_ONCE) {
                bytes.extend_from_slice(&writer.write(&row)?);
            }
            if bytes.is_empty() {
                break;
            }
            out.emit(bytes.into()).await?;
        }
        out.emit(writer.finish()?).await
    });
    Presented { content_type, body }
}

/// Limits metadata to the attributes of `include` and those that identify the instance.
fn only(json: &Bytes, include: &Include) -> Result<Bytes, body::Error> {
    const IDENTIFYING: [&str; 6] = [
        "00080005", "00080016", "00080018", "00080056", "0020000D", "0020000E",
    ];
    let mut attributes: BTreeMap<&str, &RawValue> =
        serde_json::from_slice(json).map_err(|_ours| NOT_JSON)?;
    attributes.retain(|tag, _| include.has(tag) || IDENTIFYING.contains(tag));
    let json = serde_json::to_vec(&attributes).map_err(|_ours| NOT_JSON)?;
    Ok(json.into())
}

const NOT_JSON: body::Error = body::Error::Malformed("the metadata are not JSON");

/// Writes descriptions one after the other.
enum Writer {
    Json {
        has_some: bool,
    },
    Gzip {
        has_some: bool,
        encoder: Option<GzEncoder<Vec<u8>>>,
    },
    Xml(Option<Joiner>),
}

impl Writer {
    fn new(format: Format) -> (Self, String) {
        match format {
            Format::Json { gzip: false } => (Self::Json { has_some: false }, DICOM_JSON.to_owned()),
            Format::Json { gzip: true } => {
                let encoder = GzEncoder::new(Vec::new(), Compression::fast());
                let writer = Self::Gzip {
                    has_some: false,
                    encoder: Some(encoder),
                };
                (writer, DICOM_JSON.to_owned())
            }
            Format::Xml(boundary) => {
                let joiner = Joiner::new(boundary);
                let content_type = joiner.content_type(DICOM_XML);
                (Self::Xml(Some(joiner)), content_type)
            }
        }
    }

    fn write(&mut self, json: &Bytes) -> Result<Bytes, body::Error> {
        match self {
            Self::Json { has_some } => {
                let mut out = Vec::with_capacity(json.len() + 2);
                out.push(if std::mem::replace(has_some, true) {
                    b','
                } else {
                    b'['
                });
                out.extend_from_slice(json);
                Ok(out.into())
            }
            Self::Gzip { has_some, encoder } => {
                let encoder = encoder.as_mut().ok_or(body::Error::Abandoned)?;
                let is_first = !std::mem::replace(has_some, true);
                let before: &[u8] = if is_first { b"[" } else { b"," };
                let written = encoder
                    .write_all(before)
                    .and_then(|()| encoder.write_all(json));
                // The first description is flushed, so that a viewer can start with it.
                let flushed = if is_first { encoder.flush() } else { Ok(()) };
                written
                    .and(flushed)
                    .map_err(|_in_memory| body::Error::Abandoned)?;
                Ok(std::mem::take(encoder.get_mut()).into())
            }
            Self::Xml(joiner) => {
                let joiner = joiner.as_mut().ok_or(body::Error::Abandoned)?;
                let value: Value = serde_json::from_slice(json).map_err(|_ours| NOT_JSON)?;
                let mut out = joiner.part(&[("Content-Type", DICOM_XML)]).to_vec();
                out.extend_from_slice(xml::document(&value).as_bytes());
                Ok(out.into())
            }
        }
    }

    /// Sends a description with links below `root`, in pieces if it is long.
    async fn give(
        &mut self,
        described: Described,
        root: &str,
        out: &Emitter,
    ) -> Result<(), body::Error> {
        let Described {
            json, mut share, ..
        } = described;
        match self {
            Self::Json { has_some } if json.len() > SHORT => {
                let is_first = !std::mem::replace(has_some, true);
                out.emit(Bytes::from_static(if is_first { b"[" } else { b"," }))
                    .await?;
                let root = Bytes::copy_from_slice(root.as_bytes());
                for (index, piece) in pieces(&share.hold(json)).enumerate() {
                    if index > 0 {
                        out.emit(root.clone()).await?;
                    }
                    Body::full(piece).give(out).await?;
                }
                return Ok(());
            }
            Self::Gzip { .. } if json.len() > SHORT => {
                let root = Bytes::copy_from_slice(root.as_bytes());
                let pieces = pieces(&json).enumerate().flat_map(|(index, piece)| {
                    let before = if index > 0 {
                        root.clone()
                    } else {
                        Bytes::new()
                    };
                    [before, piece]
                });
                return self.compress(pieces, out).await;
            }
            Self::Json { .. } | Self::Gzip { .. } => {}
            Self::Xml(_) => share.grow(most_of_text(&json)).await?,
        }
        let written = self.write(&rooted(&json, root))?;
        drop(json);
        Body::full(share.hold(written)).give(out).await
    }

    async fn compress(
        &mut self,
        pieces: impl Iterator<Item = Bytes>,
        out: &Emitter,
    ) -> Result<(), body::Error> {
        let before = self.write(&Bytes::new())?;
        out.emit(before).await?;
        let Self::Gzip { encoder, .. } = self else {
            return Ok(());
        };
        let encoder = encoder.as_mut().ok_or(body::Error::Abandoned)?;
        for piece in pieces {
            for part in piece.chunks(SHORT) {
                encoder
                    .write_all(part)
                    .map_err(|_in_memory| body::Error::Abandoned)?;
                if encoder.get_ref().len() >= SHORT {
                    out.emit(std::mem::take(encoder.get_mut()).into()).await?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Bytes, body::Error> {
        match self {
            Self::Json { has_some: true } => Ok(Bytes::from_static(b"]")),
            Self::Json { has_some: false } => Ok(Bytes::from_static(b"[]")),
            Self::Gzip { has_some, encoder } => {
                let mut encoder = encoder.ok_or(body::Error::Abandoned)?;
                let end: &[u8] = if has_some { b"]" } else { b"[]" };
                let ended = encoder.write_all(end).and_then(|()| encoder.finish());
                ended
                    .map(Bytes::from)
                    .map_err(|_in_memory| body::Error::Abandoned)
            }
            Self::Xml(joiner) => Ok(joiner.ok_or(body::Error::Abandoned)?.close()),
        }
    }
}
