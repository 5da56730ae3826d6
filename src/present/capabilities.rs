//! *Retrieve Capabilities* (PS3.18 8.9): the resources of a DICOMweb root, as WADL or JSON. Pure.

use serde_json::{Value, json};

use super::xml::escaped;
use crate::resource::Offer;

/// Paths below the root, with their variables in braces, that have the same representations.
struct Served {
    paths: &'static [&'static str],
    media_types: &'static [&'static str],
}

const SERVED: &[Served] = &[
    // Search.
    Served {
        paths: &[
            "studies",
            "series",
            "instances",
            "studies/{study}/series",
            "studies/{study}/instances",
            "studies/{study}/series/{series}/instances",
        ],
        media_types: ATTRIBUTES,
    },
    Served {
        paths: &["studies/{study}", "studies/{study}/series/{series}"],
        media_types: &["multipart/related; type=\"application/dicom\""],
    },
    Served {
        paths: &["studies/{study}/series/{series}/instances/{instance}"],
        media_types: &[
            "multipart/related; type=\"application/dicom\"",
            "application/dicom",
        ],
    },
    Served {
        paths: &[
            "studies/{study}/metadata",
            "studies/{study}/series/{series}/metadata",
            "studies/{study}/series/{series}/instances/{instance}/metadata",
        ],
        media_types: ATTRIBUTES,
    },
    Served {
        paths: &[
            "studies/{study}/pixeldata",
            "studies/{study}/series/{series}/pixeldata",
            "studies/{study}/series/{series}/instances/{instance}/pixeldata",
            "studies/{study}/bulkdata",
            "studies/{study}/series/{series}/bulkdata",
            "studies/{study}/series/{series}/instances/{instance}/bulkdata",
        ],
        media_types: &["multipart/related; type=\"application/octet-stream\""],
    },
    Served {
        paths: &[
            "studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
            "studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}",
        ],
        media_types: &[
            "multipart/related; type=\"application/octet-stream\"",
            "application/octet-stream",
        ],
    },
    Served {
        paths: &[
            "studies/{study}/rendered",
            "studies/{study}/series/{series}/rendered",
            "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
            "studies/{study}/thumbnail",
            "studies/{study}/series/{series}/thumbnail",
            "studies/{study}/series/{series}/instances/{instance}/thumbnail",
            "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        ],
        media_types: PICTURES,
    },
    Served {
        paths: &["studies/{study}/series/{series}/instances/{instance}/rendered"],
        media_types: &[
            "image/jpeg",
            "image/png",
            "image/gif",
            "text/html",
            "text/plain",
            "application/pdf",
            "video/mp4",
        ],
    },
    // WADO-URI (PS3.18 9).
    Served {
        paths: &[
            "wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}",
            "?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}",
        ],
        media_types: &["image/jpeg", "image/png", "image/gif", "application/dicom"],
    },
];

const ATTRIBUTES: &[&str] = &[
    "application/dicom+json",
    "multipart/related; type=\"application/dicom+xml\"",
];
const PICTURES: &[&str] = &["image/jpeg", "image/png", "image/gif"];

/// The media type of [`wadl`].
pub const WADL: &str = "application/vnd.sun.wadl+xml";

/// The resources below `root` as a WADL document.
#[must_use]
pub fn wadl(root: &str) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <application xmlns=\"http://wadl.dev.java.net/2009/02\">\n",
    );
    out.push_str(&format!("  <resources base=\"{}/\">\n", escaped(root)));
    for (path, media_types) in each() {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        out.push_str(&format!("    <resource path=\"{path}\">\n"));
        out.push_str("      <method name=\"GET\">\n");
        out.push_str(&parameters(query));
        out.push_str("        <response status=\"200\">\n");
        for media_type in media_types {
            let media_type = escaped(media_type);
            out.push_str(&format!(
                "          <representation mediaType=\"{media_type}\"/>\n"
            ));
        }
        out.push_str("        </response>\n      </method>\n    </resource>\n");
    }
    out.push_str("  </resources>\n</application>\n");
    out
}

/// The parameters of a query, each of which a request needs.
fn parameters(query: &str) -> String {
    let pairs: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            let fixed = match value {
                "WADO" => " fixed=\"WADO\"",
                _ => "",
            };
            format!("          <param name=\"{name}\" style=\"query\" required=\"true\"{fixed}/>\n")
        })
        .collect();
    match pairs.concat() {
        none if none.is_empty() => none,
        some => format!("        <request>\n{some}        </request>\n"),
    }
}

/// The resources below `root` as JSON.
#[must_use]
pub fn json(root: &str) -> Value {
    let resources = each().map(|(path, media_types)| {
        json!({
            "path": path,
            "methods": ["GET", "HEAD", "OPTIONS"],
            "media_types": media_types,
        })
    });
    json!({
        "service": "DICOMweb (PS3.18), by xcwado",
        "base": format!("{root}/"),
        "resources": resources.collect::<Vec<_>>(),
    })
}

/// What is offered of a location to other communities, below the root of RAD-160 for it: `offers`
/// names the groups of resources as settings do, `resources` their paths and media types.
#[must_use]
pub fn between_communities(root: &str) -> Value {
    let offers = Offer::ALL.map(Offer::name);
    let offers: Vec<&str> = ["instances"].into_iter().chain(offers).collect();
    let resources = each().filter(|(path, _)| is_between_communities(path));
    let resources = resources.map(|(path, media_types)| {
        json!({ "path": path, "methods": ["GET", "HEAD"], "media_types": media_types })
    });
    json!({
        "service": "Cross-Community WADO-RS Retrieve (RAD-160), by xcwado",
        "base": format!("{root}/"),
        "offers": offers,
        "resources": resources.collect::<Vec<_>>(),
    })
}

/// Instances and metadata of any target, and everything of one instance.
fn is_between_communities(path: &str) -> bool {
    let of_many = ["studies/{study}", "studies/{study}/series/{series}"];
    let rest = path.strip_suffix("/metadata").unwrap_or(path);
    of_many.contains(&rest) || path.contains("/{instance}")
}

fn each() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let served = SERVED.iter();
    served.flat_map(|served| served.paths.iter().map(|path| (*path, served.media_types)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wadl_document_names_paths_and_parameters_apart() {
        let wadl = wadl("https://h.example/a&b");
        for expected in [
            "<resources base=\"https://h.example/a&amp;b/\">",
            "<resource path=\"studies/{study}/series/{series}/rendered\">",
            "<resource path=\"wado\">",
            "<param name=\"requestType\" style=\"query\" required=\"true\" fixed=\"WADO\"/>",
            "<param name=\"objectUID\" style=\"query\" required=\"true\"/>",
        ] {
            assert!(wadl.contains(expected), "{expected}\n{wadl}");
        }
        assert!(!wadl.contains('?') || wadl.matches('?').count() == 2);
    }
}
