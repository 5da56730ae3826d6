//! Resources derived from instances, or passed through from a source that offers them.

mod auto;
mod case;
mod frames;
mod metadata;
mod offered;
mod one_bad;
mod paging;
mod rendered;
mod syntaxes;
