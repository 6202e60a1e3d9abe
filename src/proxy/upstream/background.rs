//! Work that goes on when nobody waits for it any more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that runs where it is awaited, and moves into a task of its own when it is dropped before its end:
/// noded goes on working for a client that left, and so does what holds its slot. As long as the client stays,
/// which is nearly always, no task is made.
pub(super) struct GoesOn<F: Future + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
}

impl<F: Future + Send + 'static> GoesOn<F> {
    /// `work`, which `tasks` takes over if need be.
    pub(super) fn new(work: F, tasks: &TaskTracker) -> Self {
        Self {
            work: Some(Box::pin(work)),
            tasks: tasks.clone(),
        }
    }
}

impl<F: Future + Send + 'static> Future for GoesOn<F> {
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

impl<F: Future + Send + 'static> Drop for GoesOn<F> {
    fn drop(&mut self) {
        // A panic in the work is its end, and so is that of the runtime.
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
    async fn what_is_not_awaited_to_its_end_goes_on() {
        let tasks = TaskTracker::new();
        let (done, mut told) = unbounded_channel();
        for patience in [1, 10] {
            let done = done.clone();
            let work = async move {
                sleep(Duration::from_secs(5)).await;
                done.send(patience).unwrap();
                patience
            };
            let output = timeout(Duration::from_secs(patience), GoesOn::new(work, &tasks)).await;
            assert_eq!(output.ok(), (patience == 10).then_some(10));
            let told = timeout(Duration::from_secs(60), told.recv()).await;
            assert_eq!(told, Ok(Some(patience)));
        }
        tasks.close();
        tasks.wait().await;
    }
}
