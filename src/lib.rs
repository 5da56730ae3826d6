#![doc = include_str!("../docs/ARCHITECTURE.md")]

// In the order in which a request meets them. A module imports only from modules declared below
// it; tests/architecture.rs holds everybody to that.
pub mod body;
pub mod cli;
pub mod community;
pub mod config;
pub mod dicom;
pub mod gateway;
pub mod ihe;
pub mod instance;
pub mod manifest;
pub mod metrics;
pub mod multipart;
pub mod present;
pub mod request;
pub mod retrieve;
pub mod server;
pub mod source;
