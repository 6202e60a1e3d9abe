//! `moves count`: a process beside each transfer that keeps this node's numbers. The transfer only
//! writes lines into a pipe and never waits for it, so nothing here can fail or delay one; and when the
//! transfer is killed, the end of the pipe says so.
//!
//! All of them share one state, in the directory of Ganeti's running daemons, under a lock. The file
//! for node_exporter is written from it, and never read.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;

use super::args::CountArgs;
use super::look::{Leavings, MARKS, now};
use super::metrics;
use crate::commands::textfile;
use crate::moves::account::{Account, Ended, Process, Role};
use crate::moves::talk::Passed;
use crate::node::directory::Directory;

/// The state, and the file that is locked while it is changed.
const STATE: &str = "counts";
const LOCK: &str = "counting";

/// Largest state that is read; it has a hundred bytes, and as many for each transfer that runs.
const MOST: u64 = 1 << 20;

/// A lock is waited for so long: who holds it needs a moment. Without a bound, one that is stuck would
/// leave a process behind each transfer.
const PATIENCE: Duration = Duration::from_secs(30);

/// While a transfer runs, the file is written no more often.
const EACH: Duration = Duration::from_secs(15);

/// Counts one transfer to its end.
pub(super) fn count(args: &CountArgs) -> io::Result<()> {
    // One that could not begin may be gone by now, and has left a word in the pipe.
    let gone = Process {
        pid: args.pid,
        began: 0,
    };
    let transfer = process(args.pid).unwrap_or(gone);
    let own = process(std::process::id()).ok_or_else(|| io::Error::other("no /proc"))?;
    let role = match args.import {
        true => Role::Import,
        false => Role::Export,
    };
    let (mut bytes, mut ended) = (0, Ended::Killed);
    let mut failed = change(args, |account| account.runs(transfer, own, role, 0)).err();
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
            let done = change(args, |account| account.runs(transfer, own, role, bytes));
            failed = failed.or_else(|| done.err());
        }
    }
    let last = change(args, |account| {
        account.runs(transfer, own, role, bytes);
        account.ends(transfer, role, ended, now());
    });
    failed.map_or(last, Err)
}

/// Changes the state, and writes the file.
fn change(args: &CountArgs, what: impl FnOnce(&mut Account)) -> io::Result<()> {
    let told = |name| {
        let path = args.place.run_dir.join(MARKS).join(name);
        move |error| io::Error::other(format!("{}: {error}", path.display()))
    };
    let directory = Leavings::of(&args.place.run_dir).own().map_err(told(""))?;
    let _held = lock(&directory, PATIENCE).map_err(told(LOCK))?;
    let mut account = state(&directory).map_err(told(STATE))?;
    what(&mut account);
    account.bury(|one| process(one.pid) == Some(one), now());
    let text = serde_json::to_vec(&account)?;
    let replaced = directory.replace(OsStr::new(STATE), &text, Mode::RUSR | Mode::WUSR);
    replaced.map_err(told(STATE))?;
    let told = |error| io::Error::other(format!("{}: {error}", args.to.display()));
    textfile::replace(&args.to, &metrics::text(&account)).map_err(told)
}

/// Nobody else changes anything while it is held.
fn lock(directory: &Directory, patience: Duration) -> io::Result<File> {
    let file = directory.open_or_create(LOCK)?;
    let until = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(Errno::WOULDBLOCK) => return Err(io::Error::other("another process holds it")),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is kept; nothing, if it is of another version, or damaged.
fn state(directory: &Directory) -> io::Result<Account> {
    let mut text = Vec::new();
    if let Some(file) = directory.open_if_there(STATE)? {
        file.take(MOST).read_to_end(&mut text)?;
    }
    Ok(serde_json::from_slice(&text).unwrap_or_default())
}

/// A living process.
fn process(pid: u32) -> Option<Process> {
    let began = began(pid)?;
    Some(Process { pid, began })
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
    use super::super::args::PlaceArgs;
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
            thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(began(pid), None);
    }

    /// A directory in the place of Ganeti's.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn args(&self, pid: u32) -> CountArgs {
            let run_dir = self.0.path().to_owned();
            CountArgs {
                place: PlaceArgs { run_dir },
                pid,
                import: true,
                to: self.0.path().join("moves.prom"),
            }
        }

        fn own(&self) -> Directory {
            Leavings::of(self.0.path()).own().unwrap()
        }

        fn account(&self) -> Account {
            state(&self.own()).unwrap()
        }
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let place = Place::new();
        thread::scope(|scope| {
            for pid in 0..8 {
                let args = place.args(pid);
                scope.spawn(move || {
                    let own = Process { pid, began: 1 };
                    for _ in 0..20 {
                        change(&args, |all| all.ends(own, Role::Import, Ended::Whole, 1)).unwrap();
                    }
                });
            }
        });
        assert_eq!(place.account().ended(Role::Import, Ended::Whole), 160);
    }

    /// Its own counter may have been killed with it.
    #[test]
    fn one_that_is_gone_is_buried_by_the_next() {
        let place = Place::new();
        let gone = Process { pid: 1, began: 0 };
        let own = std::process::id();
        let lives = process(own).unwrap();
        let args = place.args(own);
        change(&args, |all| all.runs(gone, gone, Role::Export, 3)).unwrap();
        change(&args, |all| all.runs(lives, lives, Role::Import, 3)).unwrap();
        let account = place.account();
        assert_eq!(account.ended(Role::Export, Ended::Killed), 1);
        assert_eq!(
            (account.running(Role::Export), account.running(Role::Import)),
            (0, 1)
        );
    }

    #[test]
    fn one_that_is_stuck_holds_nobody_up_for_ever() {
        let place = Place::new();
        let own = place.own();
        let _held = lock(&own, PATIENCE).unwrap();
        let why = lock(&place.own(), Duration::from_millis(50)).unwrap_err();
        assert!(why.to_string().contains("another process holds it"));
    }

    /// A pipe has no end, and a file of the system is not this program's.
    #[test]
    fn what_is_no_file_of_its_own_is_not_read() {
        let place = Place::new();
        let own = place.0.path().join(MARKS);
        place.own();
        let state = own.join(STATE);
        let made = std::process::Command::new("mkfifo").arg(&state).status();
        assert!(made.unwrap().success());
        let why = change(&place.args(1), |_| {}).unwrap_err().to_string();
        assert!(why.contains("counts: not a regular file"), "{why}");
        fs::remove_file(&state).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &state).unwrap();
        let why = change(&place.args(1), |_| {}).unwrap_err().to_string();
        assert!(why.contains("counts: a symbolic link"), "{why}");
        fs::remove_file(&state).unwrap();
        let damaged = File::create(&state).unwrap();
        damaged.set_len(MOST << 10).unwrap();
        change(&place.args(1), |_| {}).unwrap();
        assert_eq!(place.account(), Account::default());
    }
}
