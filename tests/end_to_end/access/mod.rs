//! Who may see what: rules, links, and what clients learn that may not see something.

mod examples;
mod links;
mod matrix;
mod rules;
mod timing;
pub(crate) mod tokens;
