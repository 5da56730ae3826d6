//! Connections at the edge: TLS, trusted proxies, limits.

mod limits;
mod proxies;
mod reload;
mod tls;
