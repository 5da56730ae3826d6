#![doc = include_str!("../docs/ARCHITECTURE.md")]

pub mod dicom;
pub mod ihe;
pub mod manifest;
pub mod multipart;
