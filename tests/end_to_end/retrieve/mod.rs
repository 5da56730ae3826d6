//! Retrieving what a manifest selects.

mod clients;
mod locations;
mod look_ahead;
mod negotiation;
mod selection;
