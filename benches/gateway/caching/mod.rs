//! The cache, next to nginx as a cache.

pub(crate) mod cold;
pub(crate) mod keeping;
pub(crate) mod memory;
pub(crate) mod stalled;
pub(crate) mod together;
pub(crate) mod viewer;
pub(crate) mod warm;
