//! Connections at the edge: TLS, trusted proxies, limits, rests.

mod limits;
mod proxies;
mod reload;
mod resting;
mod staples;
mod tls;
