//! From a plan to what is done of it: shown, or carried out when nothing runs that it would disturb. It
//! makes no plan, and judges none.

use super::busy::{Busy, quiet, show};
use super::doing::{Around, Doer, Signals};
use super::flags::NodeArgs;
use super::plan::Plan;
use super::record::Keep;

/// Shows the steps, or does them with `--apply`.
pub(super) fn carry_out(
    name: &str,
    args: &NodeArgs,
    plan: &Plan,
    running: impl Fn() -> Option<Busy>,
    (around, keep): (Option<Around>, Keep),
) -> Result<(), String> {
    if !args.apply {
        show(plan, running().as_ref());
        return Ok(());
    }
    let mut signals = Signals::catch().map_err(|error| error.to_string())?;
    if !args.now {
        quiet(&mut signals, args.wait, running)?;
    }
    let mut doer = Doer {
        around,
        keep,
        signals,
    };
    let done = doer.all(&plan.steps);
    done.map_err(|why| format!("{name}: {why}"))
}
