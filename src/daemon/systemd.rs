//! What systemd is told: ready, reloading, stopping, a status line, the watchdog. Without `$NOTIFY_SOCKET`
//! all of it does nothing. See sd_notify(3), sd_watchdog_enabled(3).

use std::net::TcpListener;

use sd_notify::NotifyState;
use tracing::{debug, warn};

/// Tells systemd; a failure is only worth a debug line.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "sd_notify");
    }
}

/// Start-up is done (which includes waiting for a `server.pem`).
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The line that `systemctl status` shows.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "no monotonic clock"),
    }
}

/// The drain begins.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Feeds the watchdog for as long as `turning` comes back; returns at once when there is none.
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
                warn!(index, %error, "an inherited socket is no TCP listener");
                None
            }
        })
        .collect()
}
