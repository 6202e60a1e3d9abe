//! Builds the parts, runs them, reacts to signals, drains: the only room that knows all others.
//!
//! It decides about no peer, knows no exit status, and prints nothing: it speaks through tracing.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::daemon::admin::{Admin, CONNECTIONS};
use crate::daemon::admin_port::AdminPort;
use crate::daemon::announce::{Announcer, announce_mode, announce_policy};
use crate::daemon::logging::Log;
use crate::daemon::metrics::Metrics;
use crate::daemon::{admin_socket, sandbox, systemd};
use crate::node::sockets::Holders;
use crate::proxy::connection;
use crate::proxy::http::{Bodies, Budget};
use crate::proxy::listener::{Listener, may_heal, raise_file_limit};
use crate::proxy::overload::{Bounds, Overload};
use crate::proxy::refusals::Refusals;
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{Handles, Upstream};
use crate::proxy::workers::{Workers, event_loop};
use crate::tls;
use crate::trust::{Reloader, Reloads, Store, watch};
use rules::Named;

/// Files that are open beside connections: admin clients; listeners, watches, runtime, log.
const OTHER_FILES: usize = 2 * CONNECTIONS + 64;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every RPC ended within the drain timeout.
    Drained,
    /// The drain deadline has passed, with this many connections and exchanges left.
    Cut(usize),
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be opened.
    #[error("{key} = {address}: cannot listen there: {source}")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The sandbox cannot be entered.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// Signals cannot be caught, a thread cannot be started, or the like.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Runs a proxy until SIGTERM or SIGINT, then drains. Call it before there is a second thread: the
/// sandbox holds this thread and those that it starts.
pub(crate) fn serve(config: &Config, log: &Log) -> Result<Outcome, StartError> {
    let ports = config.listen.iter().chain([&config.admin]);
    let holders = Holders::of(&Vec::from_iter(ports.map(SocketAddr::port)));
    let sandbox = sandbox::start(config)?; // before there is any other thread
    log.in_background()?;
    let runtime = event_loop()?;
    let outcome = runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! {
                _ = term.recv() => info!("SIGTERM: draining"),
                _ = int.recv() => info!("SIGINT: draining"),
            }
        };
        let server = Server::knowing(holders, config)?;
        server.admin.set_log(log.queue());
        server.inside(sandbox).run(stop).await
    });
    runtime.shutdown_background(); // what still runs has had the drain timeout
    outcome
}

/// A proxy whose parts are built and whose ports are open (a port that is taken is tried again
/// later), ready to [`Server::run`].
pub struct Server {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    admin: Arc<Admin>,
    admin_port: AdminPort,
    admin_socket: Option<PathBuf>,
    listener: Listener,
    reloads: Reloads,
    workers: Arc<Workers>,
    drain_timeout: Duration,
}

impl Server {
    /// Loads the files and opens the ports. Must be called inside a tokio runtime.
    pub fn build(config: &Config) -> Result<Self, StartError> {
        Self::knowing(Holders::default(), config)
    }

    /// As [`Server::build`], knowing who held the ports before the sandbox was entered.
    fn knowing(holders: Holders, config: &Config) -> Result<Self, StartError> {
        let bounds = fitting(config, raise_file_limit());
        let metrics = Arc::new(Metrics::new());
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
        let store = Store::new(config.access());
        announce_mode(config.admission.mode, &metrics);
        announce_policy(&config.policy, &metrics);
        let handles = (Arc::clone(&store), Arc::clone(&metrics.trust));
        let (paths, settings) = (config.paths(), config.reload_settings());
        let reloader = Reloader::new(paths, handles.0, handles.1, settings);
        let (reloads, first) = watch(reloader, &store);
        let shared = share(config, bounds, store, &metrics, reloads.clone());
        let admin_port = AdminPort::open(config.admin, holders.clone())
            .map_err(|source| cannot_listen("admin", config.admin, source))?;
        let admin_socket = admin_socket::path(config);
        let inherited = systemd::inherited_listeners();
        let mut listener = Listener::new(config.listen.clone(), inherited, holders)?;
        if first.tls.is_some()
            && let Err((address, source)) = listener.open()
            && !may_heal(&source)
        {
            return Err(cannot_listen("listen", address, source));
        }
        let admin = Admin::new(Arc::clone(&shared), Arc::clone(&metrics));
        let workers = Workers::for_each_processor(tls::prepare_thread)?;
        let drain_timeout = config.drain_timeout;
        Ok(Self {
            shared,
            metrics,
            admin,
            admin_port,
            admin_socket,
            listener,
            reloads,
            workers: Arc::new(workers),
            drain_timeout,
        })
    }

    /// Logs and counts which layers of the sandbox are in force.
    fn inside(self, sandbox: Option<sandbox::Report>) -> Self {
        let Some(sandbox) = sandbox else {
            warn!("sandbox = off");
            return self;
        };
        self.admin.set_sandbox(sandbox);
        for layer in sandbox::Layer::all() {
            let on = i64::from(sandbox.has(layer));
            self.metrics.sandbox.of(layer).set(on);
        }
        if sandbox.is_complete() {
            info!(layers = %sandbox, "sandbox");
        } else {
            warn!(layers = %sandbox, "sandbox: not complete");
        }
        self
    }

