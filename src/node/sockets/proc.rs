//! Sockets from `/proc/net/tcp` and `/proc/net/tcp6` (proc(5)), for where the kernel cannot be
//! asked by netlink. It only reads.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rules::noded::Held;

use super::listener::Listener;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    local: SocketAddr,
    remote: SocketAddr,
    listens: bool,
    uid: u32,
    inode: u64,
}

/// All listening sockets. The table begins with them, and the rest of it is not read.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let lines = lines(table)?.take_while(|line| line.listens);
        all.extend(lines.map(|line| Listener {
            address: line.local,
            uid: line.uid,
            inode: line.inode,
        }));
    }
    Ok(all)
}

/// The sockets that listen for `noded`, as [`Listener`]s, and then the other end of the connection
/// from `ours` to `noded`: the tables have the listening sockets first, and are read in order.
pub(super) fn other_end(noded: SocketAddr, ours: SocketAddr) -> io::Result<Option<Held>> {
    let same = |a: SocketAddr, b: SocketAddr| {
        (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
    };
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let mut lines = lines(table)?.filter(|line| !line.listens);
        let found = lines.find(|line| same(line.local, noded) && same(line.remote, ours));
        if let Some(line) = found {
            let inode = u32::try_from(line.inode).unwrap_or(u32::MAX);
            return Ok(Some(Held {
                uid: line.uid,
                inode,
            }));
        }
    }
    Ok(None)
}

fn lines(table: &str) -> io::Result<impl Iterator<Item = Line> + use<>> {
    let reader: Box<dyn BufRead> = match fs::File::open(table) {
        Ok(file) => Box::new(BufReader::with_capacity(64 << 10, file)),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => {
            Box::new(io::empty())
        }
        Err(error) => return Err(error),
    };
    Ok(reader
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| parse(&line)))
}

/// Reads one line.
fn parse(line: &str) -> Option<Line> {
    let mut fields = line.split_whitespace();
    let (local, remote) = (fields.nth(1)?, fields.next()?);
    let state = fields.next()?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Line {
        local: address(local)?,
        remote: address(remote)?,
        listens: state == "0A",
        uid,
        inode,
    })
}

/// `0100007F:0715`: words in the machine's byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
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
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_proc_net_as_a_table() {
        let rest = "00000000:00000000 00:00000000 00000000    33        0 4711 1 0 100 0 0 10 0";
        let table = [
            ("0100007F:012A 00000000:0000 0A", Some("127.0.0.1:298")),
            ("00000000:0713 00000000:0000 0A", Some("0.0.0.0:1811")),
            (
                "00000000000000000000000000000000:0713 00000000000000000000000000000000:0000 0A",
                Some("[::]:1811"),
            ),
            (
                "00000000000000000000000001000000:012A 00000000000000000000000000000000:0000 0A",
                Some("[::1]:298"),
            ),
            (
                "0000000000000000FFFF00000100007F:012A 00000000000000000000000000000000:0000 0A",
                Some("[::ffff:127.0.0.1]:298"),
            ),
            ("0000:0713 00000000:0000 0A", None),
            ("0100007F 00000000:0000 0A", None),
        ];
        for (line, expected) in table {
            let found = parse(&format!("   0: {line} {rest}"));
            let local = found.map(|line| line.local.to_string());
            assert_eq!(local.as_deref(), expected, "{line}");
            let owner = found.map(|line| (line.listens, line.uid, line.inode));
            assert_eq!(owner, expected.map(|_| (true, 33, 4711)));
        }
        let open = parse(&format!("   0: 0200A8C0:0713 0100A8C0:D431 01 {rest}")).unwrap();
        assert_eq!(open.remote.to_string(), "192.168.0.1:54321");
        assert!(!open.listens);
        assert_eq!(
            parse("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
        assert_eq!(parse(""), None);
    }
}
