//! Retrieving what a manifest selects.

mod look_ahead;
mod negotiation;
mod selection;
