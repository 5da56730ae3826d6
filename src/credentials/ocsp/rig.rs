//! Authorities, certificates and responses for tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SigningKey, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, GeneralizedTime, Null, OctetString};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    AsResponseBytes, BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse,
    ResponderId, ResponseData, RevokedInfo, SingleResponse, Version,
};

const SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const ECDSA_WITH_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");

pub(super) type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A root, an authority under it, and their certificates.
pub(super) struct Pki {
    pub(super) root: Issuer,
    pub(super) intermediate: Issuer,
    pub(super) leaf: Issued,
    pub(super) other: Issued,
    pub(super) must_staple: Issued,
    pub(super) leaf_of_root: Issued,
    pub(super) delegate: Issued,
    pub(super) delegate_of_root: Issued,
    pub(super) delegate_expired: Issued,
    pub(super) delegate_for_tls: Issued,
}

/// A certificate with its key.
pub(super) struct Issued {
    pub(super) der: CertificateDer<'static>,
    pub(super) key: KeyPair,
    pub(super) pem: String,
}

/// A `CertID`, and the issuer in it.
#[derive(Clone)]
pub(super) struct Id {
    id: CertId,
    issuer: Certificate,
}

/// A response before it is signed.
pub(super) struct Draft<'a> {
    pub(super) ids: Vec<Id>,
    status: CertStatus,
    /// Seconds from now.
    pub(super) from: i64,
    pub(super) until: Option<i64>,
    pub(super) is_critical: bool,
    pub(super) is_forged: bool,
    pub(super) is_basic: bool,
    pub(super) key: &'a KeyPair,
    delegates: Vec<Certificate>,
    pub(super) edit: fn(&[u8]) -> Vec<u8>,
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Pki {
    pub(super) fn new() -> Self {
        let key = || KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(authority("root"), key()).expect("a root");
        let intermediate = CertifiedIssuer::signed_by(authority("under it"), key(), &root);
        let intermediate = intermediate.expect("an authority");
        let issue = |params| Issued::new(params, &intermediate);
        let mut must_staple = server();
        let feature =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![48, 3, 2, 1, 5]);
        must_staple.custom_extensions.push(feature);
        let mut expired = delegate(ExtendedKeyUsagePurpose::OcspSigning);
        expired.not_after = date_time_ymd(2001, 1, 1);
        Self {
            leaf: issue(server()),
            other: issue(server()),
            must_staple: issue(must_staple),
            leaf_of_root: Issued::new(server(), &root),
            delegate: issue(delegate(ExtendedKeyUsagePurpose::OcspSigning)),
            delegate_of_root: Issued::new(delegate(ExtendedKeyUsagePurpose::OcspSigning), &root),
            delegate_expired: issue(expired),
            delegate_for_tls: issue(delegate(ExtendedKeyUsagePurpose::ServerAuth)),
            intermediate,
            root,
        }
    }

    /// The `CertID` of a certificate of the intermediate authority.
    pub(super) fn id(&self, issued: &Issued) -> Id {
        self.id_under(&self.intermediate, issued)
    }

    pub(super) fn id_under(&self, issuer: &Issuer, issued: &Issued) -> Id {
        let issuer = Certificate::from_der(issuer.der()).expect("an authority");
        let hash = |content: &[u8]| hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, content);
        let id = CertId {
            hash_algorithm: algorithm(SHA_1),
            issuer_name_hash: hash(&name(&issuer)),
            issuer_key_hash: hash(key_of(&issuer)),
            serial_number: issued.parsed().tbs_certificate.serial_number,
        };
        Id { id, issuer }
    }
}

impl Issued {
    fn new(params: CertificateParams, issuer: &Issuer) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { der, key, pem }
    }

    fn parsed(&self) -> Certificate {
        Certificate::from_der(&self.der).expect("a certificate")
    }
}

impl Id {
    pub(super) fn sha_256(mut self) -> Self {
        self.id.hash_algorithm = algorithm(SHA_256);
        self.id.issuer_name_hash = hash(&digest::SHA256, &name(&self.issuer));
        self.id.issuer_key_hash = hash(&digest::SHA256, key_of(&self.issuer));
        self
    }

    pub(super) fn spoil_name(&mut self) {
        self.id.issuer_name_hash = OctetString::new([0; 20]).expect("octets");
    }

