//! Runs a program of this machine within a time, and takes what it says. Each program that `check`,
//! `install` and the guard wait for is run here: one that never answers must not hold them for ever.
//! It decides nothing about what the program says.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Time for a program that only tells something.
pub(crate) const ASKED: Duration = Duration::from_secs(10);

/// Time for one that was killed to be gone; it may wait for a disk.
const GONE: Duration = Duration::from_secs(2);

/// Most bytes of output, and as many of errors.
const MOST: u64 = 4 << 20;

/// What a program has said, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

/// Why nothing is known of what it says.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It could not be run, or waited for.
    NotRun(String, io::Error),
    /// It did not end within this time, and was killed.
    Silent(String, Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(command, error) => {
                let program = command.split(' ').next().unwrap_or_default();
                write!(f, "{program}: {error}")
            }
            Self::Silent(command, after) => {
                let after = humantime::format_duration(*after);
                write!(f, "`{command}` did not end within {after}, and was killed")
            }
        }
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

/// Runs it to its end, with this as its standard input, in a process group of its own: it does not get
/// the terminal's Ctrl-C, and what it has started is killed with it. All goes through files and not
/// through pipes, which a daemon that it starts could hold open.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> Result<Output, Fault> {
    let name = named(command);
    let failed = |error| Fault::NotRun(name.clone(), error);
    let [given, out, err] = ["in", "out", "err"].map(|_| memory());
    let (mut given, out, err) = (
        given.map_err(failed)?,
        out.map_err(failed)?,
        err.map_err(failed)?,
    );
    given.write_all(input).map_err(failed)?;
    given.rewind().map_err(failed)?;
    let copies = out.try_clone().and_then(|out| Ok((out, err.try_clone()?)));
    let (out_, err_) = copies.map_err(failed)?;
    let child = command
        .stdin(given)
        .stdout(out_)
        .stderr(err_)
        .process_group(0)
        .spawn();
    let status = within(child.map_err(failed)?, limit).map_err(failed)?;
    Ok(Output {
        status: status.ok_or_else(|| Fault::Silent(name.clone(), limit))?,
        out: content(out).map_err(failed)?,
        err: content(err).map_err(failed)?,
    })
}

/// How it ended; nothing, if it had to be killed.
fn within(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let (tell, told) = mpsc::channel();
    when_ended(&mut child, move || {
        let _ = tell.send(()); // nobody may wait for it any more
    })?;
    if told.recv_timeout(limit).is_ok() {
        return child.wait().map(Some);
    }
    kill_process_group(Pid::from_child(&child), Signal::KILL)?;
    if told.recv_timeout(GONE).is_ok() {
        child.wait()?;
    }
    Ok(None)
}

/// Has a thread look for the end of a child; its number stays taken until it is waited for. A child
/// that cannot be looked at is killed.
pub(crate) fn when_ended(
    child: &mut Child,
    tell: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let id = Pid::from_child(child);
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let watch = move || {
        while matches!(waitid(WaitId::Pid(id), look), Err(Errno::INTR)) {}
        tell();
    };
    if let Err(error) = thread::Builder::new().spawn(watch) {
        child.kill()?;
        child.wait()?;
        return Err(error);
    }
    Ok(())
}

/// A file without a name.
fn memory() -> io::Result<File> {
    Ok(memfd_create("program", MemfdFlags::CLOEXEC)?.into())
}

fn content(mut file: File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut all = Vec::new();
    file.take(MOST).read_to_end(&mut all)?;
    Ok(all)
}

/// The command in words, without its options.
fn named(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words = words.map(OsStr::to_string_lossy);
    let words: Vec<_> = words.take_while(|word| !word.starts_with('-')).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str, input: &[u8], limit: Duration) -> Result<Output, Fault> {
        run(Command::new("sh").args(["-c", text]), input, limit)
    }

    #[test]
    fn what_it_says_comes_apart_and_its_input_is_a_file() {
        let text = "cat; echo no >&2; exit 3";
        let said = shell(text, &[b'x'; 200_000], Duration::from_secs(600)).unwrap();
        assert_eq!((said.status.code(), said.out.len()), (Some(3), 200_000));
        assert_eq!(said.err, b"no\n");
        // A daemon that it leaves behind holds nothing up.
        let said = shell("setsid sleep 900 & echo $!", b"", Duration::from_secs(600)).unwrap();
        let id = String::from_utf8(said.out).unwrap();
        let id = Pid::from_raw(id.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(id, Signal::KILL).unwrap();
    }

    #[test]
    fn one_that_never_ends_is_killed_with_what_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "sleep 900 & echo $! > {}; wait",
            dir.path().join("x").display()
        );
        let mut limit = Duration::from_millis(50);
        // Until it came as far as that.
        let id = loop {
            let fault = shell(&text, b"", limit).unwrap_err();
            let after = humantime::format_duration(limit);
            let expected = format!("did not end within {after}, and was killed");
            assert!(fault.to_string().contains(&expected), "{fault}");
            match std::fs::read_to_string(dir.path().join("x")) {
                Ok(id) if id.ends_with('\n') => break id,
                _ => limit *= 2,
            }
        };
        let stat = format!("/proc/{}/stat", id.trim());
        let ends = |stat: &str| stat.contains(") Z ") || stat.contains(") X ");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !ends(&stat)) {
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let fault = run(Command::new("no-such-program").arg("x"), b"", ASKED).unwrap_err();
        let expected = "no-such-program: No such file or directory (os error 2)";
        assert_eq!(fault.to_string(), expected);
    }
}
