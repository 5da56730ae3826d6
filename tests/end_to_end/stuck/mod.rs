//! Nobody, no object and no source takes the gateway away from others.

mod breaker;
mod crossings;
mod documents;
mod lists;
mod repairs;
mod seats;
mod silence;
mod slow_sources;
mod uploads;
