//! Ctrl-C and SIGTERM while nodes are asked: ssh runs in process groups of its own, so it is told
//! here, and each call ends with what it has begun. It never ends this program itself.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

static TOLD: Mutex<Option<watch::Receiver<bool>>> = Mutex::new(None);

/// Whether it was told to end, so that nothing more is begun.
pub(crate) fn is_told() -> bool {
    let known = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().is_some_and(|told| *told.borrow())
}

/// Becomes true when this program is told to end, and stays so.
pub(super) fn told() -> io::Result<watch::Receiver<bool>> {
    let mut known = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(told) = &*known {
        return Ok(told.clone());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(entered);
    let (tell, told) = watch::channel(false);
    thread::Builder::new().spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tell.send_replace(true);
        });
    })?;
    *known = Some(told.clone());
    Ok(told)
}
