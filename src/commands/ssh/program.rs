//! A running program whose end can be awaited. tokio has one, too, but with it every worker of the
//! proxy looks for dead children each time it has nothing to do. It reads and writes nothing itself.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::oneshot;

use crate::commands::program::when_ended;

/// A program in a process group of its own. It is waited for by [`Program::status`] or
/// [`Program::kill`] alone: until then its number, and that of its group, is nobody else's.
pub(super) struct Program {
    child: Child,
    /// Until it is known that it has ended.
    end: Option<oneshot::Receiver<()>>,
}

impl Program {
    /// Starts a command that asks for a process group of its own.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let (tell, end) = oneshot::channel();
        when_ended(&mut child, move || {
            let _ = tell.send(()); // nobody may wait for it any more
        })?;
        let end = Some(end);
        Ok(Self { child, end })
    }

    /// Its standard input, output and errors, those that are pipes; once.
    pub(super) fn pipes(&mut self) -> io::Result<Pipes> {
        let child = &mut self.child;
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        Ok((
            stdin.map(Sender::from_owned_fd).transpose()?,
            stdout.map(Receiver::from_owned_fd).transpose()?,
            stderr.map(Receiver::from_owned_fd).transpose()?,
        ))
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&mut self) {
        if let Some(end) = &mut self.end {
            let _ = end.await;
            self.end = None;
        }
    }

    /// How it ended, once it has.
    pub(super) fn status(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Kills it, and what it has started in its group.
    pub(super) fn kill(mut self) -> io::Result<()> {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL)?;
        self.child.wait().map(|_| ())
    }
}

/// Input, output, errors.
type Pipes = (Option<Sender>, Option<Receiver>, Option<Receiver>);
