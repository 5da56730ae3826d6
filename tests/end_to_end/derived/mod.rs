//! Resources made of instances, or passed on from a source that offers them.

pub(crate) mod metadata;
mod offered;
