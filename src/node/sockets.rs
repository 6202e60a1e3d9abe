//! Who listens on this machine: `/proc/net/tcp`, `/proc/net/tcp6`, and the processes behind the
//! sockets. It only reads, and never connects to anybody.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// The user who opened it, for everybody to see.
    uid: u32,
    inode: u64,
}

impl Listener {
    #[cfg(test)]
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            address,
            uid: 0,
            inode: 0,
        }
    }
}

/// All listening sockets of this network namespace; `None` if `/proc/net/tcp` cannot be read.
pub(crate) fn listeners() -> Option<Vec<Listener>> {
    let v4 = fs::read_to_string("/proc/net/tcp").ok()?;
    let v6 = fs::read_to_string("/proc/net/tcp6").unwrap_or_default(); // absent without IPv6
    Some(v4.lines().chain(v6.lines()).filter_map(parse).collect())
}

/// Reads one line of `/proc/net/tcp` (proc(5)), if it describes a listening socket. Addresses are
/// words in the machine's byte order.
fn parse(line: &str) -> Option<Listener> {
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    if state != "0A" {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = bytes.concat().try_into().ok()?;
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    let address = SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?);
    Some(Listener {
        address,
        uid,
        inode,
    })
}

/// The process that listens on a port: `NAME (pid N)`. Only root sees those of other users.
pub(crate) fn holder(listeners: Option<&[Listener]>, port: u16) -> Option<String> {
    let wanted: Vec<String> = listeners?
        .iter()
        .filter(|listener| listener.address.port() == port)
        .map(|listener| format!("socket:[{}]", listener.inode))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| !wanted.is_empty() && holds(*pid, &wanted))
        .map(|pid| format!("{} (pid {pid})", name(pid)))
}

/// Who listens on a port, as far as this process can see; `None` if nobody does.
pub(crate) fn taken_by(listeners: Option<&[Listener]>, port: u16) -> Option<String> {
    let mut on_port = listeners?.iter().filter(|l| l.address.port() == port);
    let uid = on_port.next()?.uid;
    let named = holder(listeners, port);
    Some(named.unwrap_or_else(|| format!("a process of user id {uid} (root sees which)")))
}

/// Who held these ports at one moment, for the time when the sandbox hides other processes.
#[derive(Debug, Clone, Default)]
pub struct Holders(Vec<(Listener, String)>);

impl Holders {
    /// Those of now.
    pub fn of(ports: &[u16]) -> Self {
        let all = listeners().unwrap_or_default();
        let known = ports.iter().filter_map(|port| {
            let listener = all.iter().find(|l| l.address.port() == *port)?;
            Some((*listener, holder(Some(&all), *port)?))
        });
        Self(known.collect())
    }

    /// Who holds this port now.
    pub(crate) fn now(&self, port: u16) -> String {
        let all = listeners().unwrap_or_default();
        // The same socket as then has the same holder.
        let known = self
            .0
            .iter()
            .find(|(listener, _)| listener.address.port() == port && all.contains(listener));
        let known = known.map(|(_, holder)| holder.clone());
        let known = known.or_else(|| taken_by(Some(&all), port));
        known.unwrap_or_else(|| "another process".into())
    }
}

fn holds(pid: u32, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .filter_map(Result::ok)
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| {
            wanted
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
}

/// The name of a process. For Ganeti's daemons, which Python runs, it is the name of the script.
fn name(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ganeti = |word: &[u8]| {
        let word = String::from_utf8_lossy(word).into_owned();
        let base = word.rsplit('/').next().unwrap_or_default().to_owned();
        base.starts_with("ganeti-").then_some(base)
    };
    let script = line.split(|b| *b == 0).take(3).find_map(ganeti);
    script.unwrap_or_else(|| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_proc_net_as_a_table() {
        let rest = "00000000:00000000 00:00000000 00000000    33        0 4711 1 0 100 0 0 10 0";
        let table = [
            ("0100007F:2E23 00000000:0000 0A", Some("127.0.0.1:11811")),
            ("00000000:0713 00000000:0000 0A", Some("0.0.0.0:1811")),
            ("0200A8C0:0713 0100A8C0:D431 01", None),
            (
                "00000000000000000000000000000000:0713 00000000000000000000000000000000:0000 0A",
                Some("[::]:1811"),
            ),
            (
                "00000000000000000000000001000000:2E23 00000000000000000000000000000000:0000 0A",
                Some("[::1]:11811"),
            ),
            (
                "0000000000000000FFFF00000100007F:2E23 00000000000000000000000000000000:0000 0A",
                Some("[::ffff:127.0.0.1]:11811"),
            ),
            ("0000:0713 00000000:0000 0A", None),
            ("0100007F 00000000:0000 0A", None),
        ];
        for (line, expected) in table {
            let found = parse(&format!("   0: {line} {rest}"));
            assert_eq!(
                found.map(|l| l.address.to_string()).as_deref(),
                expected,
                "{line}"
            );
            assert!(found.is_none_or(|l| (l.uid, l.inode) == (33, 4711)));
        }
        assert_eq!(
            parse("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_listener_of_this_process_is_found_with_its_holder() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let all = listeners().unwrap();
        assert!(all.iter().any(|listener| listener.address == address));
        let holder = holder(Some(&all), address.port()).unwrap();
        assert!(
            holder.ends_with(&format!("(pid {})", std::process::id())),
            "{holder}"
        );
        assert_eq!(taken_by(Some(&all), address.port()), Some(holder.clone()));
        let then = Holders::of(&[address.port()]);
        assert_eq!(then.now(address.port()), holder);
        drop(socket);
        assert_eq!(then.now(address.port()), "another process");
    }

    #[test]
    fn whose_process_cannot_be_seen_is_told_by_its_user() {
        let mut listener = Listener::at("[::]:1811".parse().unwrap());
        listener.uid = 33;
        let found = taken_by(Some(&[listener]), 1811);
        let told = "a process of user id 33 (root sees which)";
        assert_eq!(found.as_deref(), Some(told));
        assert_eq!(taken_by(Some(&[listener]), 1812), None);
    }
}
