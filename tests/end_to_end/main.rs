//! The gateway as its users meet it: over HTTP and on the command line, in front of real servers,
//! most of which misbehave.

mod addresses;
mod attacks;
mod authority;
mod cache;
mod commands;
mod communities;
mod damage;
mod derived;
mod detour;
mod disclosure;
mod freshness;
mod http_caching;
mod kill;
mod limits;
mod look_ahead;
mod loops;
mod manifests;
mod misbehaving;
mod negotiation;
mod origin;
mod orthanc;
mod orthanc_communities;
mod partners;
mod program;
mod refusals;
mod reload;
mod repair;
mod retrieve;
mod rig;
mod search;
mod study;
mod sub_resources;
mod tls;
mod tls_client;
mod xc_wado;
