//! Where nodeds stand on a node, and whether one of them may be without its guard. Pure: it is
//! told what listens, and never looks by itself.

use std::fmt;
use std::net::SocketAddr;

/// A socket on which a noded listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stands {
    /// Where.
    pub address: SocketAddr,
    /// Whether it speaks TLS there. Without it, it obeys whoever connects.
    pub tls: bool,
}

impl fmt::Display for Stands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.tls { "" } else { " without TLS" };
        write!(f, "ganeti-noded listens{how} at {}", self.address)
    }
}

/// One that every local user commands as soon as its guard goes.
pub fn needs_guard(all: &[Stands]) -> Option<Stands> {
    all.iter().find(|noded| !noded.tls).copied()
}

/// One that does not stand as on a node without a proxy: at this port, with TLS.
pub fn astray(all: &[Stands], port: u16) -> Option<Stands> {
    let is_right = |noded: &Stands| noded.tls && noded.address.port() == port;
    let elsewhere = all.iter().find(|noded| !is_right(noded)).copied();
    needs_guard(all).or(elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_a_guard_and_who_is_astray_as_a_table() {
        let (tls, plain) = (true, false);
        type Row<'a> = (&'a [(&'a str, bool)], Option<usize>, Option<usize>);
        let table: [Row<'_>; 8] = [
            (&[], None, None),
            (&[("0.0.0.0:1811", tls)], None, None),
            (&[("192.0.2.1:1811", tls), ("[::]:1811", tls)], None, None),
            (&[("0.0.0.0:1811", plain)], Some(0), Some(0)),
            (&[("127.0.0.1:298", plain)], Some(0), Some(0)),
            (&[("127.0.0.1:298", tls)], None, Some(0)),
            // One more, which a restart does not reach.
            (
                &[("0.0.0.0:1811", tls), ("127.0.0.1:11811", plain)],
                Some(1),
                Some(1),
            ),
            // The worse one is named.
            (
                &[("127.0.0.1:9", tls), ("127.0.0.1:298", plain)],
                Some(1),
                Some(1),
            ),
        ];
        for (sockets, guarded, stray) in table {
            let all: Vec<Stands> = sockets
                .iter()
                .map(|(address, tls)| Stands {
                    address: address.parse().unwrap(),
                    tls: *tls,
                })
                .collect();
            let at = |index: usize| all[index];
            assert_eq!(needs_guard(&all), guarded.map(at), "{sockets:?}");
            assert_eq!(astray(&all, 1811), stray.map(at), "{sockets:?}");
        }
        let one = Stands {
            address: "127.0.0.1:298".parse().unwrap(),
            tls: false,
        };
        let told = "ganeti-noded listens without TLS at 127.0.0.1:298";
        assert_eq!(one.to_string(), told);
    }
}
