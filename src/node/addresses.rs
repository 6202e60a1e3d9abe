//! The addresses of this machine, from `/proc/net` (proc(5)). It only reads.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// All addresses of this machine with this port; what cannot be seen is left out.
pub(crate) fn own(port: u16) -> Vec<SocketAddr> {
    let text = |name: &str| fs::read_to_string(name).unwrap_or_default();
    let four = in_trie(&text("/proc/self/net/fib_trie"));
    let mut all: Vec<SocketAddr> = four.into_iter().map(|ip| (ip, port).into()).collect();
    all.extend(in_list(&text("/proc/self/net/if_inet6"), port));
    all.sort_unstable();
    all.dedup();
    all
}

/// The routing tables: an address is a line `|-- ADDRESS`, and what it is stands below it.
fn in_trie(text: &str) -> Vec<Ipv4Addr> {
    let (mut found, mut address) = (Vec::new(), None::<Ipv4Addr>);
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(leaf) => address = leaf.parse().ok(),
            None if line == "/32 host LOCAL" => found.extend(address),
            None => {}
        }
    }
    found
}

/// A line for each address: 32 hexadecimal digits, the number of the interface, and more.
fn in_list(text: &str, port: u16) -> Vec<SocketAddr> {
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let ip = u128::from_str_radix(words.next()?, 16).ok()?;
        let interface = u32::from_str_radix(words.next()?, 16).ok()?;
        let ip = Ipv6Addr::from(ip);
        let scope = if ip.is_unicast_link_local() {
            interface
        } else {
            0
        };
        Some(SocketAddrV6::new(ip, port, 0, scope).into())
    };
    text.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_linux_lists_them() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    \x20    +-- 127.0.0.0/31 1 0 0\n           |-- 127.0.0.0\n              \
                    /8 host LOCAL\n           |-- 127.0.0.1\n              /32 host LOCAL\n\
                    \x20    |-- 192.0.2.0\n        /24 link UNICAST\n     |-- 192.0.2.2\n        \
                    /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        let found: Vec<String> = in_trie(trie).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1", "192.0.2.2"]);
        let list = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
                    20010db8000000000000000000000002 04 40 00 82     eth0\nnonsense\n";
        let found: Vec<String> = in_list(list, 298).iter().map(ToString::to_string).collect();
        let expected = [
            "[::1]:298",
            "[fe80::fc:ff:fe00:1%4]:298",
            "[2001:db8::2]:298",
        ];
        assert_eq!(found, expected);
        for address in found {
            assert!(address.parse::<SocketAddr>().is_ok(), "{address}");
        }
    }

    #[test]
    fn this_machine_has_its_loopback() {
        let loopback: SocketAddr = "127.0.0.1:298".parse().unwrap();
        assert!(own(298).contains(&loopback));
    }
}
