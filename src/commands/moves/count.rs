//! `moves count`: a process beside each transfer that keeps this node's numbers. The transfer only
//! writes lines into a pipe and never waits for it, so nothing here can fail or delay one; and when the
//! transfer is killed, the end of the pipe says so.
//!
//! All of them share one state, in the directory of Ganeti's running daemons, under a lock. The file
//! for node_exporter is written from it, and never read.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, flock};

use super::args::CountArgs;
use super::look::{Leavings, MARKS, now};
use super::metrics::text;
use crate::commands::textfile;
use crate::moves::account::{Account, Ended, Process, Role};
use crate::moves::talk::Passed;

/// The state, and the file that is locked while it is changed.
const STATE: &str = "counts";
const LOCK: &str = "counting";

/// While a transfer runs, the file is written no more often.
const EACH: Duration = Duration::from_secs(15);

/// Counts one transfer to its end.
pub(super) fn count(args: &CountArgs) -> io::Result<()> {
    let gone = || io::Error::other("the transfer is gone");
    let began = began(args.pid).ok_or_else(gone)?;
    let transfer = Process {
        pid: args.pid,
        began,
    };
    let role = match args.import {
        true => Role::Import,
        false => Role::Export,
    };
    let (mut bytes, mut ended) = (0, Ended::Killed);
    let mut failed = change(args, |account| account.runs(transfer, role, 0)).err();
    let mut written = Instant::now();
    for line in io::stdin().lock().lines() {
        match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(Passed::Bytes(all))) => bytes = all,
            Ok(Ok(Passed::Ended(how))) => ended = how,
            _ => break,
        }
        if written.elapsed() >= EACH {
            written = Instant::now();
            // A full disk may have room again.
            let done = change(args, |account| account.runs(transfer, role, bytes));
            failed = failed.or_else(|| done.err());
        }
    }
    let last = change(args, |account| {
        account.runs(transfer, role, bytes);
        account.ends(transfer, role, ended, now());
    });
    failed.map_or(last, Err)
}

/// Changes the state, and writes the file.
fn change(args: &CountArgs, what: impl FnOnce(&mut Account)) -> io::Result<()> {
    let directory = Leavings::of(&args.place.run_dir).own()?;
    let lock = directory.open_or_create(LOCK)?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let state = args.place.run_dir.join(MARKS).join(STATE);
    let mut account: Account = match fs::read(state) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(), // of another version
        Err(error) if error.kind() == io::ErrorKind::NotFound => Account::default(),
        Err(error) => return Err(error),
    };
    what(&mut account);
    account.bury(|process| began(process.pid) == Some(process.began), now());
    let state = serde_json::to_vec(&account)?;
    directory.replace(OsStr::new(STATE), &state, Mode::RUSR | Mode::WUSR)?;
    let told = |error| io::Error::other(format!("{}: {error}", args.to.display()));
    textfile::replace(&args.to, &text(&account)).map_err(told)
}

/// When a living process began; nothing if there is none. One that nobody has waited for is none.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let lives = !matches!(fields.next()?, "Z" | "X");
    let began = fields.nth(18)?.parse().ok()?;
    lives.then_some(began)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_a_dead_one_does_not() {
        let own = began(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(began(child.id()).unwrap() >= own);
        child.kill().unwrap();
        // Nobody has waited for it, so its number is not free.
        let pid = child.id();
        while began(pid).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(began(pid), None);
    }
}
