//! One answer: instances are fetched, and given to its reader at the pace of that reader.

pub(crate) mod delivery;
pub(crate) mod progress;
pub(crate) mod relay;
pub(crate) mod worker;
