//! What Ganeti keeps on this node, read into values. Nothing here judges what it reads, and nothing
//! here ever writes Ganeti's files.

pub(crate) mod addresses;
pub mod config_data;
pub mod directory;
pub mod files;
pub mod flaw;
pub mod jobs;
pub mod rapi;
pub mod reading;
pub mod sockets;
pub mod ssconf;
pub mod ssh;
pub mod tree;
