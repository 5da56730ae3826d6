//! A request line and its header fields become a typed request. Pure.

pub mod accept;
pub mod accept_bulk;
mod error;
pub mod link;
mod listing;
pub mod passed;
mod query;
mod registration;
pub mod rendering;
mod resource;
mod search;
pub mod wado_uri;
pub mod xc_wado;

pub use accept::{Acceptable, MetadataForm, Payload};
pub use accept_bulk::BulkAcceptable;
pub use error::Error;
pub use link::LinkPath;
pub use listing::{MOST_LISTED, Page, page};
pub use registration::registration;
pub use rendering::Rendered;
pub use resource::{Grammar, Resource, Root, Viewer, XcWadoPath};
pub use search::{ParsedQuery, Scope, search};
pub use xc_wado::XcWado;
