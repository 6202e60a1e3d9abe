//! How a process ends: drained, or after it was replaced. It never decides when.

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::handover::{Predecessors, Retired};
use super::start_error::Outcome;
use crate::proxy::shared::Shared;

/// Pause between two looks at whether a process that was replaced can still get a request.
const SETTLING: Duration = Duration::from_millis(200);

/// Waits until all connections and exchanges have ended, here and in the processes that were
/// replaced, up to the deadline.
pub(super) async fn drain(
    shared: &Shared,
    predecessors: &Predecessors,
    limit: Duration,
) -> Outcome {
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

/// What a process does that was replaced: it finishes what noded has, however long that takes, unless
/// it is stopped, by a signal or with its successor. What noded has not got has the drain timeout.
pub(super) async fn finish(
    shared: &Shared,
    retired: Retired,
    stop: impl Future<Output = ()>,
    limit: Duration,
) -> Outcome {
    shared.tasks.close();
    let settling = async {
        let slots = shared.upstream.slots();
        let begun = Instant::now();
        // When each task that is left has a slot, no request can come. A warm connection has none.
        let requests = || {
            let load = slots.load();
            load.in_use - load.warm
        };
        while shared.tasks.len() > requests() && !shared.superseded.is_cancelled() {
            if begun.elapsed() >= limit {
                shared.superseded.cancel(); // the next process is called again
            }
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
