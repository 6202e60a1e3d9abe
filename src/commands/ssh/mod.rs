//! How a command reaches other nodes: who they are, by ssconf, and one bounded ssh call for each.
//!
//! A node may be hostile: what it says is bounded in bytes and in time, and nothing of it is shown
//! as it came. Every command that asks nodes does it through here.

mod bounded;
pub(crate) mod call;
pub(crate) mod each;
pub(crate) mod interrupt;
pub(crate) mod members;
mod program;
