//! The public listener: sockets and the accept loop. It knows nothing of TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::proxy::metrics::Metrics;
use crate::proxy::overload::{Caller, Overload, Place};
use crate::proxy::reason::Reason;

/// Connections that the kernel holds for us; noded's own figure.
const BACKLOG: i32 = 1024;

/// Pause after an accept that failed for lack of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(10);

/// A client that acknowledges nothing for so long is gone (RFC 5482, tcp(7) TCP_USER_TIMEOUT).
const CLIENT_TIMEOUT: Duration = Duration::from_secs(120);

/// Binds a listening socket. `[::]` takes IPv4 too, and becomes `0.0.0.0` on a machine without IPv6.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match listen(address) {
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && no_ipv6(&error) => {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        result => result,
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::AFNOSUPPORT) || errno == Some(Errno::ADDRNOTAVAIL)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    prepare(&listener)?;
    Ok(listener)
}

/// Raises the soft limit on open files to the hard one, and returns it; each RPC takes two.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            debug!(%error, "the limit on open files stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Accepts for ever, and hands each connection to `serve` with its place. The loop never stands still: beyond
/// the bound on connections a new one is closed at once or an unfinished one gives way, and without file
/// descriptors it goes on with the one that was kept back.
pub async fn run(
    listener: &TcpListener,
    overload: &Arc<Overload>,
    is_candidate: impl Fn(IpAddr) -> bool,
    metrics: &Metrics,
    mut serve: impl FnMut(TcpStream, SocketAddr, Place),
) {
    let mut spare = Spare::new(listener);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = canonical(peer);
                let caller = Caller::new(peer.ip(), is_candidate(peer.ip()));
                match overload.enter(caller) {
                    Some(place) => serve(stream, peer, place),
                    None => {
                        debug!(%peer, "over the limit of connections");
                        metrics.reject(Reason::OverLimit);
                    }
                }
                spare.told = false;
            }
            Err(error) if is_of_the_connection(&error) => debug!(%error, "accept"),
            Err(error) => {
                spare.tell(&error);
                if is_out_of_descriptors(&error) && !overload.shed() {
                    // All that is open is at work: whoever calls is told so at once.
                    spare.turn_one_away(listener, metrics).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A file descriptor that is kept back for the time when there are no others.
struct Spare {
    descriptor: Option<OwnedFd>,
    told: bool,
}

impl Spare {
    fn new(listener: &TcpListener) -> Self {
        Self {
            descriptor: rustix::io::fcntl_dupfd_cloexec(listener, 0).ok(),
            told: false,
        }
    }

    /// One log line for each shortage.
    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            warn!(%error, "cannot accept, trying again; unfinished connections give way");
        }
    }

    /// Accepts a connection with the descriptor that was kept back, and closes it.
    async fn turn_one_away(&mut self, listener: &TcpListener, metrics: &Metrics) {
        drop(self.descriptor.take());
        if let Ok(Ok((stream, peer))) = tokio::time::timeout(PAUSE, listener.accept()).await {
            debug!(%peer, "no file descriptor for it");
            metrics.reject(Reason::OverLimit);
            drop(stream);
        }
        self.descriptor = Self::new(listener).descriptor;
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
}

/// `::ffff:192.0.2.1` is 192.0.2.1 to everybody who reads it.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// What accepted connections inherit of their listener (tcp(7)): set once here instead of for each of them.
pub fn prepare(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    socket.set_tcp_user_timeout(Some(CLIENT_TIMEOUT))
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_inherit_their_options() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (_client, accepted) = tokio::join!(client, listener.accept());
        let (accepted, _) = accepted.unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(60)
        );
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(CLIENT_TIMEOUT));
    }
}
