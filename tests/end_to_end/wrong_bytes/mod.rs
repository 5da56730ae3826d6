//! Bytes that are not what they are given as never reach a client as if they were whole.

mod conflicts;
mod damaged_files;
mod disagreements;
mod keys;
mod nothing_kept;
mod promised;
mod tags;
mod whole;