    pub(super) fn spoil_key(&mut self) {
        self.id.issuer_key_hash = OctetString::new([0; 20]).expect("octets");
    }
}

impl<'a> Draft<'a> {
    /// The leaf is good, says its issuer, for an hour around now.
    pub(super) fn good(pki: &'a Pki) -> Self {
        Self {
            ids: vec![pki.id(&pki.leaf)],
            status: CertStatus::good(),
            from: -1800,
            until: Some(1800),
            is_critical: false,
            is_forged: false,
            is_basic: true,
            key: pki.intermediate.key(),
            delegates: Vec::new(),
            edit: <[u8]>::to_vec,
        }
    }

    pub(super) fn revoke(&mut self) {
        self.status = CertStatus::Revoked(RevokedInfo {
            revocation_time: time(-3600),
            revocation_reason: None,
        });
    }

    pub(super) fn forget(&mut self) {
        self.status = CertStatus::unknown();
    }

    /// The response is signed by this key, and brings its certificate.
    pub(super) fn sign_by(&mut self, delegate: &'a Issued) {
        self.key = &delegate.key;
        self.delegates = vec![delegate.parsed()];
    }

    /// Another certificate takes the place of one.
    pub(super) fn replace(&mut self, old: &Id, new: &Id) {
        for id in &mut self.ids {
            if id.id.serial_number == old.id.serial_number {
                id.id.serial_number = new.id.serial_number.clone();
            }
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let data = self.data();
        let signed = data.to_der().expect("DER");
        let mut signature = self.key.sign(&signed).expect("a signature");
        if self.is_forged {
            signature = self.key.sign(b"something else").expect("a signature");
        }
        let basic = BasicOcspResponse {
            tbs_response_data: data,
            signature_algorithm: AlgorithmIdentifierOwned {
                oid: ECDSA_WITH_SHA_256,
                parameters: None,
            },
            signature: BitString::from_bytes(&signature).expect("bits"),
            certs: (!self.delegates.is_empty()).then_some(self.delegates),
        };
        let mut bytes = basic.to_response_bytes().expect("DER");
        if !self.is_basic {
            bytes.response_type = NONCE;
        }
        let mut response = OcspResponse::internal_error();
        response.response_status = x509_ocsp::OcspResponseStatus::Successful;
        response.response_bytes = Some(bytes);
        (self.edit)(&response.to_der().expect("DER"))
    }

    fn data(&self) -> ResponseData {
        let single = |id: &Id| SingleResponse {
            cert_id: id.id.clone(),
            cert_status: self.status,
            this_update: time(self.from),
            next_update: self.until.map(time),
            single_extensions: None,
        };
        let critical = Extension {
            extn_id: NONCE,
            critical: true,
            extn_value: OctetString::new([4, 1, 0]).expect("octets"),
        };
        let issuer = &self.ids[0].issuer;
        ResponseData {
            version: Version::V1,
            responder_id: ResponderId::ByName(issuer.tbs_certificate.subject.clone()),
            produced_at: time(self.from),
            responses: self.ids.iter().map(single).collect(),
            response_extensions: self.is_critical.then(|| vec![critical]),
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn server() -> CertificateParams {
    CertificateParams::new(vec!["source.example".into()]).expect("a name")
}

fn delegate(purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![purpose];
    params
}

fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    let parameters = Some(Null.into());
    AlgorithmIdentifierOwned { oid, parameters }
}

fn hash(algorithm: &'static digest::Algorithm, content: &[u8]) -> OctetString {
    OctetString::new(digest::digest(algorithm, content).as_ref()).expect("octets")
}

fn name(issuer: &Certificate) -> Vec<u8> {
    issuer.tbs_certificate.subject.to_der().expect("DER")
}

fn key_of(issuer: &Certificate) -> &[u8] {
    let key = &issuer.tbs_certificate.subject_public_key_info;
    key.subject_public_key.raw_bytes()
}

/// So many seconds from now.
fn time(seconds: i64) -> OcspGeneralizedTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    let moment = now.as_secs().checked_add_signed(seconds).expect("a time");
    let time = GeneralizedTime::from_unix_duration(Duration::from_secs(moment));
    OcspGeneralizedTime(time.expect("a time"))
}
