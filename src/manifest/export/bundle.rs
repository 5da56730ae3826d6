//! Exports Bundles. Only what changes is written anew: everything else stays as it is, byte for
//! byte.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Export, identity};
use crate::dicom::Uid;

/// The members of a Bundle, or of any resource in it, that an export may change.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource<'a> {
    #[serde(rename = "resourceType")]
    kind: Option<String>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    identifier: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "any")]
    address: Option<&'a RawValue>,
    /// The element that accompanies the address (FHIR JSON, "primitive types").
    #[serde(borrow, rename = "_address", deserialize_with = "any")]
    address_element: Option<&'a RawValue>,
    #[serde(borrow, rename = "connectionType")]
    connection_type: Option<&'a RawValue>,
    #[serde(borrow, rename = "relatesTo")]
    relates_to: Option<&'a RawValue>,
    #[serde(borrow)]
    contained: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    entry: Option<Vec<Entry<'a>>>,
}

/// Any value, `null` too: a member must not be there twice.
fn any<'de: 'a, 'a, D>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error>
where
    D: Deserializer<'de>,
{
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Identifier {
    value: Option<String>,
}

/// Writes the document with the export's addresses and an identifier of its own.
pub(super) fn write(document: &[u8], export: &Export<'_>) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(document).ok()?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut edits = Edits::of(text);
    let root: &RawValue = serde_json::from_str(text).ok()?;
    let bundle: Resource<'_> = serde_json::from_str(root.get()).ok()?;
    let identity = identity(&bundle, export);
    if let Some(identity) = &identity {
        edits.identify(&bundle, identity)?;
    }
    let entries = bundle.entry.iter().flatten();
    let resources = entries.filter_map(|entry| entry.resource);
    for raw in std::iter::once(root).chain(resources) {
        let resource: Resource<'_> = serde_json::from_str(raw.get()).ok()?;
        if let (Some("Composition"), Some(identity)) = (resource.kind.as_deref(), &identity) {
            edits.relate(raw, &resource, identity)?;
        }
        for raw in std::iter::once(raw).chain(resource.contained.iter().flatten().copied()) {
            edits.lead_here(raw, export)?;
        }
    }
    edits.apply()
}

/// The old identifier of a Bundle and the new one.
struct Identity<'a> {
    original: &'a RawValue,
    /// The UID or other value of the original, without `urn:oid:`.
    name: String,
    /// The new UID.
    uid: String,
    /// The new identifier.
    identifier: String,
    is_r5: bool,
}

/// The new identity of a Bundle that has one: MADO gives it the SOP Instance UID of its twin. An
/// ImagingStudy without a Bundle has identifiers of the study, which stay.
fn identity<'a>(bundle: &Resource<'a>, export: &Export<'_>) -> Option<Identity<'a>> {
    let is_bundle = bundle.kind.as_deref() == Some("Bundle");
    let original = bundle.identifier.filter(|_| is_bundle)?;
    let value = value_of(original)?;
    let (prefix, name) = match value.strip_prefix("urn:oid:") {
        Some(name) => ("urn:oid:", name),
        None => ("", value.as_str()),
    };
    let uid = identity::uid(name, export.context);
    let identifier = if Uid::parse(name).is_ok() {
        let mut object: serde_json::Map<String, serde_json::Value> = parse(original)?;
        object.insert("value".into(), format!("{prefix}{uid}").into());
        serde_json::Value::from(object).to_string()
    } else {
        format!(r#"{{"system":"urn:ietf:rfc:3986","value":"urn:oid:{uid}"}}"#)
    };
    Some(Identity {
        original,
        name: name.to_owned(),
        uid,
        identifier,
        is_r5: export.is_r5,
    })
}

fn value_of(identifier: &RawValue) -> Option<String> {
    parse::<Identifier>(identifier)?.value
}

fn parse<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// Replacements of pieces of a text.
struct Edits<'a> {
    text: &'a str,
    list: Vec<Edit>,
}

/// A replacement of `length` bytes at `at`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Edit {
    at: usize,
    length: usize,
    replacement: String,
}

impl<'a> Edits<'a> {
    fn of(text: &'a str) -> Self {
        let list = Vec::new();
        Self { text, list }
    }

    /// Gives a Bundle its new identifier; and its id, if that is the old one.
    fn identify(&mut self, bundle: &Resource<'_>, identity: &Identity<'_>) -> Option<()> {
        self.replace(identity.original, identity.identifier.clone())?;
        match bundle.id {
            Some(id) if parse::<String>(id).as_ref() == Some(&identity.name) => {
                self.replace(id, format!("\"{}\"", identity.uid))
            }
            Some(_) | None => Some(()),
        }
    }

