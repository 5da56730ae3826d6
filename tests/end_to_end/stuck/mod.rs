//! Availability: no client, object or source blocks the gateway for others.

mod documents;
mod ends;
mod files;
mod forgotten;
mod heads;
mod lists;
mod memory;
mod sandbox;
mod silence;
mod sources;
mod turns;
mod uploads;
