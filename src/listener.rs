//! The public listener: sockets and the accept loop. It knows nothing of TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::metrics::{Metrics, reason};

/// Connections that the kernel holds for us; noded's own figure.
const BACKLOG: i32 = 1024;

/// Pause after an accept that failed for lack of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

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
    TcpListener::from_std(socket.into())
}

/// Raises the soft limit on open files to the hard one; each RPC takes two.
pub fn raise_file_limit() {
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
}

/// Accepts for ever, and hands each connection to `serve` with the permit that counts it.
/// Beyond `connections` open ones, a new one is closed at once: the accept loop never stands still.
pub async fn run(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    metrics: &Metrics,
    mut serve: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match Arc::clone(connections).try_acquire_owned() {
                Ok(permit) => {
                    prepare(&stream);
                    serve(stream, canonical(peer), permit);
                }
                Err(_) => {
                    debug!(%peer, "over the limit of connections");
                    metrics.reject(reason::OVER_LIMIT);
                }
            },
            Err(error) if is_of_the_connection(&error) => debug!(%error, "accept"),
            Err(error) => {
                warn!(%error, "cannot accept, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// `::ffff:192.0.2.1` is 192.0.2.1 to everybody who reads it.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

fn prepare(stream: &TcpStream) {
    // What fails here only fails for a connection that is gone already.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)));
    let _ = socket.set_tcp_user_timeout(Some(CLIENT_TIMEOUT));
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
