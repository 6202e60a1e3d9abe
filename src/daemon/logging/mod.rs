//! Where log lines go: as text or JSON to standard error, or to systemd's journal, by way of a
//! bounded queue. It writes none itself, but for what the queue had to drop.
//!
//! Whoever logs is never held up by a reader that stalls. Until `Log::in_background`, nothing is
//! served, and each line is written at once.

mod journal;
mod place;
mod queue;

use std::io;
use std::time::Duration;

use tracing::error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, fmt};

use crate::config::{LogConfig, LogFormat, LogLevel};
use journal::{Journal, ToJournal};
pub use queue::Queue;

/// Longest wait at the end for a reader that has stalled.
const AT_THE_END: Duration = Duration::from_secs(2);

/// The log of this process. Dropping it writes what is left in the queue.
#[derive(Debug)]
pub struct Log(Queue);

/// Starts logging. Fails if logging has started before, or if the journal cannot be reached.
pub fn start(config: &LogConfig) -> Result<Log, String> {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Only our own events: those of hyper and notify would hide ours at "debug".
    let ours = tracing_subscriber::filter::Targets::new().with_target("noded_proxy", level);
    let registry = Registry::default().with(ours);
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let journal = place::is_journal(stream.as_deref(), &io::stderr());
    let chosen = config.format;
    let format = chosen.unwrap_or_else(|| place::usual(journal, Journal::open));
    let queue = match format {
        LogFormat::Text | LogFormat::Json => Queue::to(Box::new(io::stderr())),
        LogFormat::Journald => Queue::to(Box::new(Journal::open().map_err(|error| {
            format!("log.format = journald: the journal cannot be reached: {error}")
        })?)),
    };
    let lines = queue.clone();
    let text = fmt::layer()
        .with_writer(move || lines.clone())
        .with_target(false);
    let text = text.with_ansi(false);
    let started = match format {
        // The journal has its own time for each line.
        LogFormat::Text if journal => registry.with(text.without_time()).try_init(),
        LogFormat::Text => registry.with(text).try_init(),
        LogFormat::Json => registry.with(text.json().flatten_event(true)).try_init(),
        LogFormat::Journald => registry.with(ToJournal(queue.clone())).try_init(),
    };
    started.map_err(|error| error.to_string())?;
    // The usual hook writes to standard error itself, and a reader that stalls would hold it up.
    std::panic::set_hook(Box::new(|panic| {
        let panic = panic.to_string().replace('\n', " ");
        error!(panic, "a fault of the program");
    }));
    Ok(Log(queue))
}

impl Log {
    /// From now on a thread of its own writes. Call it inside the sandbox, which holds only the
    /// threads that are started in it.
    pub(super) fn in_background(&self) -> io::Result<()> {
        self.0.in_background()
    }

    /// Its queue, for the number of dropped lines.
    pub(super) fn queue(&self) -> Queue {
        self.0.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush(AT_THE_END);
    }
}
