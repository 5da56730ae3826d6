//! Software of others against the gateway: Orthanc, pydicom, dcmtk, dicomweb-client, OHIF.

mod grid;
mod orthanc;
mod orthanc_communities;
mod real_files;
mod viewers;
