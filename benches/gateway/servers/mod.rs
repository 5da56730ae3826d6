//! Servers that this program starts itself as.

pub(crate) mod faulty;
pub(crate) mod forwarder;
pub(crate) mod origin;
pub(crate) mod plain;
