//! The public listener: listens while there is a `server.pem`, and hands each connection on.
//!
//! [`Listener::run`] is its life, and `accept_on` is the loop. It never reads from a connection,
//! never decides about a caller, and knows nothing of TLS: what follows an accept is
//! [`connection::begin`](crate::proxy::connection::begin), which `daemon` passes in.

mod descriptors;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, error};

use crate::node::sockets::Holders;
use crate::proxy::reason::Reason;
use crate::proxy::shared::Shared;
use descriptors::{SpareDescriptor, is_out_of_descriptors};

pub use descriptors::raise_file_limit;
pub use socket::bind;

/// Pause before a port that is taken is tried again.
pub const BIND_AGAIN: Duration = Duration::from_secs(1);

/// Pause after an accept that failed for lack of file descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// How the public listener stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It listens on these addresses.
    Listening(Vec<SocketAddr>),
    /// There is no `server.pem`. Sockets of systemd stay open, and their callers are refused.
    Waiting,
    /// A port cannot be opened; it is tried again until it can.
    Blocked {
        /// The address.
        address: SocketAddr,
        /// Why not, and who holds it.
        why: String,
    },
    /// The proxy drains.
    Closed,
}

impl State {
    /// Where it listens now.
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Listening(addresses) => addresses,
            Self::Waiting | Self::Blocked { .. } | Self::Closed => &[],
        }
    }
}

/// Whether a port may be free later: it is taken, or this machine has not got the address yet.
pub fn may_heal(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable};
    matches!(error.kind(), AddrInUse | AddrNotAvailable)
}

/// Why a port cannot be opened, for people; with its holder, if it is taken.
pub fn why_not(error: &io::Error, port: u16, holders: &Holders) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("taken by {}", holders.now(port)),
        _ => error.to_string(),
    }
}

/// The sockets that are open now, for whoever takes them over.
pub type Opened = Arc<Mutex<Vec<Arc<TcpListener>>>>;

/// The public listener's sockets.
#[derive(Debug)]
pub struct Listener {
    addresses: Vec<SocketAddr>,
    holders: Holders,
    open: Vec<Arc<TcpListener>>,
    /// systemd holds the ports, so they stay open whatever happens here.
    inherited: bool,
    opened: Opened,
}

impl Listener {
    /// A listener for these addresses. If there are sockets of systemd, it uses those alone.
    /// `holders` is who held the ports before the sandbox hid other processes.
    pub fn new(
        addresses: Vec<SocketAddr>,
        inherited: Vec<std::net::TcpListener>,
        holders: Holders,
    ) -> io::Result<Self> {
        let mut open = Vec::new();
        for listener in inherited {
            open.push(Arc::new(socket::adopt(listener)?));
        }
        Ok(Self {
            addresses,
            holders,
            inherited: !open.is_empty(),
            open,
            opened: Opened::default(),
        })
    }

    /// A listener for the same addresses, with the open sockets of the process before it.
    pub fn continuing(
        self,
        sockets: Vec<std::net::TcpListener>,
        of_systemd: bool,
    ) -> io::Result<Self> {
        let open = sockets
            .into_iter()
            .map(|one| socket::adopt(one).map(Arc::new));
        let open = open.collect::<io::Result<_>>()?;
        let inherited = of_systemd;
        Ok(Self {
            open,
            inherited,
            ..self
        })
    }

    /// Where the open sockets are found while it runs.
    pub fn opened(&self) -> Opened {
        Arc::clone(&self.opened)
    }

    /// Whether systemd holds the ports.
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    fn show(&self, open: &[Arc<TcpListener>]) {
        let mut shown = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clear();
        shown.extend_from_slice(open);
    }

    /// Opens the ports, all or none, unless they are open. The error names the port.
    pub fn open(&mut self) -> Result<(), (SocketAddr, io::Error)> {
        if !self.open.is_empty() {
            return Ok(());
        }
        let mut open = Vec::new();
        for address in &self.addresses {
            let listener = bind(*address).map_err(|error| (*address, error))?;
            open.push(Arc::new(listener));
        }
        self.open = open;
        Ok(())
    }

    /// The addresses that are open now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let open = self.open.iter();
        open.filter_map(|l| l.local_addr().ok()).collect()
    }

    /// Listens while there is a `server.pem`, and only then, until the drain. `hand_over` is called
    /// with each connection. `report` is called with the first state, and after each change of the
    /// state or of the snapshot.
    pub async fn run(
        mut self,
        shared: Arc<Shared>,
        hand_over: impl Fn(TcpStream, SocketAddr) + Clone + Send + 'static,
        mut report: impl FnMut(State),
    ) {
        let mut changes = shared.store.subscribe();
        let mut blocked = None;
        while !shared.drain.is_cancelled() {
            let joined = shared.store.current().tls.is_some();
            if joined && let Err((address, error)) = self.open() {
                let fault = (address, error.kind());
                if blocked.replace(fault) != Some(fault) {
                    let why = why_not(&error, address.port(), &self.holders);
                    report(State::Blocked { address, why });
                }
                tokio::select! {
                    () = tokio::time::sleep(BIND_AGAIN) => continue,
                    () = shared.drain.cancelled() => break,
                }
            }
            blocked = None;
            if !joined && !self.inherited {
                self.open.clear();
            }
            self.show(&self.open);
            let state = || match joined {
                true => State::Listening(self.addresses()),
                false => State::Waiting,
            };
            report(state());
            let mut loops = JoinSet::new();
            for listener in &self.open {
                let listener = Arc::clone(listener);
                loops.spawn(accept_on(listener, Arc::clone(&shared), hand_over.clone()));
            }
            loop {
                tokio::select! {
                    same = unchanged(&shared, &mut changes, joined) => match same {
                        true => report(state()),
                        false => break,
                    },
                    Some(ended) = loops.join_next() => {
                        // It never ends by itself. A connection that makes it panic ends nothing else.
                        error!(error = ?ended.err(), "accepting begins anew");
                        break;
                    }
                }
            }
            loops.shutdown().await;
        }
        self.show(&[]);
        report(State::Closed);
    }
}

/// Waits for the next snapshot. `false` if `server.pem` has come or gone with it (`joined` says
/// whether there was one), or if the proxy drains.
async fn unchanged(shared: &Shared, changes: &mut watch::Receiver<u64>, joined: bool) -> bool {
    tokio::select! {
        changed = changes.changed() => {
            changed.is_ok() && shared.store.current().tls.is_some() == joined
        }
        () = shared.drain.cancelled() => false,
    }
}

/// Accepts for ever and hands each connection over. A shortage of file descriptors never stops it:
/// an unfinished connection gives way, or else the caller is turned away with the spare descriptor.
async fn accept_on(
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    hand_over: impl Fn(TcpStream, SocketAddr),
) {
    let mut spare = SpareDescriptor::of(&listener);
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                hand_over(stream, canonical(address));
            }
            Err(error) if is_of_the_connection(&error) => debug!(%error, "accept"),
            Err(error) => {
                spare.shortage(&error);
                if is_out_of_descriptors(&error) && !shared.overload.shed() {
                    // Every open connection is admitted and stays: let callers know at once.
                    if let Some(address) = spare.turn_one_away(&listener).await {
                        debug!(peer = %address, "no file descriptor for it");
                        shared.metrics.reject(Reason::OverLimit);
                    }
                }
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Writes `::ffff:192.0.2.1` as 192.0.2.1, which is how people and ssconf write it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The connection failed before it was accepted; the listener is well.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
