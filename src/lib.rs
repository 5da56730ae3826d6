#![doc = include_str!("../docs/ARCHITECTURE.md")]

pub mod manifest;
pub mod multipart;
pub mod ihe;
pub mod dicom;
