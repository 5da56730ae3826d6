//! Rewrites links to sources as links to the gateway. Pure: bytes in, bytes out.
//!
//! The addresses of a source must not reach a viewer: the viewer could not follow them, and they
//! disclose the source.

mod error;
mod json;
mod scalar;
mod text;

use url::{Position, Url};

pub use error::NotJson;
pub use json::JsonLinks;
pub(crate) use json::is_of_host;

/// The links that are rewritten, and their new base.
#[derive(Debug, Clone)]
pub struct Links {
    theirs: Vec<Url>,
    document: Url,
    ours: String,
}

impl Links {
    /// Links under one of `theirs` become links under `ours`. A link may be relative to the address
    /// of the `document`. Trailing slashes of the bases are ignored.
    #[must_use]
    pub fn new(theirs: Vec<Url>, document: Url, ours: impl Into<String>) -> Self {
        let mut ours = ours.into();
        ours.truncate(ours.trim_end_matches('/').len());
        Self {
            theirs,
            document,
            ours,
        }
    }

    /// The link to the same resource under `ours`; `None` if the link leads elsewhere. The path
    /// below the base and the query keep their escapes.
    #[must_use]
    pub fn rewrite(&self, link: &str) -> Option<String> {
        // RFC 3986 4.4: an empty link refers to the document itself.
        if link.is_empty() {
            return None;
        }
        let link = self.document.join(link).ok()?;
        let rest = self.theirs.iter().find_map(|base| below(base, &link))?;
        Some(format!("{}{rest}", self.ours))
    }
}

/// The rest of the link below the path of `base`, with its separator; empty for `base` itself.
fn below<'a>(base: &Url, link: &'a Url) -> Option<&'a str> {
    let is_same_server = base.scheme() == link.scheme()
        && base.host() == link.host()
        && base.port_or_known_default() == link.port_or_known_default();
    let has_user = !link.username().is_empty() || link.password().is_some();
    if !is_same_server || has_user {
        return None;
    }
    let path = base.path().strip_suffix('/').unwrap_or(base.path());
    let rest = link[Position::BeforePath..].strip_prefix(path)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn links(base: &str, ours: &str) -> Links {
        let document = url("https://h.example/rs/studies/1.2/series/1.3/metadata");
        Links::new(
            vec![url(base), url("http://inner:8042/dicom-web/")],
            document,
            ours,
        )
    }

    #[test]
    fn a_link_under_a_base_becomes_ours() {
        for (link, rest) in [
            ("https://h.example/rs/studies/1.2", "/studies/1.2"),
            ("HTTPS://H.example:443/rs/studies/1.2/", "/studies/1.2/"),
            ("https://h.example/rs/", "/"),
            ("https://h.example/rs", ""),
            (
                "https://h.example/rs/a%2Fb%20c?x=%26&y#z",
                "/a%2Fb%20c?x=%26&y#z",
            ),
            ("https://h.example/rs?x", "?x"),
            ("https://h.example/x/../rs/b", "/b"),
            ("http://inner:8042/dicom-web/studies/1.2", "/studies/1.2"),
            ("/rs/studies/1.2/bulkdata/1", "/studies/1.2/bulkdata/1"),
            ("//h.example/rs/b", "/b"),
            ("../../bulkdata/1", "/studies/1.2/bulkdata/1"),
            ("bulkdata/1?x", "/studies/1.2/series/1.3/bulkdata/1?x"),
            ("?offset=1", "/studies/1.2/series/1.3/metadata?offset=1"),
        ] {
            for base in ["https://h.example/rs/", "https://h.example/rs"] {
                for ours in ["https://ours/p", "https://ours/p/"] {
                    let expected = Some(format!("https://ours/p{rest}"));
                    assert_eq!(links(base, ours).rewrite(link), expected, "{link}");
                }
            }
        }
    }

    #[test]
    fn a_base_may_be_a_whole_server() {
        let links = links("https://h.example", "https://ours");
        let rewritten = links.rewrite("https://h.example/a/b");
        assert_eq!(rewritten.as_deref(), Some("https://ours/a/b"));
    }

    #[test]
    fn every_other_link_is_foreign() {
        let links = links("https://h.example/rs/", "https://ours");
        for link in [
            "",
            "https://h.example/",
            "https://h.example/RS/studies/1.2",
            "https://h.example/rsx/studies/1.2",
            "https://h.example/rs/../admin",
            "https://h.example/rs/%2e%2e/admin",
            "../../../../../admin",
            "https://h.example:8443/rs/studies/1.2",
            "http://h.example/rs/studies/1.2",
            "https://h.example./rs/studies/1.2",
            "https://user@h.example/rs/studies/1.2",
            "https://h.example@evil.example/rs/studies/1.2",
            "//evil.example/rs/studies/1.2",
            "\\\\evil.example\\rs",
            "https://h.example.evil.example/rs/",
            "https://[::1/rs",
            "file:///rs/studies/1.2",
            "urn:oid:1.2",
            "data:,x",
            "javascript:alert(1)",
            "about:blank",
        ] {
            assert_eq!(links.rewrite(link), None, "{link}");
        }
    }
}
