//! The spawner: a small process that starts a successor when the proxy asks for one.
//!
//! The proxy itself cannot: its sandbox forbids to run programs, and would be inherited. So the
//! spawner is started before the sandbox is entered and before any file is read: it has no key and
//! no thread, listens nowhere, and can do one thing only, start the program that it was given at
//! its own start. It ends with the proxy, or when a successor has taken over, which then has
//! another one.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::signal::unix::{SignalKind, signal};

use super::descriptors;
use super::message::{Verdict, write};

/// Set for a successor: its standard input leads to the process before it.
pub(super) const SUCCESSOR: &str = "NODED_PROXY_SUCCESSOR";

/// What the spawner is told about a successor that it has started.
const END_IT: u8 = b'k';
const LET_IT_RUN: u8 = b'd';

/// The spawner of this process.
#[derive(Debug)]
pub struct Spawner {
    control: UnixStream,
    child: Child,
}

impl Spawner {
    /// Starts it, to run this program with these arguments again. Call it before the sandbox is
    /// entered.
    pub fn start() -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        // The path now: after an upgrade another program is found there.
        let program = std::env::current_exe()?;
        let child = Command::new("/proc/self/exe")
            .arg("spawner")
            .arg(program)
            .arg("--")
            .args(std::env::args_os().skip(1))
            .env_remove(SUCCESSOR)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { control, child })
    }

    /// Starts a successor with this end of the link.
    pub(super) fn spawn(&self, link: &UnixStream) -> io::Result<()> {
        descriptors::send(&self.control, "start", &[link.as_fd()])
    }

    /// The successor has failed: whatever is left of it is ended.
    pub(super) fn end_it(&mut self) -> io::Result<()> {
        self.control.write_all(&[END_IT])
    }

    /// The successor takes over. It is init's child when this returns.
    pub(super) fn leave(mut self) -> io::Result<()> {
        self.control.write_all(&[LET_IT_RUN])?;
        self.child.wait().map(drop)
    }
}

/// The spawner's own life: starts `program` with `arguments` as often as it is asked to.
pub fn main(program: &PathBuf, arguments: &[OsString]) -> io::Result<()> {
    // One to all processes of the service (`systemctl kill -s HUP`) asks the proxy, not this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _caught = runtime.block_on(async { signal(SignalKind::hangup()) })?;
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    while let Some((_, mut passed)) = descriptors::receive(&control)? {
        let Some(link) = passed.pop() else { continue };
        let tell = UnixStream::from(link.try_clone()?);
        let started = Command::new(program)
            .args(arguments)
            .env(SUCCESSOR, "1")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("WATCHDOG_PID")
            .stdin(link)
            .spawn();
        if let Err(error) = &started {
            let why = format!("cannot start {}: {error}", program.display());
            write(&tell, &Verdict::Failed(why))?;
        }
        drop(tell);
        let mut word = [0];
        if control.read(&mut word)? == 0 || word[0] == LET_IT_RUN {
            return Ok(()); // by itself it sees whether its predecessor has let it take over
        }
        if let Ok(mut child) = started {
            let _ = child.kill(); // it may have ended
            child.wait()?;
        }
    }
    Ok(())
}
