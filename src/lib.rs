//! noded-proxy: mutual TLS in front of Ganeti's node daemon; only master candidates get through.
//!
//! ```text
//!    main -> cli -> config -> server             builds the parts, owns their lifetime
//!
//!    listener -> tls -> identity -> authz -> http -> upstream
//!                 ^                  ^            connection.rs and rpc.rs call them in turn
//!               trust  <-  candidates             swapped whole at run time
//!
//!    shared   metrics   admin   systemd   logging     side rooms: they serve all
//! ```
//!
//! Read [`connection`] first: it tells the life of one connection, and [`rpc`] that of one RPC. The security
//! of it all sits in [`identity`], [`authz`] and [`candidates`], which are pure.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cli`] | what was typed |
//! | [`config`] | what it means |
//! | [`server`] | binds, builds the parts, runs them, reacts to signals, drains |
//! | [`listener`] | the accept loop |
//! | [`workers`] | a thread and an event loop for each processor, and which connection goes where |
//! | [`overload`] | who goes first when there are more callers than room |
//! | [`connection`] | one connection's life |
//! | [`rpc`] | one RPC's life |
//! | [`tls`] | acceptor, connector and handshakes; the only room that names OpenSSL |
//! | [`identity`], [`dn`] | digests and peer identities; distinguished names as encoded bytes |
//! | [`authz`] | the rule |
//! | [`candidates`] | candidate map and the latch on the bootstrap phase |
//! | [`sightings`] | which certificate was seen from which node |
//! | [`trust`] | the snapshot that decides, its files, its reload |
//! | [`http`] | what a request must be, bodies, refusals |
//! | [`upstream`] | slots and exchanges with noded |
//! | [`policy`] | which procedures an admitted candidate may call |
//! | [`procedures`] | what is known of Ganeti's procedures |
//! | [`shared`] | the handles that connections share |
//! | [`metrics`], [`admin`] | the numbers, and the listener that shows them |
//! | [`sandbox`] | what the process may still do once it runs |
//! | [`systemd`], [`logging`] | readiness and watchdog; the tracing subscriber |
//! | [`certs`], [`explain`], [`reset`], [`check`], [`demo`], [`print`](mod@print) | the other subcommands |

pub mod admin;
pub mod authz;
pub mod candidates;
pub mod certs;
pub mod check;
pub mod cli;
pub mod config;
pub mod connection;
pub mod demo;
pub mod dn;
pub mod explain;
pub mod http;
pub mod identity;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod overload;
pub mod policy;
pub mod print;
pub mod procedures;
pub mod reset;
pub mod rpc;
pub mod sandbox;
pub mod server;
pub mod shared;
pub mod sightings;
pub mod systemd;
pub mod tls;
pub mod trust;
pub mod upstream;
pub mod workers;
