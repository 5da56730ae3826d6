//! Where it is: what a manifest or a request says of a place becomes a configured source, of our
//! own community or behind another one's gateway.
//!
//! The registry is the allow-list. A Retrieve URL only *selects* a location whose address it lies
//! under; nothing else happens with it, and nobody ever dials it.

mod address;
mod location;
mod other;
mod problem;
mod registry;

pub use address::{Address, NotAnAddress};
pub use location::{LocationSettings, Offered};
pub use other::{Community, CommunitySettings};
pub use problem::Problem;
pub(crate) use problem::Problems;
pub use registry::{NotLocated, Registry, Settings, Site, Via};
