//! The commands of the program.

mod usage;
