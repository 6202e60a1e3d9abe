//! Work that outlives whoever waits for it, and never needs a task as long as somebody does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that runs where it is awaited. If it is dropped before its end, it moves into a task of
/// its own: when a client leaves, noded works on, and the exchange that holds the slot does too.
///
/// Clients nearly always stay, so nearly always no task is made. With a task from the start every
/// RPC would pay for it: one more task to schedule, and a wake-up from it when the answer is there.
pub(super) struct DetachOnDrop<F: Future + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
}

impl<F: Future + Send + 'static> DetachOnDrop<F> {
    /// Wraps `work`; `tasks` takes it over if it is dropped early.
    pub(super) fn new(work: F, tasks: &TaskTracker) -> Self {
        Self {
            work: Some(Box::pin(work)),
            tasks: tasks.clone(),
        }
    }
}

impl<F: Future + Send + 'static> Future for DetachOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Pending; // polled after its end
        };
        let output = ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<F: Future + Send + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        // Work that has panicked cannot go on, and without a runtime nothing can.
        if std::thread::panicking() {
            return;
        }
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            let work = async move { drop(work.await) };
            self.tasks.spawn_on(work, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::{sleep, timeout};

    #[tokio::test(start_paused = true)]
    async fn work_that_is_dropped_early_goes_on() {
        let tasks = TaskTracker::new();
        let (done, mut told) = unbounded_channel();
        for patience in [1, 10] {
            let done = done.clone();
            let work = async move {
                sleep(Duration::from_secs(5)).await;
                done.send(patience).unwrap();
                patience
            };
            let output = timeout(
                Duration::from_secs(patience),
                DetachOnDrop::new(work, &tasks),
            )
            .await;
            assert_eq!(output.ok(), (patience == 10).then_some(10));
            let told = timeout(Duration::from_secs(60), told.recv()).await;
            assert_eq!(told, Ok(Some(patience)));
        }
        tasks.close();
        tasks.wait().await;
    }
}
