//! The proxy as a whole: the real program, real sockets, real certificates. One test, one behaviour.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `handshake` | what TLS lets through, and what a refused client is told |
//! | `support` | certificates, the proxy, clients and stand-ins for noded |

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test both are what one wants"
)]

mod handshake;
mod support;
