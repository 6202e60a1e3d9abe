//! What is told of a transfer beside its status: the last line of the log, and this node's numbers. A
//! process of its own keeps the numbers; this one never waits for it, and never fails by it.

use std::env;
use std::fs::{read_link, read_to_string};
use std::io::{self, Write};
use std::path::Path;
use std::process::{ChildStdin, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::group::later;
use super::outcome::Outcome;
use super::status::log;
use crate::config::{Config, MovesMetrics};
use crate::moves::order::{Order, Way};
use crate::moves::subject::Subject;
use crate::moves::talk::{Passed, line};

/// What a transfer is of, and who counts it.
pub(super) struct Telling {
    subject: Subject,
    counter: Option<ChildStdin>,
}

impl Telling {
    /// As the configuration has it.
    pub(super) fn new(config: &Config, order: &Order) -> Self {
        let counter = match &config.moves.metrics {
            MovesMetrics::At(path) => counter(path, order).unwrap_or_else(|error| {
                log(&format!("not counted: {error}"));
                None
            }),
            MovesMetrics::Off => None,
        };
        Self {
            subject: subject(order, &config.ssconf_dir),
            counter,
        }
    }

    /// So many bytes have passed.
    pub(super) fn passed(&mut self, bytes: u64) {
        self.tell(&Passed::Bytes(bytes));
    }

    /// It has ended.
    pub(super) fn ends(mut self, outcome: &Outcome) {
        log(&outcome.line(&self.subject));
        self.passed(outcome.bytes);
        self.tell(&Passed::Ended(outcome.ended));
    }

    /// The pipe never blocks: a line that finds no room is lost, and the next one says the same.
    fn tell(&mut self, what: &Passed) {
        if let Some(counter) = &mut self.counter {
            let _ = counter.write_all(&line(what));
        }
    }
}

/// Starts the process that counts, if there is a place for its numbers.
fn counter(to: &Path, order: &Order) -> io::Result<Option<ChildStdin>> {
    if !to.parent().is_some_and(Path::is_dir) {
        return Ok(None);
    }
    // The status is in DIR/import-export/NAME if noded has called.
    let transfers = order.status.parent().and_then(Path::parent);
    let transfers = transfers.filter(|path| path.ends_with("import-export"));
    let Some(run) = transfers.and_then(Path::parent) else {
        return Ok(None);
    };
    let mut command = later(&["moves", "count", "--pid"])?;
    command.arg(std::process::id().to_string());
    if matches!(order.way, Way::Import { .. }) {
        command.arg("--import");
    }
    command.arg("--run-dir").arg(run).arg("--to").arg(to);
    command.stdin(Stdio::piped()).stderr(Stdio::inherit());
    let input = command.spawn()?.stdin.take();
    if let Some(input) = &input {
        fcntl_setfl(input, fcntl_getfl(input)? | OFlags::NONBLOCK)?;
    }
    Ok(input)
}

/// From the log file that Ganeti has opened, the status directory, the environment of an OS's
/// script, and the cluster's instances.
fn subject(order: &Order, ssconf: &Path) -> Subject {
    let name = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name);
        name.map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let log = read_link("/proc/self/fd/2").ok();
    let all = read_to_string(ssconf.join("ssconf_instance_list")).unwrap_or_default();
    Subject::of(
        &name(log.as_deref()),
        &name(order.status.parent()),
        env::var("INSTANCE_NAME").ok().as_deref(),
        &Vec::from_iter(all.lines()),
    )
}
