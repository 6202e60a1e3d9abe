//! Builds the parts, runs them, reacts to signals, drains: the only room that knows all others.
//!
//! It decides about no peer, knows no exit status, and prints nothing: it speaks through tracing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::daemon::admin::Admin;
use crate::daemon::admin_port::AdminPort;
use crate::daemon::announce::{Announcer, announce_mode, announce_policy};
use crate::daemon::bounds::fitting;
use crate::daemon::ending::{drain, finish};
use crate::daemon::handover::{
    AdminFd, Asked, Doors, Estate, Heir, Predecessors, Retired, Spawner, Wish, left_behind,
};
use crate::daemon::logging::Log;
use crate::daemon::metrics::Metrics;
use crate::daemon::parts::{admin_port, listener, reloader, share, warn_of, without_faults};
use crate::daemon::{admin_socket, sandbox, systemd};

pub use crate::daemon::start_error::{Outcome, StartError};
use crate::node::sockets::Holders;
use crate::proxy::connection;
use crate::proxy::listener::{Listener, raise_file_limit};
use crate::proxy::shared::Shared;
use crate::proxy::workers::{Workers, event_loop};
use crate::tls;
use crate::trust::{Reloads, Store, watch};
use rules::Named;

/// Runs a proxy until SIGTERM or SIGINT, then drains. Call it before there is a second thread: the
/// sandbox holds this thread and those that it starts. `heir`: what the process before this one has
/// left to it.
pub(crate) fn serve(
    config: &Config,
    log: &Log,
    mut heir: Option<Heir>,
) -> Result<Outcome, StartError> {
    let served = serve_until_stopped(config, log, &mut heir);
    if let (Err(error), Some(heir)) = (&served, heir) {
        heir.fail(error);
    }
    served
}

fn serve_until_stopped(
    config: &Config,
    log: &Log,
    heir: &mut Option<Heir>,
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
        let mut server = Server::knowing(holders, config, heir.as_ref())?;
        server.admin.set_log(log.queue());
        server.estate.spawner = spawner.ok();
        let mut server = server.inside(sandbox);
        if let Some(heir) = heir.take() {
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
    admin_socket: Option<PathBuf>,
    listener: Listener,
    reloads: Reloads,
    workers: Arc<Workers>,
    estate: Estate,
    hangup: Signal,
    drain_timeout: Duration,
}

impl Server {
    /// Loads the files and opens the ports. Must be called inside a tokio runtime.
    pub fn build(config: &Config) -> Result<Self, StartError> {
        Self::knowing(Holders::default(), config, None)
    }

    /// As [`Server::build`], knowing who held the ports before the sandbox was entered.
    fn knowing(holders: Holders, config: &Config, heir: Option<&Heir>) -> Result<Self, StartError> {
        let hangup = signal(SignalKind::hangup())?; // until then one ends the process
        let bounds = fitting(config, raise_file_limit());
        let metrics = Arc::new(Metrics::new());
        warn_of(config, &metrics);
        let store = Store::new(config.access());
        announce_mode(config.admission.mode, &metrics);
        announce_policy(&config.policy, &metrics);
        let (reloads, first) = watch(reloader(config, heir, &store, &metrics)?, &store)?;
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
        let alive = match heir {
            Some(_) => Vec::new(), // it is told when it takes over
            None => left_behind(&config.state_dir),
        };
        // Those have no other main process any more.
        let doors = Doors::taking_control(!alive.is_empty());
        let estate = Estate {
            spawner: None,
            listen: config.listen.clone(),
            of_systemd: listener.is_inherited(),
            opened: listener.opened(),
            admin: config.admin,
            admin_fd: AdminFd::default(),
            predecessors: Predecessors::new(alive, Arc::clone(&slots)),
            slots,
            superseded: shared.superseded.clone(),
            in_force: config.in_force(),
            attempts: 0,
            state_dir: config.state_dir.clone(),
            reloads: reloads.clone(),
            doors,
        };
        Ok(Self {
            shared,
            metrics,
            admin,
            admin_port,
            admin_socket: admin_socket::path(config),
            listener,
            reloads,
            workers: Arc::new(workers),
            estate,
            hangup,
            drain_timeout,
        })
    }

    /// Waits until the process before this one lets it serve.
    fn take_over(&mut self, heir: Heir) -> io::Result<()> {
        self.estate.doors = Doors::taking_control(heir.takes_control());
        let (attempts, slots) = (heir.attempts(), Arc::clone(&self.estate.slots));
        self.estate.predecessors = Predecessors::new(heir.take_over(&self.estate.in_force)?, slots);
        self.estate.attempts = attempts;
        self.reloads.own_state();
        self.admin.set_handovers(attempts, None);
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
            admin_socket,
            listener,
            reloads,
            workers,
            mut estate,
            hangup,
            drain_timeout,
        } = self;
        estate.open();
        admin_port.tell();
        admin.set_predecessors(&estate.predecessors);
        let mut answering = answer(&admin, admin_port, &estate.admin_fd, admin_socket);
        info!(workers = workers.count(), "workers");
        let turning = Arc::clone(&workers);
        tokio::spawn(systemd::watchdog(async move || turning.all_turn().await));
        let refusing = Arc::clone(&shared);
        tokio::spawn(async move { refusing.refusals.tell_bursts().await });
        let mut announcer = Announcer::new(Arc::clone(&admin));
        let (serving, on) = (Arc::clone(&shared), Arc::clone(&workers));
        let begin = move |tcp, address| connection::begin(&serving, &on, tcp, address);
        let tell = move |state| announcer.tell(state);
        let mut accepting = tokio::spawn(listener.run(Arc::clone(&shared), begin, tell));
        let (mut stop, answers) = (pin!(stop), Arc::clone(&admin));
        let retired = tokio::select! {
            () = &mut stop => None,
            retired = hand_over_when_asked(hangup, admin, &mut estate) => Some(retired),
            // It is never done before the drain: it panicked. The service manager starts another one.
            _ = &mut accepting => return Err(io::Error::other("nobody accepts any more").into()),
        };
        estate.close();
        systemd::stopping();
        metrics.draining.set(1);
        shared.drain.cancel();
        let _ = accepting.await; // closes the listening sockets
        let outcome = match retired {
            None => {
                estate.predecessors.drain();
                let _listening = estate.listen();
                drain(&shared, &estate.predecessors, drain_timeout).await
            }
            Some((retired, asked)) => {
                answering.shutdown().await; // from now on the new one answers everywhere
                asked.inspect(|asked: &Asked| asked.tell(Ok(retired.successor())));
                let finished = finish(&shared, retired, stop, drain_timeout);
                tokio::join!(finished, answers.answered()).0
            }
        };
        drop(reloads); // the map was watched until now
        shared.refusals.tell_now();
        Ok(outcome)
    }
}

