//! Which SSH keys `ssh-keys` may take away, and which it never touches.
//!
//! Pure: [`plan`] is a function from a [`Scene`] to what is done on each node. A line of
//! `authorized_keys` is removed only with a proof that its key was a node's and is none any more.
//! What other nodes say is hostile: it proves something about their own keys alone.
//!
//! ```text
//!   fingerprint  a key, by the SHA-256 of its public half
//!   sight        what one node says of its keys
//!   scene        the cluster, and what all its nodes say
//!   line         one authorized key: kept, removed with a proof, or told
//!   backups      private halves that were put aside
//!   plan         all nodes, and what keeps a node or the cluster from being changed
//!   veto         what a node itself refuses to remove
//!   jobs         which jobs of Ganeti change keys
//!   pairs        clusters whose keys Ganeti does not manage: who has which private half
//! ```

mod backups;
mod fingerprint;
pub mod jobs;
mod line;
pub mod pairs;
mod plan;
mod scene;
pub mod sight;
mod veto;

pub use backups::{Backup, Fate};
pub use fingerprint::Fingerprint;
pub use line::{Kept, Proof, Verdict};
pub use plan::{Node, Plan, plan};
pub use scene::{Scene, Wishes};
pub use veto::veto;

#[cfg(test)]
mod tests;
