//! Nobody, no object and no source takes the gateway away from others.

mod documents;
mod ends;
mod files;
mod forgotten;
mod heads;
mod lists;
mod memory;
mod silence;
mod sources;
mod turns;
mod uploads;
