//! One response: what it says, about which certificate, and who signed it.

use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::der::asn1::{AnyRef, BitStringRef, ContextSpecific};
use x509_cert::der::oid::{AssociatedOid, ObjectIdentifier};
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader, Tag, TagNumber};
use x509_cert::ext::Extensions;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    ResponseData, SingleResponse,
};

/// The largest response that is read, in bytes.
pub(super) const LARGEST: usize = 64 << 10;

/// The most certificates of delegates that are tried.
const MOST_DELEGATES: usize = 8;

/// The clock of a responder may be ahead of ours by this.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// A response without `nextUpdate` counts for this time.
const WITHOUT_NEXT_UPDATE: Duration = Duration::from_secs(24 * 60 * 60);

/// id-kp-OCSPSigning (RFC 6960 4.2.2.2), 1.3.6.1.5.5.7.3.9.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];

/// The algorithms that verify signatures.
pub(super) type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// Why a response does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It is larger than 64 KiB.
    #[error("it is larger than 64 KiB")]
    TooLarge,
    /// It is no response in DER.
    #[error("it is malformed")]
    Malformed,
    /// Its `responseStatus` is not `successful`.
    #[error("the responder gave no answer")]
    Unsuccessful,
    /// It has a critical extension.
    #[error("it has a critical extension, and none is known here")]
    CriticalExtension,
    /// It is about another certificate.
    #[error("it is about another certificate")]
    OtherCertificate,
    /// Its signature is wrong, or the signer is neither the issuer nor its valid delegate.
    #[error("neither the issuer of the certificate nor a valid delegate signed it")]
    Signer,
    /// It is of the future.
    #[error("it is not valid yet")]
    Early,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    Unknown,
}

/// The certificate that a response must be about.
pub(super) struct Subject<'a> {
    /// The content of its serial number in DER.
    pub(super) serial: &'a [u8],
    /// The content of the name of its issuer in DER.
    pub(super) issuer: &'a [u8],
    /// The key of its issuer, if known.
    pub(super) issuer_key: Option<SubjectPublicKeyInfoDer<'a>>,
}

/// The status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked,
}

/// What a response says about one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status of the certificate.
    pub status: Status,
    /// The time from which this is correct, in seconds since 1970.
    pub this_update: u64,
    /// The time until which it counts, in seconds since 1970.
    pub next_update: u64,
}

/// A response of the basic type (RFC 6960 4.2.1).
pub(super) struct Response {
    data: ResponseData,
    /// The bytes that are signed.
    signed: Vec<u8>,
    /// The content of the identifier of the algorithm in DER.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    delegates: Vec<CertificateDer<'static>>,
}

impl Response {
    pub(super) fn parse(content: &[u8]) -> Result<Self, Untrusted> {
        if content.len() > LARGEST {
            return Err(Untrusted::TooLarge);
        }
        let outer = OcspResponse::from_der(content).map_err(|_der| Untrusted::Malformed)?;
        if outer.response_status != OcspResponseStatus::Successful {
            return Err(Untrusted::Unsuccessful);
        }
        let inner = outer.response_bytes.ok_or(Untrusted::Malformed)?;
        if inner.response_type != BasicOcspResponse::OID {
            return Err(Untrusted::Malformed);
        }
        let response = Self::parse_basic(inner.response.as_bytes());
        let response = response.map_err(|_der| Untrusted::Malformed)?;
        match is_critical(response.data.response_extensions.as_ref()) {
            true => Err(Untrusted::CriticalExtension),
            false => Ok(response),
        }
    }

    /// The signature covers the bytes that arrived, so they are not encoded anew.
    fn parse_basic(content: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(content)?;
        let response = reader.sequence(|reader| {
            let signed = reader.tlv_bytes()?;
            let algorithm = AlgorithmIdentifierRef::decode(reader)?;
            let signature = BitStringRef::decode(reader)?;
            let delegates =
                ContextSpecific::<Vec<AnyRef<'_>>>::decode_explicit(reader, TagNumber::N0)?;
            let delegates = delegates.into_iter().flat_map(|tagged| tagged.value);
            let delegates = delegates.take(MOST_DELEGATES).map(|any| any.to_der());
            Ok(Self {
                data: ResponseData::from_der(signed)?,
                signed: signed.to_vec(),
                algorithm: content_of(&algorithm)?,
                signature: whole_octets(&signature)?,
                delegates: delegates
                    .map(|der| der.map(CertificateDer::from))
                    .collect::<Result<_, _>>()?,
            })
        })?;
        reader.finish(response)
    }

    /// Verifies that the issuer of a certificate signed it, or a delegate that the issuer itself
    /// certified for that (RFC 6960 4.2.2.2).
    pub(super) fn verify(
        &self,
        issuer: &TrustAnchor<'_>,
        algorithms: Algorithms,
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        if self.has_signature_of(&webpki::spki_for_anchor(issuer), algorithms) {
            return Ok(());
        }
        let is_delegates = self.delegates.iter().any(|delegate| {
            EndEntityCert::try_from(delegate).is_ok_and(|delegate| {
                // The issuer is the only anchor, and there are no intermediates.
                let issuers = std::slice::from_ref(issuer);
                let usage = KeyUsage::required(OCSP_SIGNING);
                delegate
                    .verify_for_usage(algorithms, issuers, &[], now, usage, None, None)
                    .is_ok()
                    && self.has_signature_of(&delegate.subject_public_key_info(), algorithms)
            })
        });
        match is_delegates {
            true => Ok(()),
            false => Err(Untrusted::Signer),
        }
    }