/// Answers at the admin port and at the admin socket, until the set is dropped.
fn answer(
    admin: &Arc<Admin>,
    port: AdminPort,
    kept: &AdminFd,
    path: Option<PathBuf>,
) -> JoinSet<()> {
    let mut answering = JoinSet::new();
    let (at_port, kept) = (Arc::clone(admin), Arc::clone(kept));
    answering.spawn(async move {
        let socket = port.opened().await;
        let copy = socket.as_fd().try_clone_to_owned().ok();
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = copy;
        at_port.serve(socket).await;
    });
    if let Some(socket) = path.and_then(|path| admin_socket::open(&path)) {
        answering.spawn(Arc::clone(admin).serve_socket(socket));
    }
    answering
}

/// At each SIGHUP, and when somebody asks for it, reads the files again and starts a fresh process
/// from what is on disk. Returns when that one has taken over, and who is to be told. systemd is told
/// in either case.
async fn hand_over_when_asked(
    mut hangup: Signal,
    admin: Arc<Admin>,
    estate: &mut Estate,
) -> (Retired, Option<Asked>) {
    let mut listening = estate.listen();
    loop {
        let asked = tokio::select! {
            Some(()) = hangup.recv() => None,
            wish = estate.wish() => match wish {
                Wish::Main(retired) => {
                    estate.give_up().await;
                    return (replaced(retired), None);
                }
                Wish::Reload(asked) => Some(asked),
            },
        };
        let by = asked.as_ref().map_or("SIGHUP", |_| "reload");
        info!(by, "reading candidate map and server.pem again");
        // By `systemctl reload` systemd knows. Told again, systemd 257 waits for the end of the reload
        // from a main process that was killed in it, and not for the next start.
        if asked.is_none() {
            systemd::reloading();
        }
        match estate.hand_over(&mut listening).await {
            Ok(retired) => return (replaced(retired), asked),
            Err(why) => {
                asked.inspect(|asked| asked.tell(Err(&why)));
                error!(why, "no handover: this process goes on as before");
                admin.set_handovers(estate.attempts, Some(why));
                systemd::ready(&admin.summary());
            }
        }
    }
}

fn replaced(retired: Retired) -> Retired {
    let pid = retired.successor();
    info!(pid, "a new process serves; this one finishes what it has");
    retired
}
