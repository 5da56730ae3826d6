//! The names and the validity of a certificate.

use std::fmt;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The relevant fields of a certificate. Its signature has been verified before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER form.
    pub fingerprint: Fingerprint,
    /// Its subject alternative names of the supported kinds.
    pub names: Vec<Name>,
    /// The start of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Fingerprint([u8; 32]);

/// A subject alternative name (RFC 5280 4.2.1.6). Compared exactly, without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Name {
    /// A host name, in lower case.
    Dns(Box<str>),
    /// A URI, unchanged.
    Uri(Box<str>),
    /// An address.
    Ip(IpAddr),
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 fingerprint (64 hexadecimal digits)")]
pub struct NotAFingerprint;

/// The text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name, URI or address")]
pub struct NotAName;

impl Certificate {
    /// Parses a certificate; `None` if it is malformed.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_rest, parsed) = X509Certificate::from_der(der).ok()?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|names| &names.value.general_names);
        Some(Self {
            fingerprint: Fingerprint::of(der),
            names: names.into_iter().flatten().filter_map(name).collect(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// Whether it is valid at a time in seconds since 1970.
    #[must_use]
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other kinds hold no name"
)]
fn name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(dns) => Some(Name::Dns(dns.to_ascii_lowercase().into())),
        GeneralName::URI(uri) => Some(Name::Uri((*uri).into())),
        GeneralName::IPAddress(octets) => address(octets).map(Name::Ip),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_not_four| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(der: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// A fingerprint from its octets.
    #[must_use]
    pub fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// Parses 64 hexadecimal digits, with or without colons.
    ///
    /// # Errors
    /// [`NotAFingerprint`].
    pub fn parse(text: &str) -> Result<Self, NotAFingerprint> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != ':' && !c.is_whitespace())
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(NotAFingerprint)?;
        let octets = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        });
        let octets: Vec<u8> = octets.collect::<Option<_>>().ok_or(NotAFingerprint)?;
        let octets = octets.try_into().map_err(|_length| NotAFingerprint)?;
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;

    fn try_from(text: String) -> Result<Self, NotAFingerprint> {
        Self::parse(&text)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Name {
    /// Parses a name in the settings: an address, a URI if it contains a colon, else a host name.
    ///
    /// # Errors
    /// [`NotAName`].
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NotAName);
        }
        Ok(if text.contains(':') {
            Self::Uri(text.into())
        } else {
            Self::Dns(text.to_ascii_lowercase().into())
        })
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        Self::parse(&text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
            Self::Ip(address) => fmt::Display::fmt(address, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").into()
    }

    #[test]
    fn reads_names_of_every_kind_and_dates() {
        let der = certificate(vec![
            SanType::DnsName("Gateway.B.example".try_into().expect("a name")),
            SanType::URI("urn:oid:1.2.3".try_into().expect("a URI")),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::Rfc822Name("a@b.example".try_into().expect("an address")),
        ]);
        let certificate = Certificate::read(&der).expect("a certificate");
        let names: Vec<_> = ["gateway.b.example", "urn:oid:1.2.3", "127.0.0.1"]
            .map(|text| Name::parse(text).expect("a name"))
            .into();
        assert_eq!(certificate.names, names);
        assert!(certificate.is_valid_at(super::super::now()));
        assert!(!certificate.is_valid_at(certificate.not_after + 1));
        assert!(!certificate.is_valid_at(certificate.not_before - 1));
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        let der = certificate(Vec::new());
        assert!(Certificate::read(&der).is_some());
        assert!(Certificate::read(&CertificateDer::from(&der[..der.len() - 1])).is_none());
    }

    #[test]
    fn a_fingerprint_is_read_with_or_without_colons() {
        let fingerprint = Fingerprint::of(&certificate(Vec::new()));
        let plain = fingerprint.to_string();
        let pairs: Vec<_> = plain.as_bytes().chunks(2).collect();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|pair| String::from_utf8_lossy(pair))
            .collect();
        for text in [plain.to_uppercase(), pairs.join(":")] {
            assert_eq!(Fingerprint::parse(&text), Ok(fingerprint), "{text}");
        }
        for text in [
            "",
            "00",
            &plain[1..],
            &format!("{plain}00"),
            &"x".repeat(64),
        ] {
            assert_eq!(Fingerprint::parse(text), Err(NotAFingerprint), "{text}");
        }
    }

    #[test]
    fn a_name_is_of_one_kind_only() {
        assert_ne!(Name::parse("10.0.0.1"), Ok(Name::Dns("10.0.0.1".into())));
        assert_ne!(Name::parse("urn:x"), Ok(Name::Dns("urn:x".into())));
        assert_eq!(Name::parse(""), Err(NotAName));
        assert_eq!(Name::parse("a b"), Err(NotAName));
    }
}
