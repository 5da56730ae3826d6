//! What is asked: a request line and its header fields become a typed request. Pure.

pub mod accept;
mod resource;
pub mod xc_wado;

pub use accept::{Acceptable, Payload};
pub use resource::{Error, Grammar, Resource, Root, XcWadoPath, registration};
pub use xc_wado::XcWado;
