//! Where log lines go: as text or JSON to standard error, or to systemd's journal. It writes none
//! itself.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, fmt};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Starts logging. Fails if logging has started before, or if the journal cannot be reached.
pub fn start(config: &LogConfig) -> Result<(), String> {
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
    let text = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match config.format {
        LogFormat::Text => registry.with(text.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(text.json().flatten_event(true)).try_init(),
        LogFormat::Journald => {
            let journal = tracing_journald::layer().map_err(|error| {
                format!("log.format = journald: the journal cannot be reached: {error}")
            })?;
            registry
                .with(journal.with_field_prefix(Some("NODED_PROXY".into())))
                .try_init()
        }
    };
    started.map_err(|error| error.to_string())
}
