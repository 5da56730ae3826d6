//! Software of others against the gateway: Orthanc, pydicom, dcmtk, dicomweb-client, OHIF.

pub(crate) mod orthanc;
mod orthanc_communities;
pub(crate) mod readers;
mod viewers;
