//! The road of an RPC, from the TCP connection to noded and back. It admits nobody by itself: `rules` decides.
//!
//! [`connection`] and [`rpc`] call the other rooms in turn; those do not call each other.

pub mod connection;
pub mod http;
pub mod listener;
pub mod overload;
pub mod public;
pub mod rpc;
mod settings;
pub mod shared;
pub mod upstream;
pub mod workers;

pub use settings::Settings;
