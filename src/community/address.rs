//! Base addresses of DICOMweb servers in a comparable normal form.

use std::fmt;

use url::Url;

use super::problem::Problems;

const LONGEST: usize = 2048;

/// A DICOMweb base URI: a normalised scheme, host and port, and a path that ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(Url);

/// The text is not a base address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a base address (http or https, without user, query or fragment)")]
pub struct NotAnAddress;

impl Address {
    /// Parses a base address. The default scheme is https, as in the figures of the standard
    /// (`hostname/DICOMweb-RS/`).
    ///
    /// # Errors
    /// [`NotAnAddress`], also for ambiguous addresses: control characters, backslashes, escaped
    /// slashes or dots.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let text = text.trim_matches(' ');
        if text.len() > LONGEST || text.is_empty() || text.chars().any(is_ambiguous) {
            return Err(NotAnAddress);
        }
        let with_scheme = if has_scheme(text) {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let mut url = Url::parse(&with_scheme).map_err(|_invalid| NotAnAddress)?;
        // Before parsing: the parser resolves escaped dots.
        if !is_plain(&url) || has_escaped_separators(&with_scheme) {
            return Err(NotAnAddress);
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }

    /// Whether `other` is this address or lies below it, on a segment boundary.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.0.scheme() == other.0.scheme()
            && self.0.host() == other.0.host()
            && self.0.port_or_known_default() == other.0.port_or_known_default()
            && other.0.path().starts_with(self.0.path())
    }

    /// The address as a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// Further addresses of the server at `first`, if all are valid and unique.
pub(super) fn further(
    first: &str,
    more: &[String],
    key: &'static str,
    problems: &mut Problems<'_>,
) -> Option<Vec<Url>> {
    let mut known: Vec<_> = Address::parse(first).into_iter().collect();
    for text in more {
        let address = Address::parse(text).ok()?;
        if known.contains(&address) {
            problems.add(key, format!("{text:?} is given twice"));
            return None;
        }
        known.push(address);
    }
    Some(known.into_iter().skip(1).map(|address| address.0).collect())
}

fn is_ambiguous(c: char) -> bool {
    c.is_control() || c.is_whitespace() || matches!(c, '\\' | '#' | '@')
}

// `://`, not `:`, because `host:8443/x` looks like a scheme.
fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
    })
}

fn is_plain(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

fn has_escaped_separators(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["%2f", "%5c", "%2e", "%00", "%25"]
        .iter()
        .any(|escaped| path.contains(escaped))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(allowed: &str, asked: &str) -> bool {
        let allowed = Address::parse(allowed).expect("an address");
        Address::parse(asked).is_ok_and(|asked| allowed.covers(&asked))
    }

    #[test]
    fn compares_in_normal_form() {
        let allowed = "https://hostname/DICOMweb-RS/";
        for asked in [
            "hostname/DICOMweb-RS/",
            "https://HOSTNAME:443/DICOMweb-RS",
            "HTTPS://hostname/DICOMweb-RS/",
            "https://hostname/x/../DICOMweb-RS/",
            "https://hostname/DICOMweb-RS/aet/",
        ] {
            assert!(covers(allowed, asked), "{asked}");
        }
    }

    #[test]
    fn refuses_what_only_looks_alike() {
        let allowed = "https://hostname/DICOMweb-RS/";
        for asked in [
            "hostname/dicomweb-rs/",
            "hostname/DICOMweb-RS/../admin/",
            "hostname.evil.example/DICOMweb-RS/",
            "https://hostname@evil.example/DICOMweb-RS/",
            "https://evil.example\\@hostname/DICOMweb-RS/",
            "https://evil.example/#hostname/DICOMweb-RS/",
            "http://hostname/DICOMweb-RS/",
            "hostname/DICOMweb-RSX/",
            "https://hostname:8443/DICOMweb-RS/",
            "https://hostname./DICOMweb-RS/",
            "https://hostname/DICOMweb-RS/%2e%2e/admin",
            "https://hostname/DICOMweb-RS/..%2fadmin",
            "https://hostname/DICOMweb-RS/?x=1",
            "file:///DICOMweb-RS/",
            "//evil/",
            "",
        ] {
            assert!(!covers(allowed, asked), "{asked}");
        }
    }

    #[test]
    fn a_port_is_not_a_scheme() {
        let address = Address::parse("host:8443/x").expect("an address");
        assert_eq!(address.to_string(), "https://host:8443/x/");
    }
}
