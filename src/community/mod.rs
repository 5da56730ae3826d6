//! Where it is: what a manifest says of a series' place becomes a configured source.
//!
//! The registry is the allow-list. A Retrieve URL only *selects* a location whose address it lies
//! under; nothing else happens with it, and nobody ever dials it.

mod address;
mod registry;

pub use address::{Address, NotAnAddress};
pub use registry::{Error, LocationSettings, Offer, Registry, Via};
