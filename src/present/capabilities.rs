//! *Retrieve Capabilities* (PS3.18 8.9): the resources of a DICOMweb root, as WADL or JSON.

use serde_json::{Value, json};

/// A resource, as a path below the root with its variables in braces.
struct Served {
    path: &'static str,
    media_types: &'static [&'static str],
}

const INSTANCES: &[&str] = &["multipart/related; type=\"application/dicom\""];
const ATTRIBUTES: &[&str] = &[
    "application/dicom+json",
    "multipart/related; type=\"application/dicom+xml\"",
];
const BULK_DATA: &[&str] = &[
    "multipart/related; type=\"application/octet-stream\"",
    "application/octet-stream",
];

const SERVED: &[Served] = &[
    Served {
        path: "studies",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "series",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "instances",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "studies/{study}",
        media_types: INSTANCES,
    },
    Served {
        path: "studies/{study}/metadata",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "studies/{study}/series",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "studies/{study}/instances",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "studies/{study}/series/{series}",
        media_types: INSTANCES,
    },
    Served {
        path: "studies/{study}/series/{series}/metadata",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "studies/{study}/series/{series}/instances",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "studies/{study}/series/{series}/instances/{instance}",
        media_types: &[
            "multipart/related; type=\"application/dicom\"",
            "application/dicom",
        ],
    },
    Served {
        path: "studies/{study}/series/{series}/instances/{instance}/metadata",
        media_types: ATTRIBUTES,
    },
    Served {
        path: "studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
        media_types: BULK_DATA,
    },
    Served {
        path: "studies/{study}/series/{series}/instances/{instance}/pixeldata",
        media_types: BULK_DATA,
    },
    Served {
        path: "studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}",
        media_types: BULK_DATA,
    },
];

/// The media type of [`wadl`].
pub const WADL: &str = "application/vnd.sun.wadl+xml";

/// The resources below `root` as a WADL document.
#[must_use]
pub fn wadl(root: &str) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <application xmlns=\"http://wadl.dev.java.net/2009/02\">\n",
    );
    let root = root.replace('&', "&amp;");
    out.push_str(&format!("  <resources base=\"{root}/\">\n"));
    for served in SERVED {
        out.push_str(&format!("    <resource path=\"{}\">\n", served.path));
        out.push_str("      <method name=\"GET\">\n        <response status=\"200\">\n");
        for media_type in served.media_types {
            let media_type = media_type.replace('"', "&quot;");
            out.push_str(&format!(
                "          <representation mediaType=\"{media_type}\"/>\n"
            ));
        }
        out.push_str("        </response>\n      </method>\n    </resource>\n");
    }
    out.push_str("  </resources>\n</application>\n");
    out
}

/// The resources below `root` as JSON.
#[must_use]
pub fn json(root: &str) -> Value {
    let resources = SERVED.iter().map(|served| {
        json!({
            "path": served.path,
            "methods": ["GET", "HEAD", "OPTIONS"],
            "media_types": served.media_types,
        })
    });
    json!({ "base": format!("{root}/"), "resources": resources.collect::<Vec<_>>() })
}
