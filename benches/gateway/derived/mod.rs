//! Resources made of instances.

pub(crate) mod frames;
pub(crate) mod large_object;
pub(crate) mod metadata;
mod object;
pub(crate) mod ohif;
mod paging;
