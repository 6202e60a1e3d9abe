//! Makes single parts of the daemon from the configuration. It never runs one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use std::io;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::admin_port::AdminPort;
use super::handover::Heir;
use super::metrics::Metrics;
use super::start_error::StartError;
use super::systemd;
use crate::config::Config;
use crate::node::sockets::Holders;
use crate::proxy::http::{Bodies, Budget};
use crate::proxy::listener::{Listener, may_heal};
use crate::proxy::overload::{Bounds, Callers, Overload};
use crate::proxy::refusals::Refusals;
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{Handles, Upstream};
use crate::trust::{Fault, Reloader, Reloads, Snapshot, Store};

/// Says what in the configuration deserves a second look.
pub(super) fn warn_of(config: &Config, metrics: &Metrics) {
    metrics.legacy.set(i64::from(config.tls.legacy));
    if config.tls.legacy {
        warn!(
            "tls.legacy: TLS 1.0 and 1.1, RSA key exchange, 1024-bit keys and SHA-1 are \
             accepted"
        );
    }
    for name in config.policy.unknown_procedures() {
        warn!(
            name,
            "policy: no procedure of Ganeti 2.8 to 3.1 has this name"
        );
    }
    for rule in config.policy.holes() {
        warn!(%rule, "policy: with this exception a candidate can make itself master");
    }
}

/// What reads the files. A successor knows what the process before it has left to it.
pub(super) fn reloader(
    config: &Config,
    heir: Option<&Heir>,
    store: &Arc<Store>,
    metrics: &Metrics,
) -> io::Result<Reloader> {
    let handles = (Arc::clone(store), Arc::clone(&metrics.trust));
    let (paths, mut settings) = (config.paths(), config.reload_settings());
    settings.keeps_state = heir.is_none(); // until it takes over, it is another process's
    let mut reloader = Reloader::new(paths, handles.0, handles.1, settings);
    if let Some(bequest) = heir.map(Heir::bequest).transpose()?.flatten() {
        reloader.inherit(bequest);
    }
    Ok(reloader)
}

/// A successor never takes over with files that cannot be used: the process before it has better.
pub(super) fn without_faults(first: &Snapshot) -> Result<(), StartError> {
    let bad =
        |fault: &&Fault| matches!(fault, Fault::CandidateMap { .. } | Fault::ServerPem { .. });
    match first.faults.iter().find(bad) {
        Some(fault) => Err(StartError::Files(fault.to_string())),
        None => Ok(()),
    }
}

/// The admin port: that of the process before, or a new one.
pub(super) fn admin_port(
    config: &Config,
    holders: Holders,
    heir: Option<&Heir>,
) -> Result<AdminPort, StartError> {
    let address = config.admin;
    let opened = match heir.map(|heir| heir.admin(address)).transpose()?.flatten() {
        Some(socket) => AdminPort::continuing(address, holders, socket),
        None => AdminPort::open(address, holders),
    };
    opened.map_err(|source| cannot_listen("admin", address, source))
}

/// The public listener, with the sockets of the process before, of systemd, or with new ones.
pub(super) fn listener(
    config: &Config,
    holders: Holders,
    heir: Option<&Heir>,
    joined: bool,
) -> Result<Listener, StartError> {
    let inherited = systemd::inherited_listeners();
    let mut listener = Listener::new(config.listen.clone(), inherited, holders)?;
    if let Some(heir) = heir {
        let (sockets, of_systemd) = heir.listeners(&config.listen)?;
        listener = listener.continuing(sockets, of_systemd)?;
    }
    if joined
        && let Err((address, source)) = listener.open()
        && (heir.is_some() || !may_heal(&source))
    {
        return Err(cannot_listen("listen", address, source));
    }
    Ok(listener)
}

pub(super) fn share(
    config: &Config,
    bounds: Bounds,
    store: Arc<Store>,
    metrics: &Metrics,
    reloads: Reloads,
) -> Arc<Shared> {
    let settings = config.proxy_settings();
    let (tasks, memory) = (TaskTracker::new(), Budget::new(settings.memory));
    let (directory, spool) = (
        settings.spool_directory.clone(),
        Budget::new(settings.spool),
    );
    let (drain, noded) = (CancellationToken::new(), config.upstream_settings());
    let handles = Handles {
        store: Arc::clone(&store),
        memory: memory.clone(),
        metrics: Arc::clone(&metrics.upstream),
        tasks: tasks.clone(),
        closing: drain.clone(),
    };
    let upstream = Upstream::new(noded, handles);
    Arc::new(Shared {
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        store,
        upstream,
        overload: Overload::new(bounds),
        callers: Callers::default(),
        connections: Budget::new(bounds.connections as u64 + 1), // the first is always free
        bodies: Bodies::new(settings.body, memory, directory, spool),
        metrics: Arc::clone(&metrics.proxy),
        policy: config.policy.clone(),
        settings,
        drain,
        stopped: CancellationToken::new(),
        superseded: CancellationToken::new(),
        tasks,
        refusals: Refusals::default(),
        reloads,
        started: Instant::now(),
    })
}

/// The error for a port of this configuration key.
pub(super) fn cannot_listen(
    key: &'static str,
    address: SocketAddr,
    source: io::Error,
) -> StartError {
    StartError::Bind {
        key,
        address,
        source,
    }
}
