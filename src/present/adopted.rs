//! Adopts the metadata that a source wrote: every link in them becomes a link to the gateway.
//!
//! A source's link to bulk data may be relative, below another path, signed, or on another host.
//! The gateway does not follow it: its own link leads to the same value in the instance.

use std::mem;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::forwarded::Unsuitable;
use crate::dicom::{SopInstanceUid, is_address, tag};
use crate::resource::Target;
use crate::rewrite::is_of_host;

const SOP_INSTANCE_UID: &str = "00080018";
const RETRIEVE_URL: &str = "00081190";
const STUDY_INSTANCE_UID: &str = "0020000D";
const SERIES_INSTANCE_UID: &str = "0020000E";

/// Reads an array in the DICOM JSON model while it arrives, and keeps its instances that `target_of`
/// identifies by the UIDs of their series and of themselves, with links below the DICOMweb root.
pub struct Adopter<'a> {
    root: &'a str,
    target_of: TargetOf<'a>,
    elements: Elements,
    adopted: Vec<Adopted>,
    /// Bytes of what is kept.
    size: usize,
}

/// An instance as the gateway describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its SOP Instance UID.
    pub uid: SopInstanceUid,
    /// The JSON object.
    pub json: Bytes,
}

/// The target with these UIDs of a series and an instance, if it is wanted.
pub type TargetOf<'a> = &'a (dyn Fn(&str, &str) -> Option<Target> + Sync);

impl<'a> Adopter<'a> {
    /// A reader of metadata, with links below `root`.
    #[must_use]
    pub fn new(root: &'a str, target_of: TargetOf<'a>) -> Self {
        Self {
            root,
            target_of,
            elements: Elements::default(),
            adopted: Vec::new(),
            size: 0,
        }
    }

    /// Reads the next bytes.
    ///
    /// # Errors
    /// [`Unsuitable`] if they continue no such array, or an instance names another study or series.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Unsuitable> {
        let mut elements = mem::take(&mut self.elements);
        let pushed = elements.push(chunk, &mut |element| self.adopt(element));
        self.elements = elements;
        pushed
    }

    /// The bytes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size + self.elements.begun.len()
    }

    /// The instances, once all bytes are read.
    ///
    /// # Errors
    /// [`Unsuitable`] if the array has not ended.
    pub fn finish(self) -> Result<Vec<Adopted>, Unsuitable> {
        if self.elements.place == Place::End {
            Ok(self.adopted)
        } else {
            Err(Unsuitable)
        }
    }

    fn adopt(&mut self, element: &[u8]) -> Result<(), Unsuitable> {
        let read = serde_json::from_slice(element);
        let mut instance: Map<String, Value> = read.map_err(|_no_json| Unsuitable)?;
        let series = text(&instance, SERIES_INSTANCE_UID).unwrap_or_default();
        let uid = text(&instance, SOP_INSTANCE_UID).unwrap_or_default();
        let Some(target) = (self.target_of)(series, uid) else {
            return Ok(());
        };
        let Target::Instance(study, series, uid) = &target else {
            return Ok(());
        };
        if text(&instance, STUDY_INSTANCE_UID) != Some(study.as_str())
            || text(&instance, SERIES_INSTANCE_UID) != Some(series.as_str())
        {
            return Err(Unsuitable);
        }
        let own = format!("{}/{}", self.root, target.path());
        relink(&mut instance, &format!("{own}/bulkdata/"));
        if let Some(attribute) = instance.get_mut(RETRIEVE_URL) {
            *attribute = serde_json::json!({ "vr": "UR", "Value": [own] });
        }
        let json = Bytes::from(Value::Object(instance).to_string());
        self.size += json.len();
        self.adopted.push(Adopted {
            uid: uid.clone(),
            json,
        });
        Ok(())
    }
}

/// Splits an array of objects while it arrives.
#[derive(Debug, Default)]
struct Elements {
    place: Place,
    nesting: Nesting,
    /// The beginning of the current object, in earlier chunks.
    begun: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Before the array.
    #[default]
    Start,
    /// Before the first object.
    First,
    /// In an object.
    Inside,
    /// Behind an object.
    Behind,
    /// Behind a comma.
    Next,
    /// Behind the array.
    End,
}

impl Elements {
    fn push(
        &mut self,
        chunk: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Unsuitable>,
    ) -> Result<(), Unsuitable> {
        let mut begin = 0;
        for (at, &byte) in chunk.iter().enumerate() {
            self.place = match (self.place, byte) {
                (Place::Inside, _) => {
                    if self.nesting.goes_on_after(byte) {
                        continue;
                    }
                    self.begun.extend_from_slice(&chunk[begin..=at]);
                    take(&self.begun)?;
                    self.begun.clear();
                    Place::Behind
                }
                (_, b' ' | b'\t' | b'\r' | b'\n') => continue,
                (Place::Start, b'[') => Place::First,
                (Place::First | Place::Next, b'{') => {
                    begin = at;
                    self.nesting = Nesting::default();
                    Place::Inside
                }
                (Place::First | Place::Behind, b']') => Place::End,
                (Place::Behind, b',') => Place::Next,
                _ => return Err(Unsuitable),
            };
        }
        if self.place == Place::Inside {
            self.begun.extend_from_slice(&chunk[begin..]);
        }
        Ok(())
    }
}

