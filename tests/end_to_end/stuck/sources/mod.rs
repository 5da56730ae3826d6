//! Slow, broken and busy sources.

mod breaker;
mod crossings;
mod repairs;
mod seats;
mod slow;
