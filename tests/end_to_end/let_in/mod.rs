//! Issue 13, letter C: let in.

mod events;
mod heads;
mod hosts;
mod origins;
