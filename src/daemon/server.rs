//! Builds the parts, runs them, reacts to signals, drains: the only room that knows all others.
//!
//! It decides about no peer, knows no exit status, and prints nothing: it speaks through tracing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::daemon::admin::Admin;
use crate::daemon::{sandbox, systemd};
use crate::metrics::Metrics;
use crate::proxy::http::Budget;
use crate::proxy::listener::{bind, raise_file_limit};
use crate::proxy::overload::Bounds;
use crate::proxy::public::Public;
use crate::proxy::shared::{Refusals, Shared};
use crate::proxy::upstream::Upstream;
use crate::proxy::workers::{Workers, event_loop};
use crate::tls;
use crate::trust::sightings::Sightings;
use crate::trust::{Reloader, Reloads, Store, watch};
use rules::admission::{Admission, Nobody};
use rules::authz::Mode;

/// Files that are open beside connections: listeners, watches, runtime, log, admin clients.
const OTHER_FILES: usize = 64;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every RPC ended within the drain timeout.
    Drained,
    /// The drain deadline passed with so many connections or exchanges left.
    Cut(usize),
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error("{key} = {address}: cannot listen there: {source}")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The sandbox cannot be had.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// Signals cannot be caught, or the like.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Runs a proxy until SIGTERM or SIGINT, then drains. Call it before there is a second thread: the sandbox holds
/// this thread and those that it starts.
pub(crate) fn serve(config: &Config) -> Result<Outcome, StartError> {
    let sandbox = sandbox::start(config)?; // before there is any other thread
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
        Server::build(config)?.inside(sandbox).run(stop).await
    });
    runtime.shutdown_background(); // what still runs was given its time
    outcome
}

/// A proxy whose parts are built and whose ports are open, ready to [`Server::run`].
pub struct Server {
    shared: Arc<Shared>,
    admin: Arc<Admin>,
    admin_listener: TcpListener,
    public: Public,
    reloads: Reloads,
    workers: Arc<Workers>,
    drain_timeout: Duration,
}

impl Server {
    /// Loads the files and opens the ports. Must be called inside a tokio runtime.
    pub fn build(config: &Config) -> Result<Self, StartError> {
        let bounds = fitting(config, raise_file_limit());
        let metrics = Arc::new(Metrics::new());
        metrics.legacy.set(i64::from(config.tls.legacy));
        if config.tls.legacy {
            warn!(
                "tls.legacy: TLS 1.0 and 1.1, RSA key exchange, 1024-bit keys and SHA-1 are taken"
            );
        }
        for name in config.policy.strangers() {
            warn!(
                name,
                "policy: no procedure of Ganeti 2.8 to 3.1 has this name"
            );
        }
        let store = Store::new(config.access());
        announce_mode(config.admission.mode, &metrics);
        let handles = (Arc::clone(&store), Arc::clone(&metrics));
        let (paths, settings) = (config.paths(), config.reload_settings());
        let reloader = Reloader::new(paths, handles.0, handles.1, settings);
        let (reloads, first) = watch(reloader, &store);
        let shared = share(config, store, metrics, reloads.clone());
        let admin_listener = open("admin", config.admin)?;
        let mut public = Public::new(config.listen.clone(), bounds)?;
        if first.tls.is_some() && !public.inherited {
            for address in &config.listen {
                public.open.push(Arc::new(open("listen", *address)?));
            }
        }
        let admin = Admin::new(Arc::clone(&shared));
        let workers = Workers::for_each_processor(tls::prepare_thread)?;
        let drain_timeout = config.drain_timeout;
        Ok(Self {
            shared,
            admin,
            admin_listener,
            public,
            reloads,
            workers: Arc::new(workers),
            drain_timeout,
        })
    }

    /// Shows which layers of the sandbox are in force.
    fn inside(self, sandbox: Option<sandbox::Report>) -> Self {
        let Some(sandbox) = sandbox else {
            warn!("sandbox = off");
            return self;
        };
        let gauge = &self.shared.metrics.sandbox;
        for (layer, on) in sandbox.layers() {
            gauge.with_label_values(&[layer]).set(i64::from(on));
        }
        if sandbox.is_complete() {
            info!(layers = %sandbox, "sandbox");
        } else {
            warn!(layers = %sandbox, "sandbox: not complete");
        }
        self
    }

    /// Addresses of the public listener (none while there is no `server.pem`) and of the admin listener.
    pub fn addresses(&self) -> (Vec<SocketAddr>, Option<SocketAddr>) {
        let public = self
            .public
            .open
            .iter()
            .filter_map(|l| l.local_addr().ok())
            .collect();
        (public, self.admin_listener.local_addr().ok())
    }

