//! Endpoints: their purpose, and their address unless it is a placeholder.

use serde::Deserialize;

use super::concept::{Concept, Extension, Identifier, find};
use super::member::{List, Member, objects};
use crate::ihe::RetrieveLocationUid;

const RETRIEVE_LOCATION_UID: &[&str] = &["retrievelocationuid", "locationuid"];

const DATA_ABSENT_REASON: &[&str] = &["dataabsentreason"];

// Hosts of placeholder addresses.
const PLACEHOLDERS: [&str; 3] = ["notspecified", "notapplicable", "doesnotexist"];

/// The limit for the bytes of an address: each series of a study copies it.
const LONGEST_ADDRESS: usize = 2048;

/// The members of an Endpoint, R4 or R5.
#[derive(Debug, Default)]
pub(super) struct EndpointMembers {
    pub(super) identifier: List<Identifier>,
    pub(super) extension: List<Extension>,
    pub(super) connection_type: List<Concept>,
    pub(super) payload: List<Payload>,
    pub(super) payload_mime_type: List<Box<str>>,
    pub(super) address: Member<Box<str>>,
    pub(super) address_element: Member<Element>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Endpoint {
    pub(super) identifiers: Vec<Identifier>,
    pub(super) purpose: Purpose,
    /// Absent if it is a placeholder.
    pub(super) address: Member<Box<str>>,
    pub(super) retrieve_location_uid: Member<RetrieveLocationUid>,
    /// Whether it has the form of R5; unknown without a connection type and a payload.
    pub(super) is_r5: Option<bool>,
}

/// The purpose of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Retrieve,
    /// A web viewer of the study, to be opened as it is.
    Viewer,
    /// The base of a web viewer, which needs the parameters of IHE IID.
    InvokeImageDisplay,
    Other,
}

/// The media types behind an endpoint (R5).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Payload {
    pub(super) mime_type: List<Box<str>>,
}

/// The Element that accompanies a primitive value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Element {
    pub(super) extension: List<Extension>,
}

objects!(Payload, Element);

impl From<EndpointMembers> for Endpoint {
    fn from(members: EndpointMembers) -> Self {
        let is_known =
            members.connection_type.is_array || !members.connection_type.items.is_empty();
        let has_payload = members.payload.is_array || !members.payload.items.is_empty();
        Self {
            purpose: Purpose::of(&members),
            retrieve_location_uid: retrieve_location_uid(&members.extension),
            address: address(members.address, members.address_element.as_ref()),
            is_r5: (is_known || has_payload)
                .then_some(members.connection_type.is_array || has_payload),
            identifiers: members.identifier.items,
        }
    }
}

impl Purpose {
    fn of(members: &EndpointMembers) -> Self {
        let codes = || {
            members
                .connection_type
                .items
                .iter()
                .filter_map(|c| c.code.as_deref())
        };
        let mut mime_types = members
            .payload_mime_type
            .items
            .iter()
            .chain(
                members
                    .payload
                    .items
                    .iter()
                    .flat_map(|payload| &payload.mime_type.items),
            )
            .peekable();
        if codes().any(|code| code.to_ascii_lowercase().contains("wado")) {
            Self::Retrieve
        } else if codes().any(|code| code == "web-viewer") {
            Self::Viewer
        } else if codes().any(|code| matches!(code, "ihe-iid" | "dicom-iid")) {
            Self::InvokeImageDisplay
        } else if mime_types.peek().is_some()
            && mime_types.all(|mime_type| &**mime_type == "text/html")
        {
            Self::Viewer
        } else {
            Self::Other
        }
    }
}

fn retrieve_location_uid(extensions: &List<Extension>) -> Member<RetrieveLocationUid> {
    let Some(extension) = find(extensions, RETRIEVE_LOCATION_UID) else {
        return Member::Absent;
    };
    match extension
        .value
        .as_ref()
        .and_then(|value| value.code.as_deref())
    {
        Some(text) => RetrieveLocationUid::parse(text).ok().into(),
        None => Member::Malformed,
    }
}

fn address(address: Member<Box<str>>, element: Option<&Element>) -> Member<Box<str>> {
    let is_absent =
        element.is_some_and(|element| find(&element.extension, DATA_ABSENT_REASON).is_some());
    if is_absent {
        return Member::Absent;
    }
    address.and_then(|address| {
        if is_placeholder(&address) {
            Member::Absent
        } else if address.len() > LONGEST_ADDRESS {
            Member::Malformed
        } else {
            Member::Present(address)
        }
    })
}

fn is_placeholder(address: &str) -> bool {
    let host = host(address);
    PLACEHOLDERS
        .iter()
        .any(|placeholder| host.eq_ignore_ascii_case(placeholder))
}

fn host(address: &str) -> &str {
    let authority = address
        .split_once("://")
        .map_or(address, |(_scheme, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_placeholder_by_its_host() {
        for address in [
            "http://notspecified",
            "http://notspecified/",
            "https://NotSpecified:80/rs?x",
            "http://notapplicable",
            "http://doesnotexist/",
            "notspecified",
        ] {
            assert!(is_placeholder(address), "{address}");
        }
        for address in [
            "http://notspecified.example/",
            "http://h.example/notspecified",
            "http://h.example/rs?to=http://notspecified",
            "http://notspecified@h.example/",
            "",
        ] {
            assert!(!is_placeholder(address), "{address}");
        }
    }

    #[test]
    fn leaves_out_an_endless_address() {
        let long = format!("https://h.example/{}", "x".repeat(LONGEST_ADDRESS)).into_boxed_str();
        assert_eq!(address(Member::Present(long), None), Member::Malformed);
    }

    fn purpose(codes: &[&str], mime_types: &[&str]) -> Purpose {
        let concept = |code: &&str| Concept {
            code: Some((*code).into()),
            ..Concept::default()
        };
        Purpose::of(&EndpointMembers {
            connection_type: List {
                items: codes.iter().map(concept).collect(),
                ..List::default()
            },
            payload_mime_type: List {
                items: mime_types.iter().map(|&t| t.into()).collect(),
                ..List::default()
            },
            ..EndpointMembers::default()
        })
    }

    #[test]
    fn tells_what_an_endpoint_is_for() {
        for (codes, mime_types, expected) in [
            (
                &["dicom-wado-rs"][..],
                &["text/html"][..],
                Purpose::Retrieve,
            ),
            (&["dicom-wado-uri"], &[], Purpose::Retrieve),
            (&["ihe-xcwado"], &[], Purpose::Retrieve),
            (&["other", "DICOM-WADO-RS"], &[], Purpose::Retrieve),
            (&["web-viewer"], &[], Purpose::Viewer),
            (
                &["ihe-iid"],
                &["application/dicom"],
                Purpose::InvokeImageDisplay,
            ),
            (&["dicom-iid"], &[], Purpose::InvokeImageDisplay),
            (&["web-viewer", "ihe-iid"], &[], Purpose::Viewer),
            (&["unknown"], &["text/html"], Purpose::Viewer),
            (
                &["unknown"],
                &["text/html", "application/dicom"],
                Purpose::Other,
            ),
            (&["dicom-qido-rs"], &[], Purpose::Other),
            (&[], &[], Purpose::Other),
        ] {
            assert_eq!(
                purpose(codes, mime_types),
                expected,
                "{codes:?} {mime_types:?}"
            );
        }
    }
}
