//! Builds the parts, runs them, reacts to signals, drains: the only room that knows all others.
//!
//! It decides about no peer, knows no exit status, and prints nothing: it speaks through tracing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::daemon::admin::Admin;
use crate::daemon::admin_port::AdminPort;
use crate::daemon::announce::{Announcer, announce_mode};
use crate::daemon::bounds::fitting;
use crate::daemon::handover::{AdminSocket, Estate, Heir, Predecessors, Retired, Spawner};
use crate::daemon::logging::Log;
use crate::daemon::metrics::Metrics;
use crate::daemon::{sandbox, systemd};
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
use crate::trust::sightings::Sightings;
use crate::trust::{Fault, Reloader, Reloads, Snapshot, Store, watch};
use rules::Named;

/// Pause between two looks at whether a process that was replaced can still get a request.
const SETTLING: Duration = Duration::from_millis(200);

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
    /// A successor does not take over from a process that has read the files in a better state.
    #[error("{0}")]
    Files(String),
    /// Signals cannot be caught, a thread cannot be started, or the like.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Runs a proxy until SIGTERM or SIGINT, then drains. Call it before there is a second thread: the
/// sandbox holds this thread and those that it starts. `heir`: what the process before this one has
/// left to it.
pub(crate) fn serve(
    config: &Config,
    log: &Log,
    heir: Option<&Heir>,
) -> Result<Outcome, StartError> {
    let served = serve_until_stopped(config, log, heir);
    if let (Err(error), Some(heir)) = (&served, heir) {
        heir.fail(error);
    }
    served
}

fn serve_until_stopped(
    config: &Config,
    log: &Log,
    heir: Option<&Heir>,
) -> Result<Outcome, StartError> {
    let ports = config.listen.iter().chain([&config.admin]);
    let holders = Holders::of(&Vec::from_iter(ports.map(SocketAddr::port)));
    let spawner = Spawner::start(); // before the sandbox, which would be the successor's, too
    let spawner = spawner.inspect_err(|error| warn!(%error, "no spawner: no reload is possible"));
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
        let mut server = Server::knowing(holders, config, heir)?;
        server.admin.set_log(log.queue());
        server.estate.spawner = spawner.ok();
        let mut server = server.inside(sandbox);
        if let Some(heir) = heir {
            server.take_over(heir)?;
        }
        server.run(stop).await
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
    listener: Listener,
    reloads: Reloads,
    workers: Arc<Workers>,
    estate: Estate,
    drain_timeout: Duration,
}

impl Server {
    /// Loads the files and opens the ports. Must be called inside a tokio runtime.
    pub fn build(config: &Config) -> Result<Self, StartError> {
        Self::knowing(Holders::default(), config, None)
    }

    /// As [`Server::build`], knowing who held the ports before the sandbox was entered.
    fn knowing(holders: Holders, config: &Config, heir: Option<&Heir>) -> Result<Self, StartError> {
        let bounds = fitting(config, raise_file_limit());
        let metrics = Arc::new(Metrics::new());
        warn_of(config, &metrics);
        let store = Store::new(config.access());
        announce_mode(config.admission.mode, &metrics);
        let handles = (Arc::clone(&store), Arc::clone(&metrics.trust));
        let (paths, settings) = (config.paths(), config.reload_settings());
        let reloader = Reloader::new(paths, handles.0, handles.1, settings);
        let (reloads, first) = watch(reloader, &store);
        let shared = share(config, bounds, store, &metrics, reloads.clone());
        if heir.is_some() {
            without_faults(&first)?;
        }
        let admin_port = admin_port(config, holders.clone(), heir)?;
        let listener = listener(config, holders, heir, first.tls.is_some())?;
        let admin = Admin::new(Arc::clone(&shared), Arc::clone(&metrics));
        let workers = Workers::for_each_processor(tls::prepare_thread)?;
        let drain_timeout = config.drain_timeout;
        let slots = Arc::clone(shared.upstream.slots());
        let estate = Estate {
            spawner: None,
            listen: config.listen.clone(),
            of_systemd: listener.is_inherited(),
            opened: listener.opened(),
            admin: config.admin,
            admin_socket: AdminSocket::default(),
            predecessors: Predecessors::new(Vec::new(), Arc::clone(&slots)),
            slots,
            attempts: 0,
        };
        Ok(Self {
            shared,
            metrics,
            admin,
            admin_port,
            listener,
            reloads,
            workers: Arc::new(workers),
            estate,
            drain_timeout,
        })
    }

