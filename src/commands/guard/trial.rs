//! Rules that can be loaded may still be wrong: whoever listens on noded's port is tried as nobody.
//! It never takes an address that noded could want.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::commands::as_nobody::{self, Attempt};
use crate::node::sockets;

/// Where it is tried before anybody listens: on a socket of our own.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 11, 8, 11);

pub(super) struct Trial {
    port: u16,
    /// What listens, and has been tried.
    tried: BTreeSet<SocketAddr>,
}

impl Trial {
    /// The first one.
    pub(super) fn begin(port: u16) -> Result<Self, String> {
        let elsewhere = SocketAddr::from((ELSEWHERE, port));
        // If it is taken, noded has all addresses, and is tried itself.
        if let Ok(_ours) = TcpListener::bind(elsewhere) {
            as_nobody(elsewhere)?;
        }
        let mut trial = Self {
            port,
            tried: BTreeSet::new(),
        };
        trial.again()?;
        Ok(trial)
    }

    /// Tries what listens now and did not before.
    pub(super) fn again(&mut self) -> Result<(), String> {
        let sockets = sockets::listening().unwrap_or_default(); // the proxy tells of that fault
        let bound = sockets.iter().map(|socket| socket.address);
        let on_port = bound.filter(|address| address.port() == self.port);
        let now: BTreeSet<SocketAddr> = on_port.flat_map(reached_at).collect();
        self.tried.retain(|address| now.contains(address));
        for address in now {
            if self.tried.insert(address) {
                as_nobody(address)?;
            }
        }
        Ok(())
    }
}

/// Where this machine's users reach a socket that is bound to this address.
fn reached_at(bound: SocketAddr) -> Vec<SocketAddr> {
    let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let reached: Vec<IpAddr> = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![four],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![six, four],
        ip => vec![ip],
    };
    let port = bound.port();
    reached.into_iter().map(|ip| (ip, port).into()).collect()
}

fn as_nobody(address: SocketAddr) -> Result<(), String> {
    match as_nobody::connect(address) {
        Attempt::Refused => Ok(()),
        Attempt::Accepted => Err(format!(
            "the rules are loaded and let the user nobody connect to {address} all the same"
        )),
        Attempt::NotRoot => Err("it must be run by root".into()),
        Attempt::Failed(why) => Err(format!("{address} cannot be tried as nobody: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_tried_where_users_of_this_machine_reach_it() {
        for (bound, reached) in [
            ("127.0.0.1:298", &["127.0.0.1:298"][..]),
            ("192.0.2.1:298", &["192.0.2.1:298"]),
            ("[::1]:298", &["[::1]:298"]),
            ("0.0.0.0:298", &["127.0.0.1:298"]),
            ("[::]:298", &["[::1]:298", "127.0.0.1:298"]),
        ] {
            let found = reached_at(bound.parse().unwrap());
            let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
            assert_eq!(found, reached, "{bound}");
        }
    }
}
