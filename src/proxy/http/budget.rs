//! One bound on the memory of all bodies together. It counts; the memory itself is never
//! here.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in steps of this many bytes.
const STEP: u64 = 1024;

/// The memory that bodies of requests and replies may take, all connections together.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

/// A part of the [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub struct Lease(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let steps = usize::try_from(bytes / STEP).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(
            steps.clamp(1, Semaphore::MAX_PERMITS),
        )))
    }

    /// Waits until `bytes` are free. The longest waiting comes first.
    pub async fn take(&self, bytes: usize) -> Lease {
        let steps = (bytes as u64).div_ceil(STEP).min(u64::from(u32::MAX)) as u32;
        // The semaphore is never closed.
        #[allow(clippy::expect_used)]
        let permit = Arc::clone(&self.0)
            .acquire_many_owned(steps)
            .await
            .expect("never closed");
        Lease(permit)
    }
}
