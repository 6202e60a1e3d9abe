//! Handover: a fresh process takes over the ports, and this one only finishes what it has.
//!
//! ```text
//! proxy   SIGHUP -> spawner: start a successor -> Offer, with the sockets -> waits
//! new     reads configuration and files, enters its own sandbox -> Ready, or why not -> waits
//! proxy   systemd: MAINPID=new -> TakeOver, with what it still holds -> accepts no more; passes
//!         nothing more to noded, either, if the new one judges by other rules
//! new     accepts; gets a byte for each slot that the old one is done with; its end gives the rest
//! ```
//!
//! Until `TakeOver` nothing has changed, whatever happens to the new process. When it crashes later,
//! the service manager starts another one, which finds the old ones (`door`). This room never
//! decides about a peer, and no key goes over the link.

mod descriptors;
mod door;
mod heir;
mod message;
mod predecessors;
mod retired;
mod spawner;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::daemon::systemd;
use crate::proxy::listener::Opened;
use crate::proxy::upstream::{NodedStream, Slots};
use crate::trust::{Bequest, Reloads};
use door::{Door, knock};
use message::{Offer, TakeOver, Verdict, read, told, write};
use rules::succession::{InForce, may_pass};

pub use door::ask_for_handover;
pub(in crate::daemon) use door::left_behind;
pub use heir::Heir;
pub use message::Holds;
pub(in crate::daemon) use predecessors::Predecessors;
pub(in crate::daemon) use retired::Retired;
pub use spawner::{Spawner, main as spawner_main};

/// Longest wait for a new process to get ready.
const PATIENCE: Duration = Duration::from_secs(30);

const NO_SPAWNER: &str = "this process can start no other one any more: restart it";
const NOT_READ: &str = "this process reads the files no more: restart it";
const ENDED: &str = "the new process ended before it was ready; see the log";

/// The open admin port, for whoever takes it over.
pub(in crate::daemon) type AdminFd = Arc<Mutex<Option<OwnedFd>>>;

/// What this process can hand over.
#[derive(Debug)]
pub(in crate::daemon) struct Estate {
    pub(in crate::daemon) spawner: Option<Spawner>,
    pub(in crate::daemon) listen: Vec<SocketAddr>,
    pub(in crate::daemon) of_systemd: bool,
    pub(in crate::daemon) opened: Opened,
    pub(in crate::daemon) admin: SocketAddr,
    pub(in crate::daemon) admin_fd: AdminFd,
    pub(in crate::daemon) slots: Arc<Slots<NodedStream>>,
    /// Cancelled when this process may pass nothing more to noded.
    pub(in crate::daemon) superseded: CancellationToken,
    /// The rules that this process judges by.
    pub(in crate::daemon) in_force: InForce,
    pub(in crate::daemon) predecessors: Arc<Predecessors>,
    /// Handovers that were tried.
    pub(in crate::daemon) attempts: u64,
    pub(in crate::daemon) state_dir: PathBuf,
    pub(in crate::daemon) reloads: Reloads,
    pub(in crate::daemon) doors: Doors,
}

/// Where this process is found.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Doors {
    takes_control: bool,
    control: Option<Door>,
    /// Open after a successor ended at the last moment: it may have been the main process.
    disputed: Option<Door>,
}

/// A successor that can serve.
struct Ready {
    link: UnixStream,
    pid: u32,
    /// By the rules of this process.
    judges_alike: bool,
}

/// Another process is to serve.
pub(in crate::daemon) enum Wish {
    /// Somebody asks for a reload.
    Reload(Asked),
    /// The service manager has started it already.
    Main(Retired),
}

/// Who asked for a reload.
#[derive(Debug)]
pub(in crate::daemon) struct Asked(UnixStream);

impl Asked {
    /// Says how it went.
    pub(in crate::daemon) fn tell(&self, handed: Result<u32, &str>) {
        let verdict = match handed {
            Ok(pid) => Verdict::Ready { pid, rules: None },
            Err(why) => Verdict::Failed(why.into()),
        };
        let _ = write(&self.0, &verdict); // nobody waits for it any more
    }
}

impl Doors {
    /// None is open yet. Whether `control`, when it is opened, is taken from a process that lives:
    /// the one before this one.
    pub(in crate::daemon) fn taking_control(takes_control: bool) -> Self {
        Self {
            takes_control,
            ..Self::default()
        }
    }
}

impl Estate {
    /// Listens to the predecessors, until the set is dropped.
    pub(in crate::daemon) fn listen(&self) -> JoinSet<()> {
        self.predecessors.listen()
    }

    /// Opens the door at which a reload is asked for.
    pub(in crate::daemon) fn open(&mut self) {
        let control = Door::control(&self.state_dir, self.doors.takes_control);
        self.doors.control = Some(control);
    }

    /// Nobody can ask for a reload any more.
    pub(in crate::daemon) fn close(&mut self) {
        self.doors = Doors::default();
    }

    /// Waits until somebody wants another process to serve.
    pub(in crate::daemon) async fn wish(&mut self) -> Wish {
        let doors = &mut self.doors;
        tokio::select! {
            asked = knock(doors.control.as_mut()) => Wish::Reload(Asked(asked)),
            link = knock(doors.disputed.as_mut()) => match self.doors.disputed.take() {
                Some(door) => Wish::Main(Retired::found(link, self.remains(), door, Instant::now())),
                None => std::future::pending().await, // it was there a moment ago
            },
        }
    }

