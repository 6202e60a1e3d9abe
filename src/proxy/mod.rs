//! The road of an RPC, from the TCP connection to noded and back. It admits nobody by itself:
//! `rules` decides.
//!
//! The way of a connection: [`listener`] accepts it and hands it over. [`connection`] tells its
//! life: a place ([`overload`]), a worker ([`workers`]), the handshake, its requests. [`rpc`] tells
//! the life of each request: check ([`http`]), call ([`upstream`]), log. Only `connection` and
//! `rpc` call the other rooms; those do not call each other, except that `upstream` uses the bodies
//! of `http`.

pub mod connection;
pub mod http;
pub mod listener;
mod metrics;
pub mod overload;
pub mod reason;
pub mod refusals;
pub mod rpc;
mod settings;
pub mod shared;
pub mod upstream;
pub mod workers;

pub use metrics::Metrics;
pub use settings::Settings;
