//! Starting servers, asking them, and measuring their cost.

pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod cost;
pub(crate) mod pair;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod settings;
