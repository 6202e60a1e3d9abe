//! Changes the SSH keys of this node: lines of `authorized_keys`, and its own pair. All is put back
//! unless somebody proves in time that the node can still be reached. It decides nothing:
//! [`rules::ssh_keys`] says what goes and what comes.
//!
//! ```text
//!   lines   a file without some of its keys, byte for byte
//!   place   replaces a file whole, in its real directory
//!   kept    the directory with the lock, the backups and what waits for its proof
//!   pair    the files of this node's own pair
//!   staged  a pair that waits, and what was decided for all nodes
//!   change  changes, undoes, keeps
//! ```

pub mod change;
pub mod kept;
mod lines;
pub mod pair;
mod place;
pub mod staged;
