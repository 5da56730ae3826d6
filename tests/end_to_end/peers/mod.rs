//! Software of others against the gateway: Orthanc, pydicom, dcmtk, clients in Python, OHIF, Weasis.

mod clients;
mod grid;
mod orthanc;
mod orthanc_communities;
mod real_files;
mod viewers;
mod viewers_by_kind;
mod weasis;
