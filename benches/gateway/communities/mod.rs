//! Two gateways in a row.

pub(crate) mod border;
pub(crate) mod cold_border;
pub(crate) mod crowd;
pub(crate) mod dead_community;
pub(crate) mod two_gateways;
