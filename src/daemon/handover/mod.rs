//! Handover: a fresh process takes over the ports, and this one only finishes what it has.
//!
//! ```text
//! proxy   SIGHUP -> spawner: start a successor -> Offer, with the sockets -> waits
//! new     reads configuration and files, enters its own sandbox -> Ready, or why not -> waits
//! proxy   systemd: MAINPID=new -> TakeOver, with what it still holds -> accepts no more
//! new     accepts; gets a byte for each slot that the old one is done with; its end gives the rest
//! ```
//!
//! Until `TakeOver` nothing has changed, whatever happens to the new process. It never decides
//! about a peer, and no key goes over the link.

mod descriptors;
mod heir;
mod message;
mod predecessors;
mod spawner;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use crate::daemon::systemd;
use crate::proxy::listener::Opened;
use crate::proxy::upstream::{NodedStream, Slots};
use message::{DRAIN, Offer, SLOT, TakeOver, Verdict, read, write};

pub use heir::Heir;
pub use message::Holds;
pub(in crate::daemon) use predecessors::Predecessors;
pub use spawner::{Spawner, main as spawner_main};

/// Longest wait for a new process to get ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// The open admin socket, for whoever takes it over.
pub(in crate::daemon) type AdminSocket = Arc<Mutex<Option<OwnedFd>>>;

/// What this process can hand over.
#[derive(Debug)]
pub(in crate::daemon) struct Estate {
    pub(in crate::daemon) spawner: Option<Spawner>,
    pub(in crate::daemon) listen: Vec<SocketAddr>,
    pub(in crate::daemon) of_systemd: bool,
    pub(in crate::daemon) opened: Opened,
    pub(in crate::daemon) admin: SocketAddr,
    pub(in crate::daemon) admin_socket: AdminSocket,
    pub(in crate::daemon) slots: Arc<Slots<NodedStream>>,
    pub(in crate::daemon) predecessors: Arc<Predecessors>,
    /// Handovers that were tried.
    pub(in crate::daemon) attempts: u64,
}

/// A process that was replaced: the link to its successor, and the slots that it passes on.
#[derive(Debug)]
pub(in crate::daemon) struct Retired {
    successor: u32,
    link: UnixStream,
    freed: UnboundedReceiver<usize>,
}

impl Estate {
    /// Listens to the predecessors, until the set is dropped.
    pub(in crate::daemon) fn listen(&self) -> JoinSet<()> {
        self.predecessors.listen()
    }

    /// Starts a successor, and hands over when it is ready. The error says why it is not; then
    /// nothing has changed.
    pub(in crate::daemon) async fn hand_over(
        &mut self,
        listening: &mut JoinSet<()>,
    ) -> Result<Retired, String> {
        self.attempts += 1;
        let (link, pid) = match self.try_start().await {
            Ok(ready) => ready,
            Err(why) => {
                if let Some(spawner) = &mut self.spawner {
                    let _ = spawner.end_it(); // then it can start nothing more, and the next says so
                }
                return Err(why);
            }
        };
        if let Some(spawner) = self.spawner.take() {
            let _ = spawner.leave(); // it ends by itself, too
        }
        listening.shutdown().await; // what they say from now on is read by the successor
        let mut predecessors = self.predecessors.list();
        let (passes_on, freed) = unbounded_channel();
        let slots = self.slots.retire(passes_on);
        let own = std::process::id();
        predecessors.push(Holds { pid: own, slots });
        systemd::replaced_by(pid);
        let told = write(&link, &TakeOver { predecessors });
        self.admin_socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Err(error) = told {
            tracing::error!(pid, %error, "the new process has ended; the service manager restarts it");
        }
        Ok(Retired {
            successor: pid,
            link,
            freed,
        })
    }

    async fn try_start(&self) -> Result<(UnixStream, u32), String> {
        let link = self.offer().map_err(|error| error.to_string())?;
        let asked = move || {
            link.set_read_timeout(Some(PATIENCE))?;
            read(&link).map(|verdict| (verdict, link))
        };
        let answer = tokio::task::spawn_blocking(asked).await;
        match answer.map_err(io::Error::other).and_then(|answer| answer) {
            Ok((Some(Verdict::Ready { pid }), link)) => Ok((link, pid)),
            Ok((Some(Verdict::Failed(why)), _)) => Err(why),
            Ok((None, _)) => Err("the new process ended before it was ready; see the log".into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(format!(
                "the new process was not ready within {} s",
                PATIENCE.as_secs()
            )),
            Err(error) => Err(format!(
                "the new process said nothing that is understood: {error}"
            )),
        }
    }

    /// Has a process started and offers it everything.
    fn offer(&self) -> io::Result<UnixStream> {
        let spawner = self.spawner.as_ref();
        let spawner = spawner.ok_or_else(|| io::Error::other("there is no spawner"))?;
        let (link, theirs) = UnixStream::pair()?;
        spawner.spawn(&theirs)?;
        drop(theirs);
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let admin = self
            .admin_socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let links = self.predecessors.links();
        let public = opened.iter().map(|socket| socket.as_fd());
        let sockets = public.chain(admin.iter().map(AsFd::as_fd));
        let fds: Vec<_> = sockets.chain(predecessors::descriptors(&links)).collect();
        let offer = Offer {
            listeners: opened.len(),
            listen: self.listen.clone(),
            of_systemd: self.of_systemd,
            admin: admin.as_ref().map(|_| self.admin),
            attempt: self.attempts,
        };
        let line = serde_json::to_string(&offer).map_err(io::Error::other)?;
        descriptors::send(&link, &line, &fds)?;
        Ok(link)
    }
}

impl Retired {
    /// The process that took over.
    pub(in crate::daemon) fn successor(&self) -> u32 {
        self.successor
    }

    /// Passes slots on for as long as the process lives. Returns when the successor is stopped,
    /// and so must be this process; never if the successor just ends.
    pub(in crate::daemon) async fn pass_on(self) {
        let Self {
            link, mut freed, ..
        } = self;
        if link.set_nonblocking(true).is_err() {
            return;
        }
        let Ok(mut link) = tokio::net::UnixStream::from_std(link) else {
            return;
        };
        let (mut from, mut to) = link.split();
        let mut word = [0];
        let mut told = true;
        loop {
            tokio::select! {
                slots = freed.recv() => {
                    let slots = slots.unwrap_or_default();
                    let _ = to.write_all(&vec![SLOT; slots]).await; // it may have ended
                }
                read = from.read(&mut word), if told => match read {
                    Ok(1) if word[0] == DRAIN => return,
                    Ok(1) => {}
                    Ok(_) | Err(_) => told = false,
                },
            }
        }
    }
}