    /// Waits until the process before this one lets it serve.
    fn take_over(&mut self, heir: &Heir) -> io::Result<()> {
        let slots = Arc::clone(&self.estate.slots);
        self.estate.predecessors = Predecessors::new(heir.take_over()?, slots);
        self.estate.attempts = heir.attempts();
        self.admin.set_handovers(heir.attempts(), None);
        Ok(())
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

    /// Runs until `stop` or a handover, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Outcome, StartError> {
        let Self {
            shared,
            metrics,
            admin,
            admin_port,
            listener,
            reloads,
            workers,
            mut estate,
            drain_timeout,
        } = self;
        let hangup = signal(SignalKind::hangup())?;
        admin_port.tell();
        admin.set_predecessors(&estate.predecessors);
        let (answering, keep) = (Arc::clone(&admin), Arc::clone(&estate.admin_socket));
        let answering = tokio::spawn(async move {
            let socket = admin_port.opened().await;
            let copy = socket.as_fd().try_clone_to_owned().ok();
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = copy;
            answering.serve(socket).await;
        });
        info!(workers = workers.count(), "workers");
        let turning = Arc::clone(&workers);
        tokio::spawn(systemd::watchdog(async move || turning.all_turn().await));
        let refusing = Arc::clone(&shared);
        tokio::spawn(async move { refusing.refusals.tell_bursts().await });
        let mut announcer = Announcer::new(Arc::clone(&admin));
        let (serving, on) = (Arc::clone(&shared), Arc::clone(&workers));
        let begin = move |tcp, address| connection::begin(&serving, &on, tcp, address);
        let tell = move |state| announcer.tell(state);
        let accepting = tokio::spawn(listener.run(Arc::clone(&shared), begin, tell));
        let mut stop = pin!(stop);
        let retired = tokio::select! {
            () = &mut stop => None,
            retired = hand_over_on_hangup(hangup, reloads.clone(), admin, &mut estate) => Some(retired),
        };
        systemd::stopping();
        metrics.draining.set(1);
        shared.drain.cancel();
        if retired.is_none() {
            shared.stopped.cancel();
        }
        let _ = accepting.await; // closes the listening sockets
        let outcome = match retired {
            None => {
                estate.predecessors.drain();
                let _listening = estate.listen();
                drain(&shared, &estate.predecessors, drain_timeout).await
            }
            Some(retired) => {
                answering.abort();
                finish(&shared, retired, stop, drain_timeout).await
            }
        };
        drop(reloads); // the map was watched until now
        shared.refusals.tell_now();
        Ok(outcome)
    }
}

/// Waits until all connections and exchanges have ended, here and in the processes that were
/// replaced, up to the deadline.
async fn drain(shared: &Shared, predecessors: &Predecessors, limit: Duration) -> Outcome {
    shared.stopped.cancel();
    shared.tasks.close();
    let begun = Instant::now();
    let ended = async { tokio::join!(shared.tasks.wait(), predecessors.ended()) };
    match tokio::time::timeout(limit, ended).await {
        Ok(_) => {
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

/// What a process does that was replaced: it finishes what it has, however long that takes, unless
/// it is stopped, by a signal or with its successor.
async fn finish(
    shared: &Shared,
    retired: Retired,
    stop: impl Future<Output = ()>,
    limit: Duration,
) -> Outcome {
    shared.tasks.close();
    let settling = async {
        let slots = shared.upstream.slots();
        // Each task that is left has a slot, so no request can come.
        while shared.tasks.len() > slots.load().in_use {
            tokio::time::sleep(SETTLING).await;
        }
        slots.settle();
        std::future::pending().await
    };
    tokio::select! {
        () = shared.tasks.wait() => {}
        () = stop => {}
        () = retired.pass_on() => {}
        () = settling => {}
    }
    match shared.tasks.is_empty() {
        true => Outcome::Drained,
        false => drain(shared, &Predecessors::none(shared.upstream.slots()), limit).await,
    }
}

/// At each SIGHUP reads the files again, and starts a fresh process from what is on disk. Returns
/// when that one has taken over. systemd is told in either case.
async fn hand_over_on_hangup(
    mut hangup: Signal,
    reloads: Reloads,
    admin: Arc<Admin>,
    estate: &mut Estate,
) -> Retired {
    let mut listening = estate.listen();
    loop {
        if hangup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        info!("SIGHUP: reading candidate map and server.pem again");
        systemd::reloading();
        reloads.now().await;
        match estate.hand_over(&mut listening).await {
            Ok(retired) => {
                let pid = retired.successor();
                info!(pid, "a new process serves; this one finishes what it has");
                return retired;
            }
            Err(why) => {
                error!(why, "no handover: this process goes on as before");
                admin.set_handovers(estate.attempts, Some(why));
                systemd::ready(&admin.summary());
            }
        }
    }
}

/// Says what in the configuration deserves a second look.
fn warn_of(config: &Config, metrics: &Metrics) {
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

/// A successor never takes over with files that cannot be used: the process before it has better.
fn without_faults(first: &Snapshot) -> Result<(), StartError> {
    let bad =
        |fault: &&Fault| matches!(fault, Fault::CandidateMap { .. } | Fault::ServerPem { .. });
    match first.faults.iter().find(bad) {
        Some(fault) => Err(StartError::Files(fault.to_string())),
        None => Ok(()),
    }
}

/// The admin port: that of the process before, or a new one.
fn admin_port(
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
fn listener(
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
        stopped: CancellationToken::new(),
        tasks,
        refusals: Refusals::default(),
        sightings: Sightings::default(),
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