    /// Starts a successor, and hands over when it is ready. The error says why it is not; then
    /// nothing has changed.
    pub(in crate::daemon) async fn hand_over(
        &mut self,
        listening: &mut JoinSet<()>,
    ) -> Result<Retired, String> {
        self.attempts += 1;
        match self.try_start().await {
            Ok(ready) => {
                if let Some(spawner) = self.spawner.take() {
                    // The service manager takes only a child of its own for the main process.
                    let _ = spawner.leave(); // it ends by itself, too
                }
                self.retire(ready, listening).await
            }
            Err(why) => {
                if let Some(spawner) = &mut self.spawner {
                    let _ = spawner.end_it(); // then it can start nothing more, and the next says so
                }
                Err(why)
            }
        }
    }

    /// Gives everything to a successor that is ready.
    async fn retire(
        &mut self,
        ready: Ready,
        listening: &mut JoinSet<()>,
    ) -> Result<Retired, String> {
        // What somebody has begun to write since the offer is read whole by the successor, too.
        let _ = self.reloads.bequest().await;
        listening.shutdown().await; // what they say from now on is read by the successor
        self.reloads.leave_state().await;
        self.doors.disputed = None; // it has the same name
        let door = Door::replaced(&self.state_dir);
        let mut predecessors = self.predecessors.list();
        let pid = ready.pid;
        let (retired, holds) = Retired::new((ready.link, pid), self.remains(), Instant::now());
        predecessors.push(holds);
        systemd::replaced_by(pid);
        if let Err(error) = retired.tell(&TakeOver { predecessors }) {
            // The service manager may take that one for the main process, and start another one.
            self.doors.disputed = Some(door);
            self.slots.resume();
            systemd::not_replaced();
            self.reloads.own_state();
            *listening = self.listen();
            return Err(format!("the new process ended when it was ready: {error}"));
        }
        if !ready.judges_alike {
            self.superseded.cancel();
            self.predecessors.supersede();
        }
        self.let_go();
        Ok(retired.with(door))
    }

    /// What is left to a process that is replaced.
    fn remains(&self) -> (Arc<Slots<NodedStream>>, CancellationToken) {
        (Arc::clone(&self.slots), self.superseded.clone())
    }

    /// Another main process is there already: gives it what it has not got yet.
    pub(in crate::daemon) async fn give_up(&self) {
        self.reloads.leave_state().await;
        self.let_go();
    }

    /// Closes what another process has now.
    fn let_go(&self) {
        let admin = &self.admin_fd;
        admin.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.predecessors.leave();
    }

    async fn try_start(&self) -> Result<Ready, String> {
        let bequest = self.reloads.bequest().await.ok_or(NOT_READ)?;
        let link = self.offer(&bequest).map_err(|error| error.to_string())?;
        let asked = move || {
            link.set_read_timeout(Some(PATIENCE))?;
            read(&link).map(|verdict| (verdict, link))
        };
        let answer = tokio::task::spawn_blocking(asked).await;
        match answer.map_err(io::Error::other).and_then(|answer| answer) {
            Ok((Some(Verdict::Ready { pid, rules }), link)) => {
                let own = told(&self.in_force);
                let judges_alike = own.is_some_and(|own| may_pass(&own, rules.as_ref()));
                Ok(Ready {
                    link,
                    pid,
                    judges_alike,
                })
            }
            Ok((Some(Verdict::Failed(why)), _)) => Err(why),
            Ok((None, _)) => Err(ENDED.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(ENDED.into()),
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
    fn offer(&self, bequest: &Bequest) -> io::Result<UnixStream> {
        let spawner = self.spawner.as_ref();
        let spawner = spawner.ok_or_else(|| io::Error::other(NO_SPAWNER))?;
        let (link, theirs) = UnixStream::pair()?;
        let asked = spawner.spawn(&theirs);
        asked.map_err(|error| io::Error::other(format!("{NO_SPAWNER} ({error})")))?;
        drop(theirs);
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let admin = self.admin_fd.lock().unwrap_or_else(PoisonError::into_inner);
        let links = self.predecessors.links();
        let public = opened.iter().map(|socket| socket.as_fd());
        let sockets = public.chain(admin.iter().map(AsFd::as_fd));
        let remembered = serde_json::to_vec(bequest).map_err(io::Error::other)?;
        let remembered = descriptors::file(&remembered)?;
        let links_and_file = predecessors::descriptors(&links)
            .into_iter()
            .chain([remembered.as_fd()]);
        let fds: Vec<_> = sockets.chain(links_and_file).collect();
        let offer = Offer {
            listeners: opened.len(),
            listen: self.listen.clone(),
            of_systemd: self.of_systemd,
            admin: admin.as_ref().map(|_| self.admin),
            links: links.iter().map(|(pid, _)| *pid).collect(),
            attempt: self.attempts,
            bequest: true,
            control: self.doors.control.as_ref().is_some_and(Door::is_there),
        };
        let line = serde_json::to_string(&offer).map_err(io::Error::other)?;
        match descriptors::send(&link, &line, &fds) {
            // It has ended already. What was said before that can be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(link),
            sent => sent.map(|()| link),
        }
    }
}