/// How deep a byte of an object is in it.
#[derive(Debug, Default)]
struct Nesting {
    /// Objects and arrays inside it.
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl Nesting {
    /// Whether the object goes on after this byte. Whether its brackets match is seen when it is
    /// read.
    fn goes_on_after(&mut self, byte: u8) -> bool {
        match (self.is_in_text, byte) {
            (true, _) if self.is_escaped => self.is_escaped = false,
            (true, b'\\') => self.is_escaped = true,
            (_, b'"') => self.is_in_text = !self.is_in_text,
            (false, b'{' | b'[') => self.depth += 1,
            (false, b'}' | b']') => match self.depth.checked_sub(1) {
                Some(depth) => self.depth = depth,
                None => return false,
            },
            _ => {}
        }
        true
    }
}

fn text<'a>(instance: &'a Map<String, Value>, tag: &str) -> Option<&'a str> {
    instance.get(tag)?.get("Value")?.get(0)?.as_str()
}

/// Links to bulk data become links to the same values in the instance; other addresses are removed.
fn relink(attributes: &mut Map<String, Value>, link: &str) {
    // Whatever else stands there is nothing that PS3.18 F.2 knows, and may be an address.
    attributes.retain(|name, attribute| tag(name).is_some() && attribute.is_object());
    for (tag, attribute) in attributes.iter_mut() {
        let Some(attribute) = attribute.as_object_mut() else {
            continue;
        };
        // PS3.18 F.2.2: a value in fragments, some of which may be links.
        let is_fragmented = attribute.remove("DataFragment").is_some();
        if is_fragmented || attribute.contains_key("BulkDataURI") {
            attribute.insert("BulkDataURI".into(), format!("{link}{tag}").into());
        }
        attribute.retain(|name, _| MEMBERS.contains(&name.as_str()));
        if is_foreign_address(tag, attribute) {
            attribute.remove("Value");
        }
        if attribute.get("vr").and_then(Value::as_str) == Some("PN") {
            continue;
        }
        let Some(items) = attribute.get_mut("Value").and_then(Value::as_array_mut) else {
            continue;
        };
        for (number, item) in (1..).zip(items) {
            let Some(item) = item.as_object_mut() else {
                continue;
            };
            relink(item, &format!("{link}{tag}/{number}/"));
        }
    }
}

/// The members of an attribute that are adopted.
const MEMBERS: [&str; 4] = ["vr", "Value", "InlineBinary", "BulkDataURI"];