    /// Runs until `stop`, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Outcome, StartError> {
        let Self {
            shared,
            admin,
            admin_listener,
            public,
            reloads,
            workers,
            drain_timeout,
        } = self;
        let hangup = signal(SignalKind::hangup())?;
        info!(address = %admin_listener.local_addr()?, "admin listener open");
        tokio::spawn(Arc::clone(&admin).serve(admin_listener));
        info!(workers = workers.count(), "workers");
        let turning = Arc::clone(&workers);
        tokio::spawn(systemd::watchdog(async move || turning.all_turn().await));
        let reloading = tokio::spawn(reload_on_hangup(hangup, reloads, Arc::clone(&shared)));
        let accepting = tokio::spawn(public.run(Arc::clone(&shared), Arc::clone(&workers), admin));
        stop.await;
        reloading.abort(); // the map is still watched; only SIGHUP is not answered any more
        systemd::stopping();
        shared.metrics.draining.set(1);
        shared.drain.cancel();
        let _ = accepting.await; // closes the listening sockets
        Ok(drain(&shared, drain_timeout).await)
    }
}

/// Waits for running RPCs, up to the deadline.
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

async fn reload_on_hangup(mut hangup: Signal, reloads: Reloads, shared: Arc<Shared>) {
    while hangup.recv().await.is_some() {
        info!("SIGHUP: reading candidate map and server.pem again");
        systemd::reloading();
        reloads.now().await;
        systemd::ready(&summary(&shared));
    }
}

/// Audit mode is no protection, and says so.
fn announce_mode(mode: Mode, metrics: &Metrics) {
    metrics.mode.with_label_values(&[mode.name()]).set(1);
    match mode {
        Mode::Enforce => info!(mode = mode.name(), "the candidate map decides"),
        Mode::Audit => warn!(
            mode = mode.name(),
            "AUDIT MODE: any certificate of this cluster is admitted; what enforce would refuse is only counted"
        ),
    }
}

/// The bounds on connections for a process that may open `files` files: what was asked for, or less.
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
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    reloads: Reloads,
) -> Arc<Shared> {
    let settings = config.proxy_settings();
    let (tasks, budget) = (TaskTracker::new(), Budget::new(settings.memory));
    let (drain, noded) = (CancellationToken::new(), config.upstream_settings());
    let handles = (
        Arc::clone(&store),
        budget.clone(),
        Arc::clone(&metrics),
        tasks.clone(),
    );
    let upstream = Upstream::new(
        noded,
        drain.clone(),
        handles.0,
        handles.1,
        handles.2,
        handles.3,
    );
    Arc::new(Shared {
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        store,
        upstream,
        budget,
        metrics,
        policy: config.policy.clone(),
        settings,
        drain,
        tasks,
        refusals: Refusals::default(),
        sightings: Sightings::default(),
        reloads,
        started: Instant::now(),
    })
}

fn open(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address).map_err(|source| StartError::Bind {
        key,
        address,
        source,
    })
}

/// The line that `systemctl status` shows.
pub(crate) fn summary(shared: &Shared) -> String {
    let snapshot = shared.store.snapshot();
    let audit = match shared.store.policy().mode {
        Mode::Audit => "AUDIT MODE, every node is admitted; ",
        Mode::Enforce => "",
    };
    let fault = snapshot
        .faults
        .first()
        .map_or_else(String::new, |fault| format!("; {fault}"));
    match (&snapshot.tls, &snapshot.admission) {
        (None, Admission::Nobody(Nobody::NoIdentity)) => {
            format!("waiting for server.pem: the one that is there is faulty{fault}")
        }
        (None, _) => "waiting for server.pem: this node is in no cluster yet".into(),
        (Some(_), Admission::Listed(map)) => {
            format!("{audit}{} candidates admitted{fault}", map.entries())
        }
        (Some(_), Admission::Bootstrap(_)) => {
            format!("{audit}bootstrap phase: the certificate of server.pem is admitted{fault}")
        }
        (Some(_), Admission::Nobody(why)) => format!("nobody is admitted: {why}{fault}"),
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
            (1024, 940, 64),
            (64, 16, 4),
            (1, 1, 0),
        ] {
            let bounds = lowered(asked, files, 20);
            let found = (bounds.connections, bounds.reserved);
            assert_eq!(found, (connections, reserved), "{files}");
        }
    }
}
