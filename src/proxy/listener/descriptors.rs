//! File descriptors: the process's limit, and one that is kept back for a shortage. Nothing here
//! knows whose connection it turns away.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tracing::{debug, warn};

/// Longest wait for the caller that is to be turned away; it may have left by then.
const TURN_AWAY: Duration = Duration::from_millis(10);

/// Least time between two log lines about a shortage.
const LOG_AGAIN: Duration = Duration::from_secs(60);

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

/// A file descriptor that is kept back for the time when there are no others.
pub(super) struct SpareDescriptor {
    descriptor: Option<OwnedFd>,
    /// When a shortage was logged last.
    logged: Option<Instant>,
}

impl SpareDescriptor {
    /// Keeps a copy of the listener's descriptor: every descriptor counts alike.
    pub(super) fn of(listener: &TcpListener) -> Self {
        Self {
            descriptor: rustix::io::fcntl_dupfd_cloexec(listener, 0).ok(),
            logged: None,
        }
    }

    /// Logs a shortage, one line for all of a minute: callers make them as often as they like.
    pub(super) fn shortage(&mut self, error: &io::Error) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_AGAIN) {
            self.logged = Some(Instant::now());
            warn!(%error, "cannot accept, trying again; unfinished connections give way");
        }
    }

    /// Accepts a connection with the descriptor that was kept back, and closes it.
    pub(super) async fn turn_one_away(&mut self, listener: &TcpListener) -> Option<SocketAddr> {
        drop(self.descriptor.take());
        let accepted = tokio::time::timeout(TURN_AWAY, listener.accept()).await;
        let address = accepted
            .ok()
            .and_then(Result::ok)
            .map(|(_, address)| address);
        self.descriptor = Self::of(listener).descriptor;
        address
    }
}

pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
}
