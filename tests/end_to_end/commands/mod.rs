//! The commands of the program.

mod check;
mod demo;
mod fetch;
mod privacy;
pub(crate) mod process;
mod usage;