    /// Relates a Composition to the original of its Bundle. MADO: it has the identifier of the
    /// Bundle.
    fn relate(
        &mut self,
        raw: &RawValue,
        composition: &Resource<'_>,
        identity: &Identity<'_>,
    ) -> Option<()> {
        let is_shared = |own: &&RawValue| value_of(own) == value_of(identity.original);
        if let Some(own) = composition.identifier.filter(is_shared) {
            self.replace(own, identity.identifier.clone())?;
        }
        let original = identity.original.get();
        let relation = if identity.is_r5 {
            format!(r#"{{"type":"transforms","resourceReference":{{"identifier":{original}}}}}"#)
        } else {
            format!(r#"{{"code":"transforms","targetIdentifier":{original}}}"#)
        };
        match composition.relates_to {
            Some(list) if list.get().starts_with('[') => {
                let has_more =
                    list.get().len() > 2 && !list.get()[1..].trim_start().starts_with(']');
                let comma = if has_more { "," } else { "" };
                self.insert(list, format!("{relation}{comma}"))
            }
            Some(_) => Some(()),
            None => self.insert(raw, format!("\"relatesTo\":[{relation}],")),
        }
    }

    /// Gives an Endpoint the address here, if it serves images.
    fn lead_here(&mut self, raw: &RawValue, export: &Export<'_>) -> Option<()> {
        let read: Resource<'_> = serde_json::from_str(raw.get()).ok()?;
        let connection = read.connection_type.map(|kind| kind.get());
        let connection = connection.unwrap_or_default().to_ascii_lowercase();
        if read.kind.as_deref() != Some("Endpoint") || !connection.contains("wado") {
            return Some(());
        }
        let is_wado_uri = connection.contains("wado-uri") && !connection.contains("wado-rs");
        let address = if is_wado_uri {
            export.wado_uri
        } else {
            export.root
        };
        let address = serde_json::to_string(address).ok()?;
        match read.address {
            Some(old) => self.replace(old, address)?,
            None => self.insert(raw, format!("\"address\":{address},"))?,
        }
        match read.address_element {
            Some(element) => self.clear_absence(element),
            None => Some(()),
        }
    }

    /// Removes the reason why an address is absent, and with it the element if that says nothing
    /// else.
    fn clear_absence(&mut self, element: &RawValue) -> Option<()> {
        let Some(mut object) = parse::<serde_json::Map<String, serde_json::Value>>(element) else {
            return self.remove_member(element);
        };
        if let Some(serde_json::Value::Array(extensions)) = object.get_mut("extension") {
            extensions.retain(|extension| {
                let url = extension.get("url").and_then(serde_json::Value::as_str);
                !url.is_some_and(|url| url.ends_with("data-absent-reason"))
            });
            if extensions.is_empty() {
                object.remove("extension");
            }
        }
        match object.is_empty() {
            true => self.remove_member(element),
            false => self.replace(element, serde_json::Value::from(object).to_string()),
        }
    }

    /// Removes a member, given its value, with one comma beside it.
    fn remove_member(&mut self, value: &RawValue) -> Option<()> {
        let (before, after) = self.around(value)?;
        let key = before.trim_end().strip_suffix(':')?.trim_end();
        // The name of the member contains no quotation mark.
        let start = key.strip_suffix('"')?.rfind('"')?;
        let rest = before[..start].trim_end();
        let end = before.len() + value.get().len();
        let (from, to) = match rest.strip_suffix(',') {
            Some(rest) => (rest.len(), end),
            None => {
                let comma = after.len() - after.trim_start().strip_prefix(',')?.len();
                (start, end + comma)
            }
        };
        self.list.push(Edit {
            at: from,
            length: to - from,
            replacement: String::new(),
        });
        Some(())
    }

    fn replace(&mut self, value: &RawValue, replacement: String) -> Option<()> {
        let at = self.around(value)?.0.len();
        let length = value.get().len();
        self.list.push(Edit {
            at,
            length,
            replacement,
        });
        Some(())
    }

    /// Inserts at the beginning of an object or list.
    fn insert(&mut self, value: &RawValue, replacement: String) -> Option<()> {
        let at = self.around(value)?.0.len() + 1;
        self.list.push(Edit {
            at,
            length: 0,
            replacement,
        });
        Some(())
    }

    /// The text before and after a value in it.
    fn around(&self, value: &RawValue) -> Option<(&'a str, &'a str)> {
        let at = value.get().as_ptr().addr();
        let at = at.checked_sub(self.text.as_ptr().addr())?;
        Some((
            self.text.get(..at)?,
            self.text.get(at + value.get().len()..)?,
        ))
    }

    fn apply(mut self) -> Option<Vec<u8>> {
        self.list.sort();
        let added: usize = self.list.iter().map(|edit| edit.replacement.len()).sum();
        let mut out = String::with_capacity(self.text.len() + added);
        let mut from = 0;
        for edit in self.list {
            out.push_str(self.text.get(from..edit.at)?);
            out.push_str(&edit.replacement);
            from = edit.at + edit.length;
        }
        out.push_str(self.text.get(from..)?);
        Some(out.into_bytes())
    }
}
