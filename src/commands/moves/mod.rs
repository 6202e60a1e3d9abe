//! `noded-proxy moves`: what moves of instances have left on this node, and its removal. What may
//! go is decided in [`crate::moves::keys`], never here.

pub mod args;
mod count;
mod look;
mod metrics;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::exit;
use super::table::{Table, terminal_width};
use crate::moves::keys::{Fate, QUIET, is_left};
use args::{CleanArgs, MovesCommand, PlaceArgs};
pub(crate) use look::Leavings;
use look::now;

/// The last key of a move is looked at so many times before a cleaner gives up.
const LOOKS: u32 = 150;

/// `noded-proxy moves`, to the exit status.
pub fn main(command: &MovesCommand) -> ExitCode {
    let done = match command {
        MovesCommand::List(place) => list(place),
        MovesCommand::Clean(args) if args.wait => wait(args),
        MovesCommand::Count(args) => count::count(args),
        MovesCommand::Clean(args) => clean(&Leavings::of(&args.place.run_dir)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failure(error),
    }
}

fn list(place: &PlaceArgs) -> io::Result<()> {
    let leavings = Leavings::of(&place.run_dir);
    let mut table = Table::new();
    for key in leavings.keys()? {
        let state = format!("{}{}", key.fate(now()).words(), by(&key.users));
        table.row(["key", &key.name, &state]);
    }
    for transfer in leavings.transfers()? {
        let state = match transfer.is_alive() {
            true => "runs",
            false if is_left(false, transfer.changed, now()) => "left by a dead transfer",
            false => match transfer.ended {
                Some(true) => "ended",
                Some(false) => "killed: a job may wait for it",
                None => "does not run: its status cannot be read",
            },
        };
        let state = format!("{state}{}", by(&transfer.users));
        table.row(["transfer", &transfer.name, &state]);
    }
    out!("{}", table.render(terminal_width()));
    Ok(())
}

/// Whose it is.
fn by(users: &[u32]) -> String {
    let users: Vec<_> = users.iter().map(u32::to_string).collect();
    match users.is_empty() {
        true => String::new(),
        false => format!(" (pid {})", users.join(", ")),
    }
}

/// Removes what may go, one line for each; all that can be removed, even if something cannot.
fn clean(leavings: &Leavings) -> io::Result<()> {
    let mut failed = None;
    let mut told = |what: &str, name: &str, done: io::Result<()>| match done {
        Ok(()) => outln!("{what} {name} is destroyed"),
        Err(error) => failed = Some(io::Error::other(format!("{what} {name}: {error}"))),
    };
    for key in leavings.keys()? {
        if key.fate(now()).goes() {
            told("key", &key.name, leavings.destroy(&key.name));
        }
    }
    for transfer in leavings.transfers()? {
        if is_left(transfer.is_alive(), transfer.changed, now()) {
            told("transfer", &transfer.name, leavings.sweep(&transfer.name));
        }
    }
    leavings.forget_gone()?;
    failed.map_or(Ok(()), Err)
}

/// Waits until no key is left that was used a moment ago or is in use, and cleans meanwhile. One
/// process waits at a time.
fn wait(args: &CleanArgs) -> io::Result<()> {
    let leavings = Leavings::of(&args.place.run_dir);
    let turn = leavings.turn()?;
    if flock(&turn, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    for _ in 0..LOOKS {
        let soon = |fate| matches!(fate, Fate::JustUsed | Fate::InUse);
        let keys = leavings.keys()?;
        let mut waiting = keys.iter().filter(|key| key.used.is_some());
        if !waiting.any(|key| soon(key.fate(now()))) {
            return clean(&leavings);
        }
        thread::sleep(Duration::from_secs(QUIET.unsigned_abs() + 1));
        clean(&leavings)?;
    }
    Ok(())
}