/// Whether an attribute is an address that only its source knows. Where the dictionary does not
/// tell, the representation does, and without one, what stands there.
fn is_foreign_address(name: &str, attribute: &Map<String, Value>) -> bool {
    let known = tag(name).and_then(is_address);
    known.unwrap_or_else(|| match attribute.get("vr").and_then(Value::as_str) {
        Some(vr) => vr == "UR",
        None => {
            let values = attribute.get("Value").and_then(Value::as_array);
            let mut texts = values.into_iter().flatten().filter_map(Value::as_str);
            texts.any(is_of_host)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The instances in a document that arrives in pieces of each size.
    fn adopted(
        document: &[u8],
        root: &str,
        target_of: impl Fn(&str, &str) -> Option<Target> + Sync,
    ) -> Result<Vec<Adopted>, Unsuitable> {
        let read = |size: usize| {
            let mut adopter = Adopter::new(root, &target_of);
            document
                .chunks(size)
                .try_for_each(|piece| adopter.push(piece))?;
            adopter.finish()
        };
        let whole = read(document.len().max(1));
        for size in [1, 2, 7, 64] {
            assert_eq!(read(size), whole, "{size}");
        }
        whole
    }

    fn target(_series: &str, uid: &str) -> Option<Target> {
        use crate::dicom::{SeriesInstanceUid, StudyInstanceUid};
        Some(Target::Instance(
            StudyInstanceUid::parse("1.2").ok()?,
            SeriesInstanceUid::parse("1.3").ok()?,
            SopInstanceUid::parse(uid).ok()?,
        ))
    }

    fn instance(uid: &str) -> Value {
        json!({
            "00080018": { "vr": "UI", "Value": [uid] },
            "0020000D": { "vr": "UI", "Value": ["1.2"] },
            "0020000E": { "vr": "UI", "Value": ["1.3"] },
        })
    }

    /// The attributes of PS3.6 and PS3.18 that hold addresses, and how they are written.
    #[test]
    fn no_address_of_a_source_is_left_wherever_it_stands() {
        let address = "http://inner.example/x";
        for tag in [
            "00081190", // Retrieve URL
            "0040E010", // Retrieve URI
            "00287FE0", // Pixel Data Provider URL
            "0074100A", // Contact URI
            "00091001", // private
            "00081FFE", // of a later edition
        ] {
            let attribute = json!({ "vr": "UR", "Value": [address] });
            assert_hidden(tag, &attribute, address);
        }
        for attribute in [
            json!({ "vr": "OB", "BulkDataURI": address }),
            json!({ "vr": "OB", "DataFragment": [{}, { "BulkDataURI": address }] }),
            json!({ "vr": "OB", "DataFragment": [null, { "BulkDataURI": address, "BulkDataLength": 3 }] }),
            // Forms that the standard does not know.
            json!({ "vr": "OB", "BulkDataURI": { "x": address } }),
            json!({ "vr": "OB", "BulkDataURI": "b", "See": address }),
            json!({ "vr": "OB", "BulkDataURI": "b", "Value": [{ "BulkDataURI": address }] }),
        ] {
            assert_hidden("7FE00010", &attribute, address);
        }
        let scheme = json!({ "vr": "UR", "Value": ["http://loinc.org"] });
        let mut one = instance("1.4");
        one["00080110"] = json!({ "vr": "SQ", "Value": [{ "0008010E": scheme.clone() }] });
        let adopted = adopted(json!([one]).to_string().as_bytes(), "r", target).expect("metadata");
        let text = String::from_utf8_lossy(&adopted[0].json).into_owned();
        assert!(text.contains("http://loinc.org"), "a public address stays");
    }

    fn assert_hidden(tag: &str, attribute: &Value, address: &str) {
        let mut one = instance("1.4");
        one[tag] = attribute.clone();
        one["00081140"] = json!({ "vr": "SQ", "Value": [{ tag: attribute.clone(), "00400275": {
            "vr": "SQ", "Value": [{ tag: attribute.clone() }] } }] });
        let document = json!([one]).to_string();
        let adopted = adopted(document.as_bytes(), "https://ours/p", target).expect("metadata");
        let text = String::from_utf8_lossy(&adopted[0].json).into_owned();
        assert!(!text.contains(address), "{tag}: {text}");
        if attribute["vr"] == "OB" {
            let link = format!("/bulkdata/00081140/1/00400275/1/{tag}");
            assert!(text.contains(&link), "{text}");
        }
    }

    #[test]
    fn every_link_becomes_ours_whatever_it_was() {
        let mut one = instance("1.4");
        one["00081190"] = json!({ "vr": "UR", "Value": ["http://inner/rs/x"] });
        one["00091010"] = json!({ "vr": "OB", "BulkDataURI": "https://s3.example/x?Signature=y" });
        one["7FE00010"] = json!({ "vr": "OW", "BulkDataURI": "../../../bulk/7" });
        one["00400275"] = json!({ "vr": "SQ", "Value": [
            {},
            { "00400260": { "vr": "SQ", "Value": [
                { "00091011": { "vr": "OB", "BulkDataURI": "file:///etc/passwd" } },
            ] } },
            { "00081190": { "vr": "UR", "Value": ["http://inner/rs/y"] } },
        ] });
        let document = json!([one, instance("1.5")]).to_string();
        let listed =
            |series: &str, uid: &str| (uid == "1.4").then(|| target(series, uid)).flatten();
        let adopted = adopted(document.as_bytes(), "https://ours/p", listed).expect("metadata");
        assert_eq!(adopted.len(), 1, "only what is known here");
        let given: Value = serde_json::from_slice(&adopted[0].json).expect("JSON");
        let own = "https://ours/p/studies/1.2/series/1.3/instances/1.4";
        assert_eq!(given["00081190"]["Value"][0], own);
        assert_eq!(
            given["00091010"]["BulkDataURI"],
            format!("{own}/bulkdata/00091010")
        );
        assert_eq!(
            given["7FE00010"]["BulkDataURI"],
            format!("{own}/bulkdata/7FE00010")
        );
        let nested = &given["00400275"]["Value"][1]["00400260"]["Value"][0]["00091011"];
        let path = "/bulkdata/00400275/2/00400260/1/00091011";
        assert_eq!(nested["BulkDataURI"], format!("{own}{path}"));
        for secret in ["inner", "s3.example", "passwd"] {
            assert!(!given.to_string().contains(secret), "{given:#}");
        }
    }

    #[test]
    fn what_is_something_else_is_not_taken() {
        let mut other = instance("1.4");
        other["0020000E"]["Value"][0] = "1.9".into();
        for document in [
            json!([other]).to_string(),
            "{}".into(),
            "[".into(),
            "[1]".into(),
            "[] []".into(),
            "[{}".into(),
            "[{},]".into(),
            "[,{}]".into(),
            "[{} {}]".into(),
            "[{]}]".into(),
            r#"[{"a":"}"]"#.into(),
            "".into(),
        ] {
            assert_eq!(
                adopted(document.as_bytes(), "", target),
                Err(Unsuitable),
                "{document}"
            );
        }
        for nothing in ["[]", " [ ] ", r#"[{ "a": "}]\\\"", "b": [{}] } , {}]"#] {
            let none = adopted(nothing.as_bytes(), "", |_, uid| {
                target("", uid).filter(|_| !uid.is_empty())
            });
            assert_eq!(none, Ok(Vec::new()), "{nothing}");
        }
    }
}
