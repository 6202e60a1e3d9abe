//! `install --moves` and `uninstall --moves`: this package's program for disk transfers in the place of
//! Ganeti's, and Ganeti's back. Nothing of noded or the proxy is touched.

use std::path::PathBuf;
use std::process::Command;

use super::busy::busy;
use super::carry_out::carry_out;
use super::doing::say;
use super::flags::NodeArgs;
use super::plan::Plan;
use super::record::{Keep, moves_of};
use super::step::{Step, Unit};
use super::units::Shown;
use crate::commands::divert::look::{self, is_a_program, is_safe};
use crate::commands::divert::scene::{Act, Scene};
use crate::commands::program::{ASKED, run as run_program};

/// Puts it there.
pub(super) fn install(args: &NodeArgs) -> Result<(), String> {
    run("install --moves", args, |scene| {
        let program = program()?;
        is_safe(&scene.place)?;
        let acts = scene.on(&scene.place.text(&program)?)?;
        Ok(steps(acts))
    })
}

/// Takes it away.
pub(super) fn uninstall(args: &NodeArgs) -> Result<(), String> {
    run("uninstall --moves", args, |scene| scene.off().map(steps))
}

/// Adds its removal to what `uninstall` does, before all else. What cannot be taken away is told, and
/// keeps nobody from the rest.
pub(super) fn take_away(plan: &mut Plan, args: &NodeArgs) {
    match scene(args).and_then(|scene| scene.off()) {
        Ok(acts) => drop(plan.steps.splice(0..0, steps(acts))),
        Err(why) => plan
            .notes
            .push(format!("transfers stay as they are: {why}")),
    }
}

fn steps(acts: Vec<Act>) -> Vec<Step> {
    acts.into_iter().map(Step::Moves).collect()
}

fn scene(args: &NodeArgs) -> Result<Scene, String> {
    let recorded = moves_of(&args.undo_dir)?;
    look::scene(args.import_export.as_deref(), recorded.as_deref())
}

/// Looks, plans, and shows or does it.
fn run(
    name: &str,
    args: &NodeArgs,
    plan: impl FnOnce(&Scene) -> Result<Vec<Step>, String>,
) -> Result<(), String> {
    let keep = Keep::open(&args.undo_dir)?;
    let steps = plan(&scene(args)?)?;
    let plan = Plan {
        steps,
        notes: Vec::new(),
    };
    if plan.steps.is_empty() {
        say("ok", "nothing to do: all is as it should be");
        return Ok(());
    }
    carry_out(name, args, &plan, || busy(&plan, || 0), (None, keep))
}

/// The program that does transfers: the one that the unit has, or else this one.
fn program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let of_unit = Shown::of(Unit::Proxy.name())?.program();
    let program = of_unit.filter(|path| path.exists()).unwrap_or(own);
    let name = program.display();
    if !is_a_program(&program) {
        return Err(format!(
            "{name}: root is to run it, and others can write it, or it cannot be run"
        ));
    }
    let mut help = Command::new(&program);
    let said = run_program(help.args(["import-export", "--help"]), b"", ASKED)?;
    match said.status.success() {
        true => Ok(program),
        false => Err(format!(
            "{name} knows no `import-export`: it is another version"
        )),
    }
}
