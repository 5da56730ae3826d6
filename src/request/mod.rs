//! What is asked: a request line and its header fields become a typed request. Pure.

pub mod accept;
mod resource;

pub use accept::{Acceptable, Payload};
pub use resource::{Error, Resource, Root, registration};
