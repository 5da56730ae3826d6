//! Issue 13, letter C: let in.

mod certificates;
mod events;
mod heads;
mod hosts;
mod origins;
mod resolution;
