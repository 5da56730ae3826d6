//! Base addresses of DICOMweb servers in a comparable normal form.

use std::fmt;

use url::Url;

use super::problem::Problems;

const LONGEST: usize = 2048;

/// A DICOMweb base URI: a normalised scheme, host and port, and a path that ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(Url);

/// Why a text is not a base address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotAnAddress {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It has more than 2048 bytes.
    #[error("it is too long")]
    TooLong,
    /// It contains control characters or white space.
    #[error("it contains control characters or blanks")]
    ControlCharacters,
    /// Its scheme is neither http nor https.
    #[error("it is not of http or https")]
    Scheme,
    /// It contains user information.
    #[error("it contains a user name or a password")]
    Credentials,
    /// It contains a query or a fragment. No configured address has one, so none would match.
    #[error("it contains a query or a fragment")]
    Query,
    /// Programs differ in how they read it: a backslash, an `@`, an escaped slash or dot.
    #[error("it contains a backslash, an @, or an escaped slash or dot")]
    Ambiguous,
    /// It is not a URL.
    #[error("it is not a URL")]
    Malformed,
}

impl Address {
    /// Parses a base address. The default scheme is https, as in the figures of the standard
    /// (`hostname/DICOMweb-RS/`).
    ///
    /// # Errors
    /// [`NotAnAddress`], also for ambiguous addresses: control characters, backslashes, escaped
    /// slashes or dots.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let text = text.trim_matches(' ');
        check_characters(text)?;
        let with_scheme = match scheme(text) {
            Some(scheme) if !is_http(scheme) => return Err(NotAnAddress::Scheme),
            Some(_) if !text.contains("://") => return Err(NotAnAddress::Malformed),
            Some(_) => text.to_owned(),
            None => format!("https://{text}"),
        };
        let mut url = Url::parse(&with_scheme).map_err(|_invalid| NotAnAddress::Malformed)?;
        check(&url)?;
        // Before parsing: the parser resolves escaped dots.
        if has_escaped_separators(&with_scheme) {
            return Err(NotAnAddress::Ambiguous);
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

    /// The address above the Retrieve URLs of the manifests that an xcwado hands out, if this is
    /// its DICOMweb root: `{public_url}/manifests/` beside `{public_url}/dicomweb/`.
    #[must_use]
    pub(super) fn of_handed_out_manifests(&self) -> Option<Self> {
        let public = self.0.path().strip_suffix("dicomweb/")?;
        let path = format!("{public}manifests/");
        let mut url = self.0.clone();
        url.set_path(&path);
        public.ends_with('/').then_some(Self(url))
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

fn check_characters(text: &str) -> Result<(), NotAnAddress> {
    match text.len() {
        0 => return Err(NotAnAddress::Empty),
        1..=LONGEST => {}
        _ => return Err(NotAnAddress::TooLong),
    }
    let has = |test: fn(char) -> bool| text.contains(test);
    if has(|c| c.is_control() || c.is_whitespace()) {
        Err(NotAnAddress::ControlCharacters)
    } else if has(|c| c == '\\') {
        Err(NotAnAddress::Ambiguous)
    } else if has(|c| c == '#') {
        Err(NotAnAddress::Query)
    } else if authority(text).contains('@') {
        Err(NotAnAddress::Credentials)
    } else if has(|c| c == '@') {
        Err(NotAnAddress::Ambiguous)
    } else {
        Ok(())
    }
}

fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// The scheme of a URL, if it has one: `host:8443/x` has none, `file:/x` has.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
    (!scheme.is_empty() && is_scheme && rest.starts_with('/')).then_some(scheme)
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn check(url: &Url) -> Result<(), NotAnAddress> {
    if !matches!(url.scheme(), "http" | "https") {
        Err(NotAnAddress::Scheme)
    } else if !url.username().is_empty() || url.password().is_some() {
        Err(NotAnAddress::Credentials)
    } else if url.query().is_some() || url.fragment().is_some() {
        Err(NotAnAddress::Query)
    } else if !url.has_host() {
        Err(NotAnAddress::Malformed)
    } else {
        Ok(())
    }
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
    fn says_why_a_text_is_no_address() {
        for (text, why) in [
            ("", NotAnAddress::Empty),
            ("https://h/a\u{1b}[31m", NotAnAddress::ControlCharacters),
            ("https://h/a b", NotAnAddress::ControlCharacters),
            ("file:///srv/images/", NotAnAddress::Scheme),
            ("file:/srv/images", NotAnAddress::Scheme),
            ("ftp://h/x", NotAnAddress::Scheme),
            ("http:/h/x", NotAnAddress::Malformed),
            ("http://user:pw@h/rs", NotAnAddress::Credentials),
            ("user@h/rs", NotAnAddress::Credentials),
            ("https://h/a@b", NotAnAddress::Ambiguous),
            ("https://h/wado?requestType=WADO", NotAnAddress::Query),
            ("https://h/rs#a", NotAnAddress::Query),
            ("https://h/..%2fadmin", NotAnAddress::Ambiguous),
            ("https://h\\rs", NotAnAddress::Ambiguous),
            ("https://", NotAnAddress::Malformed),
            ("h:x/rs", NotAnAddress::Malformed),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text}");
        }
        let long = format!("https://h/{}", "x".repeat(LONGEST));
        assert_eq!(Address::parse(&long), Err(NotAnAddress::TooLong));
    }

    #[test]
    fn a_port_is_not_a_scheme() {
        let address = Address::parse("host:8443/x").expect("an address");
        assert_eq!(address.to_string(), "https://host:8443/x/");
    }
}
