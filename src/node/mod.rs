//! What Ganeti keeps on this node, read into values. Nothing here judges what it reads, and nothing
//! here ever writes Ganeti's files.

pub(crate) mod addresses;
pub mod directory;
pub mod files;
pub mod flaw;
pub mod sockets;
pub mod ssconf;
