//! The gateway as its users meet it: over HTTP and on the command line, in front of real servers,
//! most of which misbehave.

mod commands;
mod limits;
mod manifests;
mod misbehaving;
mod negotiation;
mod origin;
mod orthanc;
mod retrieve;
mod rig;
mod study;
mod sub_resources;
mod tls;
