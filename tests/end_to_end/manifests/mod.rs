//! Manifests: registration, search, and the root over all of them.

mod everything;
mod refused;
mod registration;
mod search;
