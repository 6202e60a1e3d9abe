//! Who may command a Ganeti node daemon, and what: pure values and functions, and nothing else.
//!
//! No file, socket, process, clock or C library is ever named here: Cargo.toml and clippy.toml
//! forbid it. So a rule can be read, tested and fuzzed alone, in seconds.
//!
//! ```text
//!   identity   a certificate's digest, and what is known of a peer
//!   dn         distinguished names as encoded bytes
//!   candidates the candidate map: text to a value that cannot be wrong
//!   admission  from the state of the map file to who is admitted; the latch on the bootstrap phase
//!   authz      the rule: may this peer command noded now?
//!   arguments  a call's body, read as noded reads it or not at all
//!   procedures what is known of Ganeti's procedures
//!   master     who is master, and which caller has its rights
//!   noded      whose sockets noded's may be
//!   guard      does the guard of noded's port hold, by what it says of itself?
//!   policy     which procedures an admitted candidate may call, and with which arguments
//!   succession may a process that was replaced pass on what it has begun?
//!   verify     what is wrong with a node, by what was read of it
//!   ssh_keys   which SSH keys may be taken away, and which never
//!   shown      texts of strangers, cut and escaped: names of certificates
//!   names      closed lists with names: what labels and other words for programs are made of
//! ```

pub mod admission;
pub mod arguments;
pub mod authz;
pub mod candidates;
pub mod dn;
pub mod guard;
pub mod identity;
pub mod master;
pub mod names;
pub mod noded;
pub mod policy;
pub mod procedures;
pub mod shown;
pub mod ssh_keys;
pub mod succession;
pub mod verify;

pub use names::Named;
