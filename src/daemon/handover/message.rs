//! What the two processes tell each other: one JSON document a line, each once, in this order:
//! [`Offer`], [`Verdict`], [`TakeOver`]. After that the old one sends a byte for each slot that it
//! is done with, and the new one may send [`GIVEN`], [`SUPERSEDED`] and [`DRAIN`]. No message ever
//! has a key or a request in it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::descriptors;
use rules::succession::InForce;

/// The old process is done with a slot.
pub(super) const SLOT: u8 = b's';
/// The new process is stopped: the old one has the drain timeout from now on.
pub(super) const DRAIN: u8 = b'd';

/// A slot for the old process, which has none for a request that waits or may come.
pub(super) const GIVEN: u8 = b'g';
/// Another main process judges by other rules: what noded has not got yet is not passed any more.
pub(super) const SUPERSEDED: u8 = b'r';

/// From the old process, with the descriptors: public sockets, admin socket, links to its own
/// predecessors, and a file with what it remembers. Fields may be added: the two may be of different
/// versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    /// Number of public sockets.
    pub(super) listeners: usize,
    /// The addresses that they were opened for, as configured.
    pub(super) listen: Vec<SocketAddr>,
    /// They are systemd's.
    pub(super) of_systemd: bool,
    /// The configured address of the admin socket, if it is there.
    pub(super) admin: Option<SocketAddr>,
    /// To which of its predecessors each link leads: their process IDs.
    pub(super) links: Vec<u32>,
    /// Handovers that were tried until now, this one among them.
    pub(super) attempt: u64,
    /// The last descriptor is a file with what the old process remembers.
    #[serde(default)]
    pub(super) bequest: bool,
    /// The socket `control` is the old process's, and becomes the new one's.
    #[serde(default = "always")]
    pub(super) control: bool,
}

/// A version that does not say so takes it in any case.
fn always() -> bool {
    true
}

/// From the new process, or in its place from the spawner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It can serve.
    Ready {
        /// Its process ID.
        pid: u32,
        /// The rules that it judges by, as [`InForce`] of its version has them.
        #[serde(default)]
        rules: Option<serde_json::Value>,
    },
    /// It cannot, and ends.
    Failed(String),
}

/// From the old process: the new one serves from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TakeOver {
    /// Who still holds slots, the sender among them. One that has ended since the offer is missing.
    pub(super) predecessors: Vec<Holds>,
}

/// A process that was replaced and still serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Its process ID.
    pub pid: u32,
    /// Connections to noded that it may still use; about as many RPCs run there.
    pub slots: usize,
    /// It has none for a request that waits there, or may come.
    #[serde(default)]
    pub lacks_slot: bool,
    /// Seconds since it was replaced, when this is told; a version that does not say it: none.
    #[serde(default)]
    pub replaced_seconds_ago: u64,
}

/// Rules in the form in which they are told.
pub(super) fn told(rules: &InForce) -> Option<serde_json::Value> {
    serde_json::to_value(rules).ok()
}

pub(super) fn write(link: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(message).map_err(io::Error::other)?;
    descriptors::send(link, &line, &[])
}

pub(super) fn read<T: DeserializeOwned>(link: &UnixStream) -> io::Result<Option<T>> {
    match descriptors::receive(link)? {
        Some((line, _)) => serde_json::from_str(&line)
            .map(Some)
            .map_err(io::Error::other),
        None => Ok(None),
    }
}
