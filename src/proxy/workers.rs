//! Workers: one thread for each processor, each with an event loop of its own. A connection stays
//! with its worker, so its memory never moves between processors.
//!
//! Accepting, signals, the watchdog and the admin listener run on the main thread, which no
//! connection can hold up. The first worker is reserved for candidates' addresses, and for those from
//! which a candidate called before, so that a flood from other addresses leaves them one processor. A
//! connection is never moved.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, available_parallelism};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Tasks that a worker runs before it looks at its sockets again. tokio's own 61 fit tasks of some
/// microseconds; a step of a handshake takes up to a millisecond.
const EVENT_INTERVAL: u32 = 16;

/// Most workers: a node daemon that answers 20 RPCs at a time cannot keep more of them busy.
const MOST_WORKERS: usize = 16;

/// The event loop of one thread.
pub fn event_loop() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
}

/// The workers. Dropping them ends them and drops all that they still run.
#[derive(Debug)]
pub struct Workers {
    all: Vec<Worker>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Number of connections that it serves.
    open: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// One worker for each processor. Each runs `prepare` first.
    pub fn for_each_processor(prepare: fn()) -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::start(processors.min(MOST_WORKERS), prepare)
    }

    fn start(count: usize, prepare: fn()) -> io::Result<Self> {
        let (all, stop) = (Vec::with_capacity(count), CancellationToken::new());
        let mut workers = Self { all, stop };
        for number in 1..=count {
            let runtime = event_loop()?;
            let handle = runtime.handle().clone();
            let stop = workers.stop.clone();
            let work = move || {
                prepare();
                runtime.block_on(stop.cancelled());
            };
            let thread = thread::Builder::new().name(format!("worker-{number}"));
            workers.all.push(Worker {
                runtime: handle,
                open: Arc::default(),
                thread: Some(thread.spawn(work)?),
            });
        }
        Ok(workers)
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Runs `serve` for a connection on the least loaded worker, as a task of `tasks`.
    pub fn serve<F>(
        &self,
        tasks: &TaskTracker,
        is_candidate: bool,
        tcp: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let open = |worker: &Worker| worker.open.load(Ordering::Relaxed);
        let chosen = choose(self.all.iter().map(open), is_candidate);
        let Some(worker) = self.all.get(chosen) else {
            return;
        };
        let load = LoadGuard::on(worker);
        let moved = tcp.into_std();
        let task = async move {
            let _load = load;
            match moved.and_then(TcpStream::from_std) {
                Ok(tcp) => serve(tcp).await,
                Err(error) => warn!(%error, "a connection could not be moved to its worker"),
            }
        };
        tasks.spawn_on(task, &worker.runtime);
    }

    /// For the watchdog: returns when each worker has run a task, and never returns if a worker has
    /// ended. That worker would get every new connection, because it has the fewest.
    pub async fn all_turn(&self) {
        for worker in &self.all {
            let turn = worker.runtime.spawn(std::future::ready(()));
            if turn.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.all.iter_mut().filter_map(|w| w.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Counts a connection in its worker's load until it is dropped.
struct LoadGuard(Arc<AtomicUsize>);

impl LoadGuard {
    fn on(worker: &Worker) -> Self {
        worker.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&worker.open))
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Picks the worker with the fewest open connections, the lowest-numbered on a tie, so that an idle
/// node wakes one thread only. Worker 1 is reserved for candidates' addresses when there is more
/// than one. Pure.
fn choose(open: impl ExactSizeIterator<Item = usize>, is_candidate: bool) -> usize {
    let reserved = usize::from(!is_candidate && open.len() > 1);
    let fewest = open
        .enumerate()
        .skip(reserved)
        .min_by_key(|(_, open)| *open);
    fewest.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc::unbounded_channel;

    #[test]
    fn the_fewest_have_it_and_other_addresses_leave_the_first_alone() {
        for (open, is_candidate, expected) in [
            (&[0][..], true, 0),
            (&[9], false, 0),
            (&[0, 0], true, 0),
            (&[0, 0], false, 1),
            (&[1, 0], true, 1),
            (&[0, 1000], false, 1),
            (&[1, 1000], true, 0),
            (&[2, 2, 1, 1], true, 2),
            (&[0, 2, 1, 1], false, 2),
            (&[5, 5, 5], true, 0),
        ] {
            let chosen = choose(open.iter().copied(), is_candidate);
            assert_eq!(chosen, expected, "{open:?} {is_candidate}");
        }
    }

    #[test]
    fn connections_are_served_by_their_worker_and_leave_its_count() {
        let runtime = event_loop().unwrap();
        runtime.block_on(async {
            let workers = Workers::start(2, || {}).unwrap();
            let tasks = TaskTracker::new();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (tell, mut told) = unbounded_channel();
            let mut clients = Vec::new();
            for is_candidate in [true, true, true, false, false, true] {
                let client = TcpStream::connect(listener.local_addr().unwrap());
                let (client, accepted) = tokio::join!(client, listener.accept());
                clients.push(client.unwrap());
                let tell = tell.clone();
                workers.serve(
                    &tasks,
                    is_candidate,
                    accepted.unwrap().0,
                    move |mut tcp| async move {
                        let name = thread::current().name().map(str::to_owned);
                        tell.send((is_candidate, name)).unwrap();
                        let _ = tcp.read(&mut [0]).await;
                    },
                );
            }
            let mut served = Vec::new();
            for _ in &clients {
                served.push(told.recv().await.unwrap());
            }
            for number in ["worker-1", "worker-2"] {
                let by = |(_, name): &&(bool, Option<String>)| name.as_deref() == Some(number);
                assert_eq!(served.iter().filter(by).count(), 3, "{served:?}");
            }
            let mut others = served.iter().filter(|(is_candidate, _)| !is_candidate);
            assert!(
                others.all(|(_, name)| name.as_deref() == Some("worker-2")),
                "{served:?}"
            );
            drop(clients);
            tasks.close();
            tasks.wait().await;
            let open = workers.all.iter().map(|w| w.open.load(Ordering::Relaxed));
            assert_eq!(open.sum::<usize>(), 0);
        });
    }

    #[test]
    fn the_watchdog_waits_for_a_worker_that_hangs() {
        let runtime = event_loop().unwrap();
        runtime.block_on(async {
            let workers = Workers::start(1, || {}).unwrap();
            workers.all_turn().await;
            let barrier = Arc::new(Barrier::new(2));
            let hangs = Arc::clone(&barrier);
            workers.all[0].runtime.spawn(async move { hangs.wait() });
            let mut turn = Box::pin(workers.all_turn());
            tokio::select! {
                biased;
                () = &mut turn => panic!("it hangs"),
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
            barrier.wait();
            turn.await;
        });
    }

    #[test]
    fn the_watchdog_is_not_fed_when_a_worker_has_ended() {
        let runtime = event_loop().unwrap();
        runtime.block_on(async {
            let mut workers = Workers::start(2, || {}).unwrap();
            workers.stop.cancel();
            for thread in workers.all.iter_mut().filter_map(|w| w.thread.take()) {
                thread.join().unwrap();
            }
            tokio::select! {
                biased;
                () = workers.all_turn() => panic!("they have ended"),
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        });
    }

    #[test]
    fn dropped_workers_drop_what_they_run() {
        let runtime = event_loop().unwrap();
        let held = Arc::new(());
        runtime.block_on(async {
            let workers = Workers::start(1, || {}).unwrap();
            let holds = Arc::clone(&held);
            workers.all[0].runtime.spawn(async move {
                let _holds = holds;
                std::future::pending::<()>().await;
            });
            drop(workers);
        });
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