    fn has_signature_of(&self, key: &SubjectPublicKeyInfoDer<'_>, algorithms: Algorithms) -> bool {
        let Ok(key) = SubjectPublicKeyInfoRef::from_der(key) else {
            return false;
        };
        let Ok(key_algorithm) = content_of(&key.algorithm) else {
            return false;
        };
        let public_key = key.subject_public_key.raw_bytes();
        algorithms
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm)
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key_algorithm)
            .any(|algorithm| {
                let verified =
                    algorithm.verify_signature(public_key, &self.signed, &self.signature);
                verified.is_ok()
            })
    }

    /// The newest answer about a certificate, whatever the time is.
    pub(super) fn answer(&self, subject: &Subject<'_>) -> Result<Answer, Untrusted> {
        let answers = self.data.responses.iter();
        let newest = answers
            .filter(|single| subject.is_meant_by(&single.cert_id))
            .max_by_key(|single| seconds(single.this_update));
        Answer::read(newest.ok_or(Untrusted::OtherCertificate)?)
    }
}

impl Answer {
    fn read(single: &SingleResponse) -> Result<Self, Untrusted> {
        if is_critical(single.single_extensions.as_ref()) {
            return Err(Untrusted::CriticalExtension);
        }
        let status = match single.cert_status {
            CertStatus::Good(_) => Status::Good,
            CertStatus::Revoked(_) => Status::Revoked,
            CertStatus::Unknown(_) => return Err(Untrusted::Unknown),
        };
        let this_update = seconds(single.this_update);
        let without = this_update.saturating_add(WITHOUT_NEXT_UPDATE.as_secs());
        Ok(Self {
            status,
            this_update,
            next_update: single.next_update.map_or(without, seconds),
        })
    }

    /// The status, if the answer counts at this time.
    pub(super) fn at(&self, now: UnixTime) -> Result<Status, Untrusted> {
        let now = now.as_secs();
        if now.saturating_add(SKEW.as_secs()) < self.this_update {
            return Err(Untrusted::Early);
        }
        if self.next_update < now {
            return Err(Untrusted::Expired);
        }
        Ok(self.status)
    }
}

impl Subject<'_> {
    fn is_meant_by(&self, id: &CertId) -> bool {
        let serial = AnyRef::new(Tag::Integer, self.serial).and_then(|serial| serial.to_der());
        if serial.is_err() || serial != id.serial_number.to_der() {
            return false;
        }
        let Some(algorithm) = hash(id.hash_algorithm.oid) else {
            return false;
        };
        let is = |content: &[u8], hash: &[u8]| digest::digest(algorithm, content).as_ref() == hash;
        let name = AnyRef::new(Tag::Sequence, self.issuer).and_then(|name| name.to_der());
        name.is_ok_and(|name| is(&name, id.issuer_name_hash.as_bytes()))
            && self.issuer_key.as_ref().is_none_or(|key| {
                SubjectPublicKeyInfoRef::from_der(key).is_ok_and(|key| {
                    let key = key.subject_public_key.raw_bytes();
                    is(key, id.issuer_key_hash.as_bytes())
                })
            })
    }
}

/// An issuer as an anchor, which holds the contents of its name and key without tag and length.
pub(super) fn anchor<'a>(name: &'a [u8], key: &'a [u8]) -> Option<TrustAnchor<'a>> {
    let key = AnyRef::from_der(key).ok()?;
    Some(TrustAnchor {
        subject: name.into(),
        subject_public_key_info: key.value().into(),
        name_constraints: None,
    })
}

/// SHA-1 only names the issuer here; it protects nothing (RFC 6960 4.3, RFC 5019 2.1.1).
fn hash(oid: ObjectIdentifier) -> Option<&'static digest::Algorithm> {
    const SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
    const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
    const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
    const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
    match oid {
        SHA_1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        SHA_256 => Some(&digest::SHA256),
        SHA_384 => Some(&digest::SHA384),
        SHA_512 => Some(&digest::SHA512),
        _ => None,
    }
}

fn is_critical(extensions: Option<&Extensions>) -> bool {
    let mut all = extensions.into_iter().flatten();
    all.any(|extension| extension.critical)
}

fn seconds(time: OcspGeneralizedTime) -> u64 {
    time.0.to_unix_duration().as_secs()
}

/// An algorithm's identifier in DER without tag and length, as the TLS library compares it.
fn content_of(algorithm: &AlgorithmIdentifierRef<'_>) -> der::Result<Vec<u8>> {
    let der = algorithm.to_der()?;
    Ok(AnyRef::from_der(&der)?.value().to_vec())
}

fn whole_octets(bits: &BitStringRef<'_>) -> der::Result<Vec<u8>> {
    let octets = bits
        .as_bytes()
        .ok_or_else(|| Tag::BitString.value_error())?;
    Ok(octets.to_vec())
}
