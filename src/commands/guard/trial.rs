//! Rules that can be loaded may still be wrong: whoever listens on noded's port is tried as nobody.
//! It never takes an address that noded could want.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::commands::as_nobody::{self, Attempt};
use crate::node::{addresses, sockets};

/// Where it is tried before anybody listens: on a socket of our own.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 11, 8, 11);
/// Most addresses that are tried in one look, so that many listeners do not hold up the guard.
const AT_ONCE: usize = 8;
/// Looks until all is tried again: perhaps nobody listened just when it was tried.
const AFRESH: u32 = 60;

pub(super) struct Trial {
    port: u16,
    /// What listens, and has been tried.
    tried: BTreeSet<SocketAddr>,
    looks: u32,
    /// Whether it was said that the sockets cannot be seen.
    is_blind: bool,
}

impl Trial {
    /// The first one.
    pub(super) fn begin(port: u16) -> Result<Self, String> {
        let elsewhere = SocketAddr::from((ELSEWHERE, port));
        // If it is taken, noded has all addresses, and is tried itself.
        if let Ok(_ours) = TcpListener::bind(elsewhere) {
            try_as_nobody(elsewhere)?;
        }
        let mut trial = Self {
            port,
            tried: BTreeSet::new(),
            looks: 0,
            is_blind: false,
        };
        trial.again()?;
        Ok(trial)
    }

    /// Tries what listens now and did not before.
    pub(super) fn again(&mut self) -> Result<(), String> {
        self.looks = self.looks.wrapping_add(1);
        let sockets = match sockets::listening() {
            Ok(sockets) => sockets,
            Err(error) => {
                // Rules that are loaded are better than none.
                if !std::mem::replace(&mut self.is_blind, true) {
                    errln!("noded-proxy: guard: WARNING: cannot see who listens: {error}");
                }
                return Ok(());
            }
        };
        let bound = sockets.iter().map(|socket| socket.address);
        let on_port = bound.filter(|address| address.port() == self.port);
        let own = addresses::own(self.port);
        let now: BTreeSet<SocketAddr> = on_port.flat_map(|at| reached_at(at, &own)).collect();
        if self.looks.is_multiple_of(AFRESH) {
            self.tried.clear();
        }
        self.tried.retain(|address| now.contains(address));
        let untried: Vec<SocketAddr> = now.difference(&self.tried).copied().collect();
        for address in untried.into_iter().take(AT_ONCE) {
            try_as_nobody(address)?;
            self.tried.insert(address);
        }
        Ok(())
    }
}

/// Where this machine's users reach a socket that is bound to this address: one on all addresses at
/// loopback and at each of the machine's `own`.
fn reached_at(bound: SocketAddr, own: &[SocketAddr]) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let loopback: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
    let loopback = loopback.map(|ip| SocketAddr::from((ip, bound.port())));
    let all = loopback.iter().chain(own).copied();
    // An IPv6 socket gets IPv4 too, unless it was asked not to; a refusal then proves nothing.
    all.filter(|at| bound.is_ipv6() || at.is_ipv4()).collect()
}

fn try_as_nobody(address: SocketAddr) -> Result<(), String> {
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
            ("0.0.0.0:298", &["127.0.0.1:298", "192.0.2.2:298"]),
            (
                "[::]:298",
                &[
                    "[::1]:298",
                    "127.0.0.1:298",
                    "192.0.2.2:298",
                    "[2001:db8::2]:298",
                ],
            ),
        ] {
            let own = ["192.0.2.2:298", "[2001:db8::2]:298"].map(|at| at.parse().unwrap());
            let found = reached_at(bound.parse().unwrap(), &own);
            let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
            assert_eq!(found, reached, "{bound}");
        }
    }
}
