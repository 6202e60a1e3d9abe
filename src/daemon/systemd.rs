//! What systemd is told: ready, reloading, stopping, a status line, the watchdog; and the sockets
//! that it passes to us. Without systemd all of it does nothing. See sd_notify(3),
//! sd_watchdog_enabled(3).

use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::NotifyState;
use tracing::{debug, warn};

/// Longest status in bytes. systemd ignores a message of more than 4096 bytes, with the READY=1 that is
/// in it: a reload would never end.
const LONGEST: usize = 2048;

/// Another process speaks for the service.
static REPLACED: AtomicBool = AtomicBool::new(false);

/// Tells systemd. A failure is logged at debug, because nothing depends on it.
fn tell(states: &[NotifyState<'_>]) {
    if REPLACED.load(Ordering::Relaxed) {
        return; // systemd listens to the main process alone
    }
    let socket = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    let told = match socket.strip_prefix('@') {
        Some(name) => tell_abstract(name, states), // what the crate does not know
        None => sd_notify::notify(states),
    };
    if let Err(error) = told {
        debug!(%error, "sd_notify");
    }
}

/// The same at a socket in the abstract namespace (unix(7)).
fn tell_abstract(name: &str, states: &[NotifyState<'_>]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    let lines: Vec<String> = states.iter().map(NotifyState::to_string).collect();
    socket.send(lines.join("\n").as_bytes()).map(drop)
}

/// Start-up is done, even if the proxy still waits for a `server.pem`.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(bounded(status))]);
}

/// The line that `systemctl status` shows.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(bounded(status))]);
}

fn bounded(status: &str) -> &str {
    let ends = status
        .char_indices()
        .map(|(at, character)| at + character.len_utf8());
    let end = ends.take_while(|end| *end <= LONGEST).last();
    end.map_or("", |end| &status[..end])
}

/// A reload begins that systemd does not know of; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "no monotonic clock"),
    }
}

/// This process is the main process from now on, and speaks for the service in place of this one.
pub fn replaced_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
    REPLACED.store(true, Ordering::Relaxed);
}

/// It is not after all: that one has ended.
pub fn not_replaced() {
    REPLACED.store(false, Ordering::Relaxed);
}

/// The drain begins.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Feeds the watchdog each time that `turning` has returned; returns at once if there is none.
pub async fn watchdog(turning: impl AsyncFn()) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut beat = tokio::time::interval(limit / 3);
    loop {
        beat.tick().await;
        turning().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// The listening sockets that systemd holds for us (`noded-proxy.socket`).
pub fn inherited_listeners() -> Vec<TcpListener> {
    let mut inherited = listenfd::ListenFd::from_env();
    (0..inherited.len())
        .filter_map(|index| match inherited.take_tcp_listener(index) {
            Ok(listener) => listener,
            Err(error) => {
                warn!(index, %error, "an inherited socket is not a TCP listener");
                None
            }
        })
        .collect()
}
