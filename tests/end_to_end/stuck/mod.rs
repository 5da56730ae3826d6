//! Nobody, no object and no source takes the gateway away from others.

mod breaker;
mod crossings;
mod documents;
mod ends;
mod files;
mod forgotten;
mod heads;
mod lists;
mod memory;
mod repairs;
mod seats;
mod silence;
mod slow_sources;
mod turns;
mod uploads;
