//! Section `[upstream]`: how the local node daemon is reached. It never connects to anything.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::problem::{Checks, Problem};
use super::value::duration;

/// Where noded is moved to. Only root may listen on a port below 1024, so nobody can stand there in
/// noded's place while it is down. IANA has given this one to nobody, and below 512 no client of
/// RPC services (NFS, NIS) takes its own port from.
pub const NODED_PORT: u16 = 298;

/// Section `[upstream]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Address of noded.
    pub address: SocketAddr,
    /// Speak TLS to noded: show `server.pem` and accept only `server.pem`.
    pub tls: bool,
    /// Connections to noded at a time; at most noded's own `--max-clients`.
    pub max_clients: usize,
    /// Of these, kept for procedures whose client waits a minute at most; by default a fifth.
    pub fast_slots: Option<usize>,
    /// Where the guard of noded's port says that it holds.
    pub guard: Guard,
    /// Open connections to noded in advance while RPCs arrive.
    pub warm: Warm,
    /// Requests that may wait for a slot.
    pub queue_length: usize,
    /// Longest wait for a slot; the client's own time limit for the procedure bounds it too.
    #[serde(deserialize_with = "duration")]
    pub queue_timeout: Duration,
    /// Time for the TCP connection (and TLS handshake) to noded.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// Time without progress while a request is sent to noded.
    #[serde(deserialize_with = "duration")]
    pub send_timeout: Duration,
}

/// Whether connections to noded are opened in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Warm {
    /// As many as the recent rate of RPCs is worth, none when no RPC arrives
    #[default]
    Auto,
    /// None
    Off,
}

/// How it is known that the guard of noded's port holds. It is watched for noded without TLS alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// This file of the guard's says so.
    Says(PathBuf),
    /// Nobody looks.
    Off,
}

impl From<String> for Guard {
    fn from(text: String) -> Self {
        match text.as_str() {
            "off" => Self::Off,
            path => Self::Says(path.into()),
        }
    }
}

impl<'de> Deserialize<'de> for Guard {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(from)?.into())
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], NODED_PORT)),
            tls: false,
            max_clients: 20,
            fast_slots: None,
            guard: Guard::Says("/run/noded-proxy-guard/state".into()),
            warm: Warm::Auto,
            queue_length: 1024,
            queue_timeout: Duration::from_secs(900),
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(60),
        }
    }
}

impl UpstreamConfig {
    /// Slots that are kept for the fast lane.
    pub fn fast_slots(&self) -> usize {
        self.fast_slots.unwrap_or(self.max_clients / 5)
    }

    /// What is wrong with the values, for a proxy that listens at `listen`.
    pub(super) fn problems(&self, listen: &[SocketAddr]) -> Vec<Problem> {
        let mut checks = Checks::of("upstream.");
        let (address, most) = (self.address, self.max_clients);
        let ourselves = address.port() != 0 && listen.contains(&address);
        let expected = "another address than listen's own";
        checks.expect("address", address, !ourselves, expected);
        let expected = "a port other than 0";
        checks.expect("address", address, address.port() != 0, expected);
        if let Guard::Says(path) = &self.guard {
            let expected = "an absolute path, or \"off\"";
            checks.expect("guard", path.display(), path.is_absolute(), expected);
        }
        let good = (1..=10_000).contains(&most);
        checks.expect("max_clients", most, good, "1 to 10000");
        let fast = self.fast_slots();
        let expected = "less than upstream.max_clients";
        checks.expect("fast_slots", fast, fast < most.max(1), expected);
        checks.at_least_1("queue_length", self.queue_length);
        checks.time_limit("connect_timeout", self.connect_timeout);
        checks.time_limit("send_timeout", self.send_timeout);
        checks.time_limit("queue_timeout", self.queue_timeout);
        checks.done()
    }
}
