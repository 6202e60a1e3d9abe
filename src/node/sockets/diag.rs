//! Asks the kernel for sockets by netlink (sock_diag(7), as ss(8) does). It finds one socket
//! without looking at all others: some microseconds, where `/proc/net/tcp` takes milliseconds on
//! any machine, for it walks a table that is as large as the memory allows. It never changes a
//! socket.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rules::noded::Held;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::listener::Listener;

// Numbers of <linux/netlink.h>, <linux/sock_diag.h> and <linux/inet_diag.h>, the same on every
// machine.
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const IPPROTO_TCP: u8 = 6;
const LISTEN: u32 = 1 << 10;

/// Lengths of `nlmsghdr`, and of `inet_diag_msg` behind it.
const HEADER: usize = 16;
const SOCKET: usize = 72;
/// Room for the answer about one socket, and for a part of the answer about all.
const SHORT: usize = 1 << 10;
const LONG: usize = 32 << 10;

thread_local! {
    /// The way to the kernel: to open it takes longer than to ask.
    static KERNEL: Cell<Option<Socket>> = const { Cell::new(None) };
}

/// The kernel answers at once; this only bounds a fault.
const PATIENCE: Duration = Duration::from_secs(2);

/// The socket that the kernel would give a segment from `remote` to `local`: a connection's, or
/// else the one that listens there. Without `remote` the one that listens.
pub(super) fn find(local: SocketAddr, remote: Option<SocketAddr>) -> io::Result<Option<Held>> {
    let family = family(local.ip());
    let ends = ends(local, remote);
    let mut found = None;
    match ask(NLM_F_REQUEST, family, u32::MAX, &ends, |socket| {
        found = found.or_else(|| held(socket));
    }) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(found),
    }
}

/// All listening sockets.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    for any in [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::from(Ipv6Addr::UNSPECIFIED),
    ] {
        let ends = ends(SocketAddr::new(any, 0), None);
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        ask(flags, family(any), LISTEN, &ends, |socket| {
            all.extend(listener(socket));
        })?;
    }
    Ok(all)
}

/// AF_INET or AF_INET6.
fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

/// `inet_diag_sockid`: both ends, no interface, no cookie.
fn ends(local: SocketAddr, remote: Option<SocketAddr>) -> Vec<u8> {
    let remote = remote.unwrap_or_else(|| match local {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    });
    let ip = |address: SocketAddr| {
        let mut bytes = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        bytes.resize(16, 0);
        bytes
    };
    [
        local.port().to_be_bytes().to_vec(),
        remote.port().to_be_bytes().to_vec(),
        ip(local),
        ip(remote),
        vec![0; 4],
        vec![0xFF; 8],
    ]
    .concat()
}

/// Sends one request, and hands each `inet_diag_msg` of the answer on.
fn ask(
    flags: u16,
    family: u8,
    states: u32,
    ends: &[u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let body = [
        &[family, IPPROTO_TCP, 0, 0],
        &states.to_ne_bytes()[..],
        ends,
    ]
    .concat();
    let length = (HEADER + body.len()) as u32;
    let request = [
        &length.to_ne_bytes()[..],
        &SOCK_DIAG_BY_FAMILY.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &1u32.to_ne_bytes(),
        &0u32.to_ne_bytes(),
        &body,
    ]
    .concat();
    // One that was not read to its end has an answer left that is not ours.
    let mut kernel = match KERNEL.take() {
        Some(kept) => kept,
        None => connect()?,
    };
    exchange(&mut kernel, &request, flags, &mut each)?;
    KERNEL.set(Some(kernel));
    Ok(())
}

fn connect() -> io::Result<Socket> {
    let kind = Type::DGRAM;
    let protocol = Protocol::from(NETLINK_SOCK_DIAG);
    let kernel = Socket::new(Domain::from(AF_NETLINK), kind, Some(protocol))?;
    kernel.set_read_timeout(Some(PATIENCE))?;
    Ok(kernel)
}

fn exchange(
    kernel: &mut Socket,
    request: &[u8],
    flags: u16,
    each: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    kernel.write_all(request)?;
    let mut short = [0; SHORT];
    let mut long = Vec::new();
    let buffer = match flags & NLM_F_DUMP {
        0 => &mut short[..],
        _ => {
            long.resize(LONG, 0);
            &mut long[..]
        }
    };
    loop {
        let length = kernel.read(buffer)?;
        let mut rest = &buffer[..length];
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, message, behind)) = message(rest) {
            match kind {
                SOCK_DIAG_BY_FAMILY => each(message),
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return refused(message),
                _ => {}
            }
            rest = behind;
        }
        if flags & NLM_F_DUMP == 0 {
            return Ok(());
        }
    }
}

/// The first message of a datagram: its kind, its content, and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = word(bytes, 0)? as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let content = bytes.get(HEADER..length)?;
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((kind, content, &bytes[next..]))
}

fn refused(message: &[u8]) -> io::Result<()> {
    match word(message, 0).map(|code| (code as i32).wrapping_neg()) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// User and inode of an `inet_diag_msg`.
fn held(socket: &[u8]) -> Option<Held> {
    Some(Held {
        uid: word(socket, SOCKET - 8)?,
        inode: word(socket, SOCKET - 4)?,
    })
}

fn listener(socket: &[u8]) -> Option<Listener> {
    let Held { uid, inode } = held(socket)?;
    let port = u16::from_be_bytes(socket.get(4..6)?.try_into().ok()?);
    let ip: [u8; 16] = socket.get(8..24)?.try_into().ok()?;
    let ip = match socket.first()? {
        2 => IpAddr::from([ip[0], ip[1], ip[2], ip[3]]),
        _ => IpAddr::from(ip),
    };
    let address = SocketAddr::new(ip, port);
    Some(Listener {
        address,
        uid,
        inode: inode.into(),
    })
}
