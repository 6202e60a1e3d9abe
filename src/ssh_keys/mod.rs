//! Changes the SSH keys of this node: takes lines out of `authorized_keys`, and puts them back unless
//! somebody proves in time that the node can still be reached. It decides nothing:
//! [`rules::ssh_keys`] says which lines go.
//!
//! ```text
//!   lines   a file without some of its keys, byte for byte
//!   place   replaces a file whole, in its real directory
//!   kept    the directory with the lock, the backups and what waits for its proof
//!   change  removes, undoes, keeps
//! ```

pub mod change;
pub mod kept;
mod lines;
mod place;
