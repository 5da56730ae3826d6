//! The commands of the program.

mod check;
mod demo;
mod fetch;
mod privacy;
mod process;
mod usage;
