//! What Ganeti keeps on this node, read into values. Nothing here judges what it reads, and nothing
//! here ever writes Ganeti's files.

pub(crate) mod files;
pub(crate) mod sockets;
pub(crate) mod ssconf;
