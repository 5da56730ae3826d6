//! The certificates of the demonstration: each community has an authority of its own, which has
//! signed one certificate, for its gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::start::Failure;

/// Writes `authority.pem`, `gateway.pem` and `gateway.key` into a directory; the certificate is
/// good for the gateway's name and for this machine.
pub(super) fn write(directory: &Path, name: &str) -> Result<(), Failure> {
    let authority = authority(name).map_err(Failure::new)?;
    let key = KeyPair::generate().map_err(Failure::new)?;
    let gateway = gateway(name).map_err(Failure::new)?;
    let certificate = gateway.signed_by(&key, &authority).map_err(Failure::new)?;
    for (file, text) in [
        ("authority.pem", authority.pem()),
        ("gateway.pem", certificate.pem()),
        ("gateway.key", key.serialize_pem()),
    ] {
        let path = directory.join(file);
        std::fs::write(&path, text)
            .map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    let called = format!("Authority of {name}");
    params.distinguished_name.push(DnType::CommonName, called);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// A gateway answers and asks, so its certificate is a server's and a client's.
fn gateway(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    params.subject_alt_names.push(SanType::IpAddress(here));
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}
