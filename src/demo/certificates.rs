//! The certificates of the demonstration: each community has its own authority, which signs one
//! certificate for the community's gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::start::Failure;

/// Writes `authority.pem`, `gateway.pem` and `gateway.key` into a directory; the certificate is
/// valid for the gateway's name and for the loopback address.
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
    let common_name = format!("Authority of {name}");
    let subject = &mut params.distinguished_name;
    subject.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// A gateway is a server and a client, so its certificate is valid for both.
fn gateway(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let names = &mut params.subject_alt_names;
    names.push(SanType::IpAddress(loopback));
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}
