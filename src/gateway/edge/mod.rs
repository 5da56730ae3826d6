//! The edge of HTTP: everything that holds for a request before its transaction is known, and for
//! every response.

pub(crate) mod conditional;
pub(crate) mod cors;
pub(crate) mod exchange;
pub(crate) mod forwarded;
pub(crate) mod hosts;
pub(crate) mod link;
pub(crate) mod observe;
pub(crate) mod per_client;
pub(crate) mod response;
pub(crate) mod upload;
