//! The gateway from outside: over HTTP and on the command line, in front of real servers, most of
//! which misbehave.

mod access;
mod caching;
mod cases;
mod commands;
mod communities;
mod derived;
mod edge;
mod let_in;
mod manifests;
mod peers;
mod retrieve;
mod rig;
mod sources;
mod stuck;
mod wrong_bytes;
