//! Locations: a location in a manifest or request selects a configured source, of our own community
//! or behind another community's gateway.
//!
//! The registry is the allow-list. A Retrieve URL only *selects* a location by its address; the
//! gateway never dials it.

mod address;
mod location;
mod offers;
mod other;
mod problem;
mod registry;
mod remedy;

pub use address::{Address, NotAnAddress};
pub use location::LocationSettings;
pub use offers::{Offered, Offers};
pub use other::{Community, CommunitySettings};
pub use problem::Problem;
pub(crate) use problem::Problems;
pub use registry::{NotLocated, Registry, Settings, Site, Via};
pub use remedy::{Owner, Remedy, Step};
