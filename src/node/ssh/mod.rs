//! Root's SSH keys, and Ganeti's list of all nodes' keys, read into values.
//!
//! The crate `ssh-key` reads keys. The lines of `authorized_keys` are taken apart here in the way
//! of sshd: that crate takes a `#` inside a line for a comment and knows no blank inside an option,
//! so it would overlook keys that open the door. Nothing here keeps a private key.

pub mod authorized;
pub mod keys;
pub mod pub_keys;
pub mod sshd;

/// Bad lines of one file that are told.
const MOST_BAD_LINES: usize = 100;
