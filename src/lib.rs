//! noded-proxy: mutual TLS in front of Ganeti's node daemon; only master candidates get through.
//!
//! Each folder may use those below it, never those above. `tests/architecture.rs` checks every
//! `use` line.
//!
//! ```text
//!   main
//!   commands    one file or folder for each subcommand; thin views on what is below
//!   daemon      builds the parts and runs them; shows what a running proxy knows
//!   config      flags and file to a `Config` that cannot be wrong, and from there to each part's settings
//!   proxy       the road of an RPC: listener, workers, overload, connection, rpc, http, upstream
//!   verify      looks at a node, or a recorded tree of one
//!   moves       disk transfers: the channel between two nodes, and what Ganeti asks of it
//!   ssh_keys    changes root's SSH keys on this node
//!   trust       the snapshot that decides, its reload, its state on disk
//!   tls         the only folder that names OpenSSL
//!   node        what Ganeti keeps on this node, read into values
//!   metrics     makes the metric handles; each folder has its own
//!   rules       a package of its own: who may do what, pure
//! ```
//!
//! Read [`proxy::connection`] first: it tells the life of one connection, and [`proxy::rpc`] that
//! of one RPC. What decides is in [`rules::authz`], [`rules::candidates`] and [`rules::admission`].

pub mod commands;
pub mod config;
pub mod daemon;
pub mod metrics;
pub mod moves;
pub mod node;
pub mod proxy;
pub mod ssh_keys;
pub mod tls;
pub mod trust;
pub mod verify;
