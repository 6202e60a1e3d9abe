//! Who listens on this machine, who holds the other end of a connection, and the processes behind
//! the sockets. It only looks, and never connects to anybody.

mod diag;
mod holders;
mod listener;
mod proc;
mod processes;

use std::fs;
use std::io;
use std::net::SocketAddr;

use rules::noded::{Held, Listening, Stranger, Trusted, may_send};

pub use holders::Holders;
pub(crate) use holders::taken_by;
pub(crate) use listener::Listener;
pub(crate) use processes::{holder, of_program};

/// Whom noded may belong to, in the eyes of this process.
pub(crate) fn trusted() -> Trusted {
    Trusted {
        own: rustix::process::geteuid().as_raw(),
        also: None,
    }
}

/// The first port that anybody may listen on.
pub(crate) fn unprivileged_ports() -> Option<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok()?.trim().parse().ok()
}

/// All listening sockets of this network namespace.
pub(crate) fn listeners() -> io::Result<Vec<Listener>> {
    diag::listeners().or_else(|_| proc::listeners())
}

/// The listening sockets as the rules take them.
pub(crate) fn listening() -> io::Result<Vec<Listening>> {
    let all = listeners()?;
    Ok(all.iter().map(Listener::listening).collect())
}

/// Whether bytes may be sent on the connection from `ours` to `theirs`: whose the other end is.
/// What is not on this machine is not looked at.
pub(crate) fn may_send_to(
    theirs: SocketAddr,
    ours: SocketAddr,
    trusted: Trusted,
) -> io::Result<Result<(), Stranger>> {
    let (theirs, ours) = (canonical(theirs), canonical(ours));
    if !is_here(theirs, ours) {
        return Ok(Ok(()));
    }
    // The order matters, see `may_send`: the listener first.
    let listener = listener(theirs, trusted)?;
    let other_end = diag::find(theirs, Some(ours)).or_else(|_| proc::other_end(theirs, ours))?;
    Ok(may_send(listener, other_end, trusted))
}

/// The socket that a new connection to this address of this machine would come to.
pub(crate) fn listener(address: SocketAddr, trusted: Trusted) -> io::Result<Option<Held>> {
    let address = canonical(address);
    diag::find(address, None).or_else(|_| in_proc(address, trusted))
}

/// The same from `/proc`: of several that it may be, a stranger's before others.
fn in_proc(address: SocketAddr, trusted: Trusted) -> io::Result<Option<Held>> {
    let all = proc::listeners()?;
    let sockets: Vec<Listening> = all.iter().map(Listener::listening).collect();
    let reached = rules::noded::reached(&sockets, address);
    let first = reached.iter().max_by_key(|socket| !trusted.has(socket.uid));
    Ok(first.map(|socket| Held {
        uid: socket.uid,
        inode: 1, // a listening socket is always held
    }))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether the other end of a connection is on this machine.
fn is_here(theirs: SocketAddr, ours: SocketAddr) -> bool {
    theirs.ip().is_loopback() || theirs.ip() == ours.ip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// A process that another test begins holds each socket, too, until it runs its own program.
    #[track_caller]
    fn wait_for(state: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if state() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        panic!("it does not come");
    }

    #[test]
    fn a_listener_of_this_process_is_found_with_its_holder() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        for all in [diag::listeners(), proc::listeners()] {
            let all = all.unwrap();
            let found = all.iter().find(|listener| listener.address == address);
            assert_eq!(found.unwrap().uid, trusted().own);
            let me = format!("(pid {})", std::process::id());
            wait_for(|| holder(&all, address.port()).unwrap().ends_with(&me));
        }
    }

    /// Both ways of looking say the same at each moment of a connection.
    #[test]
    fn both_ends_of_a_connection_are_found() {
        for at in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(socket) = TcpListener::bind(at) else {
                continue; // no IPv6 here
            };
            let port = socket.local_addr().unwrap().port();
            let theirs = match at.contains("::1") {
                true => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
                false => SocketAddr::from(([127, 0, 0, 1], port)),
            };
            let here = TcpStream::connect(theirs).unwrap();
            let ours = here.local_addr().unwrap();
            let looks = || {
                [
                    diag::find(theirs, Some(ours)).unwrap(),
                    proc::other_end(theirs, ours).unwrap(),
                ]
            };
            let listeners = [diag::find(theirs, None), in_proc(theirs, trusted())];
            let own = listeners.map(|found| found.unwrap().map(|held| held.uid));
            assert_eq!(own, [Some(trusted().own); 2], "{at}");
            for found in looks() {
                assert_eq!(found.unwrap().inode, 0, "nobody has accepted it at {at}");
            }
            let (accepted, _) = socket.accept().unwrap();
            for found in looks() {
                let found = found.unwrap();
                assert_ne!(found.inode, 0, "{at}");
                assert_eq!(found.uid, trusted().own, "{at}");
            }
            assert_eq!(may_send_to(theirs, ours, trusted()).unwrap(), Ok(()));
            let stranger = Trusted {
                own: u32::MAX,
                also: None,
            };
            let expected = match trusted().own {
                0 => Ok(()),
                uid => Err(Stranger::Impostor(uid)),
            };
            assert_eq!(may_send_to(theirs, ours, stranger).unwrap(), expected);
            drop((socket, accepted));
            wait_for(|| diag::find(theirs, None).unwrap().is_none());
            wait_for(|| in_proc(theirs, trusted()).unwrap().is_none());
        }
    }

    /// nobody listens, accepts, and makes room for the real one: the connection stays his.
    #[test]
    fn a_connection_to_an_impostor_stays_his_when_he_stops_listening() {
        use std::io::{BufRead, BufReader, Write};
        use std::process::{Command, Stdio};
        if !rustix::process::geteuid().is_root() {
            return; // nobody else can become nobody
        }
        let script = "import os, socket, sys\n\
            os.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
            s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
            s.bind(('127.0.0.1', 0)); s.listen(9); print(s.getsockname()[1], flush=True)\n\
            sys.stdin.readline(); c = s.accept(); s.close(); print('closed', flush=True)\n\
            sys.stdin.readline()";
        let mut impostor = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(impostor.stdout.take().unwrap()).lines();
        let port: u16 = said.next().unwrap().unwrap().parse().unwrap();
        let theirs = SocketAddr::from(([127, 0, 0, 1], port));
        let here = TcpStream::connect(theirs).unwrap();
        let ours = here.local_addr().unwrap();
        let refused = Ok(Err(Stranger::Impostor(65_534)));
        let looked = || may_send_to(theirs, ours, trusted()).map_err(|error| error.to_string());
        assert_eq!(looked(), refused, "in his queue");
        impostor.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "closed");
        let _real = TcpListener::bind(theirs).unwrap();
        assert_eq!(looked(), refused, "accepted by him, and root listens");
        let fresh = TcpStream::connect(theirs).unwrap();
        let fresh = may_send_to(theirs, fresh.local_addr().unwrap(), trusted());
        assert_eq!(fresh.unwrap(), Ok(()));
        let from_proc = proc::other_end(theirs, ours).unwrap();
        assert_eq!(from_proc.map(|held| held.uid), Some(65_534));
        impostor.kill().unwrap();
        impostor.wait().unwrap();
    }
}
