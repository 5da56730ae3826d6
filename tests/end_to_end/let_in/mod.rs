//! Clients that the gateway admits: by host, origin, certificate and request head.

mod certificates;
mod events;
mod heads;
mod hosts;
mod origins;
mod resolution;
mod revocation;