    /// Addresses of the public listener (none while there is no `server.pem`) and of the admin
    /// listener.
    pub fn addresses(&self) -> (Vec<SocketAddr>, Option<SocketAddr>) {
        let public = self.listener.addresses();
        (public, self.admin_port.address())
    }

    /// Runs until `stop`, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Outcome, StartError> {
        let Self {
            shared,
            metrics,
            admin,
            admin_port,
            admin_socket,
            listener,
            reloads,
            workers,
            drain_timeout,
        } = self;
        let hangup = signal(SignalKind::hangup())?;
        admin_port.tell();
        let answering = Arc::clone(&admin);
        tokio::spawn(async move { answering.serve(admin_port.opened().await).await });
        if let Some(socket) = admin_socket.and_then(|path| admin_socket::open(&path)) {
            tokio::spawn(Arc::clone(&admin).serve_socket(socket));
        }
        info!(workers = workers.count(), "workers");
        let turning = Arc::clone(&workers);
        tokio::spawn(systemd::watchdog(async move || turning.all_turn().await));
        let refusing = Arc::clone(&shared);
        tokio::spawn(async move { refusing.refusals.tell_bursts().await });
        let reloading = tokio::spawn(reload_on_hangup(hangup, reloads, Arc::clone(&admin)));
        let mut announcer = Announcer::new(admin);
        let (serving, on) = (Arc::clone(&shared), Arc::clone(&workers));
        let begin = move |tcp, address| connection::begin(&serving, &on, tcp, address);
        let tell = move |state| announcer.tell(state);
        let accepting = tokio::spawn(listener.run(Arc::clone(&shared), begin, tell));
        stop.await;
        reloading.abort(); // the map is still watched; only SIGHUP is ignored from now on
        systemd::stopping();
        metrics.draining.set(1);
        shared.drain.cancel();
        let _ = accepting.await; // closes the listening sockets
        let outcome = drain(&shared, drain_timeout).await;
        shared.refusals.tell_now();
        Ok(outcome)
    }
}

/// Waits until all connections and exchanges have ended, up to the deadline.
async fn drain(shared: &Shared, limit: Duration) -> Outcome {
    shared.tasks.close();
    let begun = Instant::now();
    match tokio::time::timeout(limit, shared.tasks.wait()).await {
        Ok(()) => {
            info!(seconds = begun.elapsed().as_secs_f64(), "drained");
            Outcome::Drained
        }
        Err(_) => {
            let left = shared.tasks.len();
            error!(
                left,
                "the drain timeout has passed, cutting what still runs"
            );
            Outcome::Cut(left)
        }
    }
}

/// Reads the files again at each SIGHUP, and tells systemd when that is done.
async fn reload_on_hangup(mut hangup: Signal, reloads: Reloads, admin: Arc<Admin>) {
    while hangup.recv().await.is_some() {
        info!("SIGHUP: reading candidate map and server.pem again");
        systemd::reloading();
        reloads.now().await;
        systemd::ready(&admin.summary());
    }
}

/// The bounds on connections for a process that may open `files` files: what was asked for, or
/// less.
fn fitting(config: &Config, files: u64) -> Bounds {
    let asked = config.bounds();
    let bounds = lowered(asked, files, config.upstream.max_clients);
    if bounds != asked {
        warn!(
            connections = bounds.connections,
            configured = asked.connections,
            files,
            "limits.connections is lowered to what the limit on open files allows (LimitNOFILE=)"
        );
    }
    bounds
}

/// A connection that is accepted and cannot be served for lack of files helps nobody.
fn lowered(asked: Bounds, files: u64, upstream: usize) -> Bounds {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let left = files.saturating_sub(upstream + OTHER_FILES).max(files / 4);
    let connections = asked.connections.min(left).max(1);
    match connections < asked.connections {
        true => Bounds {
            connections,
            reserved: asked.reserved.min(connections / 4),
            ..asked
        },
        false => asked,
    }
}

fn share(
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
        connections: Budget::new(bounds.connections as u64 + 1), // the first is always free
        bodies: Bodies::new(settings.body, memory, directory, spool),
        metrics: Arc::clone(&metrics.proxy),
        policy: config.policy.clone(),
        settings,
        drain,
        tasks,
        refusals: Refusals::default(),
        reloads,
        started: Instant::now(),
    })
}

/// The error for a port of this configuration key.
fn cannot_listen(key: &'static str, address: SocketAddr, source: io::Error) -> StartError {
    StartError::Bind {
        key,
        address,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        let asked = Config::default().bounds();
        for (files, connections, reserved) in [
            (u64::MAX, 4096, 64),
            (65_536, 4096, 64),
            (1024, 876, 64),
            (64, 16, 4),
            (1, 1, 0),
        ] {
            let bounds = lowered(asked, files, 20);
            let found = (bounds.connections, bounds.reserved);
            assert_eq!(found, (connections, reserved), "{files}");
        }
    }
}
