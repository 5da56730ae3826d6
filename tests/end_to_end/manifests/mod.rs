//! Manifests: registration, search, and the root over all of them.

mod everything;
mod registration;
mod search;
