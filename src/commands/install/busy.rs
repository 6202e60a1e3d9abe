//! What runs on this node and would notice: it is told, waited for, or the reason not to go on. It only
//! looks.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::doing::{Signals, say};
use super::plan::Plan;
use super::step::Step;
use crate::commands::divert::transfers;
use crate::daemon::report::words::count;

/// Time from one look to the next.
const LOOK: Duration = Duration::from_millis(500);

/// Something that runs.
#[derive(Debug)]
pub(super) struct Busy {
    /// How many, in words.
    what: String,
    /// What would become of them.
    why: &'static str,
}

/// What would notice the plan; `rpcs`: how many run.
pub(super) fn busy(plan: &Plan, rpcs: impl Fn() -> usize) -> Option<Busy> {
    let switches = |step: &Step| matches!(step, Step::Moves(act) if act.changes_the_program());
    let kinds: [(bool, &dyn Fn() -> usize, _, _); 2] = [
        (
            plan.steps.iter().any(Step::disturbs),
            &rpcs,
            "RPC",
            "Later calls of the same job would fail for a moment",
        ),
        (
            plan.steps.iter().any(switches),
            &transfers::running,
            "transfer",
            "Disks of one move would go by two programs",
        ),
    ];
    kinds.into_iter().find_map(|(notices, running, one, why)| {
        let number = if notices { running() } else { 0 };
        let what = count(number, one);
        (number > 0).then_some(Busy { what, why })
    })
}

/// What would be done.
pub(super) fn show(plan: &Plan, busy: Option<&Busy>) {
    for step in &plan.steps {
        say("would", &step.to_string());
    }
    if let Some(Busy { what, .. }) = busy {
        say(
            "note",
            &format!("now running: {what}; --apply then needs --wait or --now"),
        );
    }
    say("note", "nothing was done: --apply does it");
}

/// Lets nothing be disturbed: waits until nothing runs, or refuses.
pub(super) fn quiet(
    signals: &mut Signals,
    wait: bool,
    busy: impl Fn() -> Option<Busy>,
) -> Result<(), String> {
    let mut is_told = false;
    loop {
        let Some(Busy { what, why }) = busy() else {
            return Ok(());
        };
        if !wait {
            return Err(format!(
                "now running on this node: {what}. {why}: try again later, or with --wait (until \
                 none runs), or with --now. Nothing was done"
            ));
        }
        if !std::mem::replace(&mut is_told, true) {
            say(
                "wait",
                &format!("{what} still running (Ctrl-C: nothing was done yet)"),
            );
        }
        if signals.came_within(LOOK) {
            return Err("a signal asked to end. Nothing was done".to_owned());
        }
        if is_unread() {
            return Err("nobody reads what this says any more. Nothing was done".to_owned());
        }
    }
}

/// Whether whoever read the standard output is gone: the master's ssh, which was told to end, or was
/// cut off. What waits for him would begin hours later, and nobody would look at what came of it.
fn is_unread() -> bool {
    let out = rustix::stdio::stdout();
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    let at_once = Some(&Timespec::default());
    let seen = poll(&mut polled, at_once);
    seen.is_ok()
        && polled[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}
