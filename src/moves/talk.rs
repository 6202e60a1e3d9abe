//! What the two processes of one end say to each other: the one that was started by noded and runs
//! the commands, and the one that talks TLS. Lines of JSON. Pure.
//!
//! The channel's process is the one that a hostile peer may have taken over. Its words are read
//! strictly, and none of them is ever run.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::account::Ended;

/// Longest line.
pub const LONGEST: usize = 1 << 20;

/// Everything that the channel's process needs. It opens no file itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Key of this end, PEM.
    pub key: String,
    /// Certificate of this end, PEM.
    pub cert: String,
    /// The peer's certificate, PEM.
    pub ca: String,
    /// The tool's name, as Ganeti gave it.
    pub compress: String,
    /// The word at the start.
    pub magic: Option<String>,
    /// Which way.
    pub road: Road,
}

/// Which way the data go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Road {
    /// Listens and receives.
    Import {
        /// Where it listens.
        listen: SocketAddr,
        /// What Ganeti's exporter may call this node.
        names: BTreeSet<String>,
    },
    /// Calls and sends.
    Export {
        /// Whom it calls; all addresses of the peer's name.
        peers: Vec<SocketAddr>,
        /// From where.
        bind: Option<IpAddr>,
        /// How often it tries again.
        retries: u32,
        /// Seconds for one try.
        timeout: u64,
    },
}

/// To the channel's process, after the [`Setup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// The command succeeded: the data are whole, or were taken.
    Good,
    /// It failed. Why.
    Bad(String),
}

/// From the channel's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It listens on this port.
    Listens(u16),
    /// A line for `recent_output`.
    Says(String),
    /// So many verified peers are connected.
    Verified(usize),
    /// The transfer begins: this is the peer, and whether it is one of this program.
    Begins {
        /// Its address.
        peer: IpAddr,
        /// Whether it checks the trailer, too.
        ours: bool,
    },
    /// So many bytes, of the stream without compression, after so many milliseconds.
    Progress {
        /// Bytes.
        bytes: u64,
        /// Milliseconds.
        after: u64,
    },
    /// Everything was read from, or written to, the command, and what came from the peer is whole.
    /// It waits for a [`Word`].
    Whole,
    /// It is done; what went wrong, if something did.
    Ends(Option<String>),
}

/// From the process that runs the commands to the one that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passed {
    /// So many bytes so far.
    Bytes(u64),
    /// It has ended.
    Ended(Ended),
}

/// As a line.
pub fn line(what: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(what).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let says = Event::Says("one\ntwo".into());
        let text = line(&says);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Event>(&text).unwrap(), says);
    }
}
