//! What the clients saw: latencies, outcomes, bytes.

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Tally {
    /// Of the successes alone; all are kept, so that percentiles can be taken over runs.
    latency_us: Vec<u32>,
    /// When each of them started or was due.
    since: Vec<Instant>,
    /// How often each HTTP status or kind of failure was seen.
    outcomes: BTreeMap<String, u64>,
    pub(crate) bytes: usize,
}

impl Tally {
    /// Adds one operation that started (or was due) at `since`.
    pub(crate) fn add<T: ToString>(&mut self, since: Instant, outcome: Result<T, String>) {
        let what = outcome.map_or_else(|failure| failure, |status| status.to_string());
        if what == "200" {
            self.latency_us.push(since.elapsed().as_micros() as u32);
            self.since.push(since);
        }
        *self.outcomes.entry(what).or_default() += 1;
    }

    fn merge(&mut self, other: Tally) {
        self.latency_us.extend(other.latency_us);
        self.since.extend(other.since);
        self.bytes += other.bytes;
        for (what, n) in other.outcomes {
            *self.outcomes.entry(what).or_default() += n;
        }
    }

    /// The moments at which the successes started or were due, on the clock of [`monotonic`].
    pub(crate) fn moments(&self) -> Vec<f64> {
        let (here, there) = (Instant::now(), monotonic());
        let moment = |since: &Instant| (there - here.duration_since(*since)).as_secs_f64();
        self.since.iter().map(moment).collect()
    }

    pub(crate) fn json(&self, took: Duration) -> Value {
        json!({
            "seconds": took.as_secs_f64(),
            "tried": self.outcomes.values().sum::<u64>(),
            "done": self.latency_us.len(),
            "latency_us": self.latency_us,
            "outcomes": self.outcomes,
            "bytes": self.bytes,
        })
    }
}

/// Runs `work(index, tally)` on `threads` threads and adds up what they saw.
pub(crate) fn fan_out(threads: usize, work: impl Fn(usize, &mut Tally) + Sync) -> Tally {
    let all = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for i in 0..threads {
            let (all, work) = (&all, &work);
            scope.spawn(move || {
                let mut tally = Tally::default();
                work(i, &mut tally);
                all.lock().expect("tally").merge(tally);
            });
        }
    });
    all.into_inner().expect("tally")
}

/// CPU time that this thread has used.
pub(crate) fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// The clock that Python's `time.monotonic` reads, too.
pub(crate) fn monotonic() -> Duration {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> Duration {
    let t = clock_gettime(id);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}
