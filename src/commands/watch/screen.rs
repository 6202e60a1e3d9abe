//! One look as text, for people. Pure.

use super::rates::Rates;
use crate::commands::table::Table;
use crate::daemon::report::{Report, times, words};
use rules::Named;
use rules::authz::Mode;

/// Refusals that are shown, the newest ones.
const REFUSALS: usize = 10;
/// Columns of the bar of slots.
const BAR: usize = 20;

/// Puts colours on words, or leaves them as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// With colours or without.
    pub(super) fn new(colours: bool) -> Self {
        Self(colours)
    }

    fn with(self, colour: u8, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.into(),
        }
    }

    fn good(self, text: &str) -> String {
        self.with(32, text)
    }

    fn doubtful(self, text: &str) -> String {
        self.with(33, text)
    }

    /// Somebody should look.
    pub(super) fn bad(self, text: &str) -> String {
        self.with(31, text)
    }
}

/// What the proxy says, and what happened a second since the last look; `None` at the first one.
pub(super) fn render(report: &Report, rates: Option<Rates>, now: i64, paint: Paint) -> String {
    let Report { version, host, .. } = report;
    let up = times::span(report.uptime_seconds);
    let (open, handshakes) = (report.connections.open, report.connections.handshakes);
    let [rpcs, failed] = per_second(rates.map(|rates| rates.rpcs()));
    let [connections, refused] = per_second(rates.map(|rates| rates.connections()));
    let mut text = format!(
        "noded-proxy {version} on {host}, up {up}\n\n{}\n",
        state(report, paint)
    );
    for reason in &report.health.reasons {
        text += &format!("             {}\n", paint.doubtful(reason));
    }
    text += &format!("RPCs         {rpcs}, {failed} without a good answer\n");
    text += &format!("connections  {connections}, {refused} refused; {open} open");
    text += &format!(", {handshakes} in handshake\n{}\n", slots(report, paint));
    for old in &report.handover.predecessors {
        text += &format!("replaced     {}\n", words::replaced(old));
    }
    if let Some(failed) = words::failed_reload(report) {
        text += &format!("last reload  {}\n", paint.bad(&failed));
    }
    text + "\nlast refusals\n" + &refusals(report, now)
}

fn state(report: &Report, paint: Paint) -> String {
    let health = &report.health;
    let ready = match health.ready {
        true => paint.good("ready"),
        false => paint.bad("NOT READY"),
    };
    let degraded = match health.degraded {
        true => paint.bad("degraded"),
        false => paint.good("not degraded"),
    };
    let mode = match report.mode {
        Mode::Enforce => paint.good("enforce"),
        Mode::Audit => paint.bad("AUDIT"),
    };
    let entries = report.admission.entries;
    let phase = report.admission.phase.name();
    format!("state        {ready}, {degraded}, {mode}, {phase}, {entries} candidates")
}

/// The bar, of the slots here and in the processes that were replaced: none is free while they hold the rest.
fn slots(report: &Report, paint: Paint) -> String {
    let (noded, in_use) = (&report.upstream, words::slots_in_use(report));
    let used = (in_use.saturating_mul(BAR))
        .div_ceil(noded.slots.max(1))
        .min(BAR);
    let bar = format!("[{}{}]", "#".repeat(used), "-".repeat(BAR - used));
    let bar = match in_use < noded.slots {
        true => paint.good(&bar),
        false => paint.bad(&bar),
    };
    let waiting = match noded.waiting {
        0 => "0 waiting".into(),
        waiting => paint.doubtful(&format!("{waiting} waiting")),
    };
    format!("noded        {bar} {}, {waiting}", words::slots(report))
}

/// The newest first.
fn refusals(report: &Report, now: i64) -> String {
    let mut table = Table::new();
    for refusal in report.last_refusals.iter().rev().take(REFUSALS) {
        let time = i64::try_from(refusal.time).unwrap_or(i64::MAX);
        table.row([
            &times::relative(time, now),
            &refusal.peer.to_string(),
            refusal.reason.name(),
            refusal.common_name.as_deref().unwrap_or("-"),
            refusal.procedure.as_deref().unwrap_or("-"),
        ]);
    }
    match report.last_refusals.is_empty() {
        true => "none\n".into(),
        false => table.render(None),
    }
}

fn per_second(rates: Option<[f64; 2]>) -> [String; 2] {
    match rates {
        Some(rates) => rates.map(|rate| format!("{rate:.1}/s")),
        None => ["-/s", "-/s"].map(String::from),
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
