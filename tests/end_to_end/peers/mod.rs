//! Software of others against the gateway: Orthanc, pydicom, dcmtk, clients in Python, OHIF, Weasis, an
//! OpenID Provider.

mod browser;
mod clients;
mod grid;
mod login;
mod orthanc;
mod orthanc_communities;
pub(crate) mod provider;
mod real_files;
mod tokens;
mod viewers;
mod viewers_by_kind;
mod weasis;
