//! What Ganeti keeps on this node, read into values. Nothing here judges, and nothing here writes Ganeti's files.

pub mod files;
pub mod flaw;
pub mod sockets;
pub mod ssconf;
