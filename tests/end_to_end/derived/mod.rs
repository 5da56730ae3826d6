//! Resources made of instances, or passed on from a source that offers them.

mod case;
mod frames;
mod metadata;
mod offered;
mod rendered;
