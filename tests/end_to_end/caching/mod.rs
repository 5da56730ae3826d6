//! The cache of instances, and caches in front of the gateway.

mod freshness;
mod http_caching;
mod kill;
mod shared;
