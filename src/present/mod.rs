//! What is answered: a stream of instances becomes the bytes of an answer. Pure.

mod instances;

pub use instances::{Presented, multipart, single};
