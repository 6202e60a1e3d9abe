//! Ganeti's command in a process group of its own, as Ganeti starts it: `bash -o errexit -o
//! pipefail -c`. Nothing of the peer's bytes reaches a command line.
//!
//! An import command must never take a broken transfer for a whole one, so its input must not end
//! before it is killed. This process holds the pipe open until then. Should this process itself be
//! killed, the warden beside the command holds it: a shell in the same group, which kills the group
//! unless it was told that the transfer is whole.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::mpsc::Sender;

/// Reads one letter; kills its group when there is none. It ignores the signals that Ganeti's
/// "abort" sends, because the command may ignore them, too.
const WARDEN: &str = "trap '' TERM INT HUP; read -r -n 1 word; \
                      if [ \"$word\" != w ]; then kill -KILL 0; fi";

/// Ganeti leaves its locked pid file open in this process. A daemon that a command leaves behind
/// must not keep it locked, so a shell closes what it was not given by name.
const CLOSE: &str = "for fd in /proc/$$/fd/*; do fd=${fd##*/}; case $fd in \
                     0|1|2|\"${EXP_SIZE_FD-}\") ;; *) exec {fd}>&- ;; esac; done; unset fd; ";

/// Longest line of a command that is kept.
const LINE: u64 = 4096;

/// What comes from a command.
#[derive(Debug)]
pub(super) enum Heard {
    /// A line on standard error.
    Line(String),
    /// What it says about the size.
    Size(String),
    /// It has ended with this exit status.
    Exit(i32),
}

/// How a command is connected.
pub(super) enum Joint {
    /// An import: it reads from here. The other end is held by the warden.
    Reads(PipeReader, PipeWriter),
    /// An export: it writes here.
    Writes(PipeWriter),
}

/// A running command.
pub(super) struct Group {
    leader: Pid,
    warden: Option<Child>,
    ended: bool,
}

impl Group {
    /// Starts it. It may tell a size if `size` is there: `EXP_SIZE_FD`, as Ganeti has it.
    pub(super) fn start(
        text: &str,
        joint: Joint,
        tells_size: bool,
        heard: &Sender<Heard>,
    ) -> io::Result<Self> {
        let mut command = bash(text);
        command.stderr(Stdio::piped());
        let mut warden = None;
        let group = match joint {
            Joint::Writes(to) => {
                command.stdout(Stdio::from(to));
                0
            }
            Joint::Reads(from, held) => {
                let mut beside = Command::new("bash");
                beside
                    .args(["-c", &format!("{CLOSE}{WARDEN}")])
                    .stdin(Stdio::piped());
                beside.stdout(Stdio::from(held)).stderr(Stdio::null());
                let beside = beside.process_group(0).spawn()?;
                let leader = beside.id();
                warden = Some(beside);
                command.stdin(Stdio::from(from));
                i32::try_from(leader).unwrap_or(0)
            }
        };
        command.process_group(group);
        if tells_size {
            let (size, tell) = io::pipe()?;
            // It stays open in the command alone: all others were started before.
            fcntl_setfd(&tell, FdFlags::empty())?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&tell).to_string();
            command.env("EXP_SIZE_FD", number);
            listen(size, heard, Heard::Size);
            let started = command.spawn();
            drop(tell);
            return Self::watch(started?, warden, group, heard);
        }
        Self::watch(command.spawn()?, warden, group, heard)
    }

    fn watch(
        mut child: Child,
        warden: Option<Child>,
        group: i32,
        heard: &Sender<Heard>,
    ) -> io::Result<Self> {
        let own = i32::try_from(child.id()).unwrap_or(0);
        let leader = Pid::from_raw(if group == 0 { own } else { group });
        let leader = leader.ok_or_else(|| io::Error::other("no process group"))?;
        if let Some(errors) = child.stderr.take() {
            listen(errors, heard, Heard::Line);
        }
        let heard = heard.clone();
        thread::spawn(move || {
            let status = child.wait();
            let _ = heard.blocking_send(Heard::Exit(status.map_or(1, exit_status)));
        });
        Ok(Self {
            leader,
            warden,
            ended: false,
        })
    }

    /// The command has ended.
    pub(super) fn ended(&mut self) {
        self.ended = true;
    }

    /// Sends a signal to all of it, while the number is sure to be its own.
    pub(super) fn signal(&self, signal: Signal) {
        if self.ended && self.warden.is_none() {
            return;
        }
        let _ = kill_process_group(self.leader, signal);
    }

    /// The transfer is whole: the warden goes, and with it its hold on the pipe.
    pub(super) fn release(&mut self) {
        if let Some(mut warden) = self.warden.take() {
            let word = warden.stdin.take().map(|mut input| input.write_all(b"w"));
            if matches!(word, Some(Ok(()))) {
                let _ = warden.wait();
            }
        }
    }

    /// Kills all of it. When this returns, no process of the group runs a single step more.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut warden) = self.warden.take() {
            let _ = warden.wait();
        }
    }
}

/// As Ganeti starts a pipeline.
fn bash(text: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-o", "errexit", "-o", "pipefail", "-c"]);
    command.arg(format!("{CLOSE}{text}"));
    command
}

/// This program once more, as a process that may outlive this one, and for which nobody waits.
pub(super) fn later(arguments: &[&str]) -> io::Result<Command> {
    let mut command = Command::new("bash");
    command
        .arg("-c")
        .arg(format!("{CLOSE}exec \"$@\""))
        .arg("bash");
    command.arg(in_its_place(std::env::current_exe()?));
    command.args(arguments).current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    Ok(command)
}

/// The path of a program that may have been replaced meanwhile: what is there now.
fn in_its_place(program: PathBuf) -> PathBuf {
    let path = program.as_os_str().as_bytes();
    match path.strip_suffix(b" (deleted)") {
        Some(path) => OsStr::from_bytes(path).into(),
        None => program,
    }
}

/// A status as a shell tells it.
fn exit_status(status: ExitStatus) -> i32 {
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).unwrap_or(1)
}

/// Passes lines on, as fast as they are taken: a command that talks without end waits.
fn listen(from: impl Read + Send + 'static, heard: &Sender<Heard>, as_what: fn(String) -> Heard) {
    let heard = heard.clone();
    let mut from = BufReader::new(from);
    thread::spawn(move || {
        let mut line = Vec::new();
        while matches!((&mut from).take(LINE).read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let _ = heard.blocking_send(as_what(text));
            line.clear();
        }
    });
}

/// The file of a transfer without a command.
pub(super) fn open(path: &Path, import: bool) -> io::Result<File> {
    match import {
        true => File::create(path),
        false => File::open(path),
    }
}
