//! The gateway under test, the servers and clients around it, and the studies that they exchange.

pub(crate) mod authority;
mod client;
pub(crate) mod communities;
pub(crate) mod detour;
mod gateway;
pub(crate) mod origin;
pub(crate) mod orthanc;
pub(crate) mod pixels;
pub(crate) mod program;
pub(crate) mod study;
pub(crate) mod tls_client;
pub(crate) mod tools;

pub(crate) use client::{
    AS_STORED, Answer, Broken, End, Stream, connect_as, open, open_as, rad_160, raw_status,
    request, sorted, try_open,
};
pub(crate) use gateway::{Bound, HERE, Registered, Rig, bind};
