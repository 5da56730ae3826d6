//! Integrity: no client receives wrong bytes in a response that looks complete.

mod conflicts;
mod damaged_files;
mod disagreements;
mod keys;
mod nothing_kept;
mod patients;
mod promised;
mod tags;
mod whole;
