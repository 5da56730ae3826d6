//! Starting servers, sending requests, and measuring cost.

pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod cost;
pub(crate) mod nginx;
pub(crate) mod pair;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod settings;
pub(crate) mod usage;
