//! What is asked: a request line and its header fields become a typed request. Pure.

pub mod accept;
pub mod accept_bulk;
mod listing;
pub mod rendering;
mod resource;
mod search;
pub mod wado_uri;
pub mod xc_wado;

pub use accept::{Acceptable, MetadataForm, Payload};
pub use accept_bulk::BulkAcceptable;
pub use listing::{MOST_LISTED, Page, page};
pub use rendering::Rendered;
pub use resource::{Error, Grammar, Resource, Root, Viewer, XcWadoPath, registration};
pub use search::{Parsed, Scope, search};
pub use xc_wado::XcWado;
