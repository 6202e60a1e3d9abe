//! The public listener's life: it listens while there is a `server.pem`, and hands each connection on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::daemon::admin::Admin;
use crate::daemon::server::{StartError, summary};
use crate::daemon::systemd;
use crate::proxy::connection;
use crate::proxy::listener::{self, bind};
use crate::proxy::overload::{Bounds, Overload, Place};
use crate::proxy::shared::Shared;
use crate::proxy::workers::Workers;

/// Pause before a port that is taken is tried again (only while it was not needed at the start).
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// The public listener's sockets.
pub(crate) struct Public {
    addresses: Vec<SocketAddr>,
    pub(crate) open: Vec<Arc<TcpListener>>,
    /// systemd holds the port, so it stays open whatever happens here.
    pub(crate) inherited: bool,
    overload: Arc<Overload>,
}

impl Public {
    pub(crate) fn new(addresses: Vec<SocketAddr>, bounds: Bounds) -> Result<Self, StartError> {
        let mut open = Vec::new();
        for listener in systemd::inherited_listeners() {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            listener::prepare(&listener)?;
            open.push(Arc::new(listener));
        }
        let inherited = !open.is_empty();
        Ok(Self {
            addresses,
            open,
            inherited,
            overload: Overload::new(bounds),
        })
    }

    /// Listens while there is a `server.pem`, and only then, until the drain.
    pub(crate) async fn run(
        mut self,
        shared: Arc<Shared>,
        workers: Arc<Workers>,
        admin: Arc<Admin>,
    ) {
        let mut changes = shared.store.subscribe();
        let mut told_ready = false;
        while !shared.drain.is_cancelled() {
            let joined = shared.store.current().tls.is_some();
            if joined && self.open.is_empty() && !self.open_again().await {
                continue;
            }
            if !joined && !self.inherited {
                self.open.clear();
            }
            let addresses: Vec<_> = self
                .open
                .iter()
                .filter_map(|l| l.local_addr().ok())
                .collect();
            if joined {
                for address in &addresses {
                    info!(%address, "listening");
                }
            } else {
                info!("{}", summary(&shared));
            }
            admin.set_listening(if joined { addresses } else { Vec::new() });
            match told_ready {
                true => systemd::status(&summary(&shared)),
                false => systemd::ready(&summary(&shared)),
            }
            told_ready = true;
            self.accept_until(&shared, &workers, &mut changes, joined)
                .await;
        }
        admin.set_listening(Vec::new());
    }

    /// Accepts connections until the drain, or until `server.pem` comes or goes.
    async fn accept_until(
        &self,
        shared: &Arc<Shared>,
        workers: &Arc<Workers>,
        changes: &mut watch::Receiver<u64>,
        joined: bool,
    ) {
        let mut loops = JoinSet::new();
        for listener in &self.open {
            loops.spawn(self.accept_loop(
                Arc::clone(listener),
                Arc::clone(shared),
                Arc::clone(workers),
            ));
        }
        let other_state = async {
            while changes.changed().await.is_ok() {
                if shared.store.current().tls.is_some() != joined {
                    return;
                }
                systemd::status(&summary(shared));
            }
        };
        tokio::select! {
            () = other_state => {}
            () = shared.drain.cancelled() => {}
        }
        loops.shutdown().await;
    }

    fn accept_loop(
        &self,
        listener: Arc<TcpListener>,
        shared: Arc<Shared>,
        workers: Arc<Workers>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let overload = Arc::clone(&self.overload);
        async move {
            let metrics = Arc::clone(&shared.metrics);
            let serve = |tcp, peer, place: Place| {
                let (serving, is_candidate) = (Arc::clone(&shared), place.is_candidate());
                let serve = move |tcp| connection::serve(serving, tcp, peer, place);
                workers.serve(&shared.tasks, is_candidate, tcp, serve);
            };
            let candidate = |ip| shared.store.current().candidate_addresses.contains(&ip);
            listener::run(&listener, &overload, candidate, &metrics, serve).await;
        }
    }

    /// Opens the ports when `server.pem` has come; a port that is taken is tried again and again.
    async fn open_again(&mut self) -> bool {
        for address in &self.addresses {
            match bind(*address) {
                Ok(listener) => self.open.push(Arc::new(listener)),
                Err(error) => {
                    error!(%address, %error, "cannot listen there, trying again");
                    self.open.clear();
                    tokio::time::sleep(BIND_AGAIN).await;
                    return false;
                }
            }
        }
        true
    }
}
