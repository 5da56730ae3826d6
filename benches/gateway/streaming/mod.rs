//! Streaming from a source, and the manifests that this needs.

pub(crate) mod first_byte;
pub(crate) mod manifest_size;
pub(crate) mod memory;
pub(crate) mod throughput;
pub(crate) mod whole;
