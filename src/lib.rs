#![doc = include_str!("../docs/ARCHITECTURE.md")]

// In the order in which a request passes them. A module imports only from modules declared below
// it; tests/architecture.rs enforces this. The empty lines keep rustfmt from sorting.
pub mod cli;

#[cfg(feature = "demo")]
pub mod demo;

pub mod start;

pub mod config;

pub mod server;

pub mod gateway;

pub mod access;

pub mod derive;

pub mod request;

pub mod library;

pub mod manifest;

pub mod community;

pub mod retrieve;

pub mod cache;

pub mod source;

pub mod present;

pub mod rewrite;

pub mod multipart;

pub mod credentials;

pub mod metrics;

pub mod search;

pub mod object;

pub mod pixels;

pub mod instance;

pub mod hop;

pub mod body;

pub mod resource;

pub mod budget;

pub mod digest;

pub mod random;

pub mod network;

pub mod ihe;

pub mod dicom;
