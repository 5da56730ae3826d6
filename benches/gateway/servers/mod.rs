//! Servers that this program runs as processes of their own.

pub(crate) mod faulty;
pub(crate) mod forwarder;
pub(crate) mod origin;
pub(crate) mod plain;
