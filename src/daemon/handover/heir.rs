//! The new process's side: what it was given, and what it says. It never opens a port.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::stdio::dup2_stdin;

use super::descriptors;
use super::message::{Offer, TakeOver, Verdict, read, told, write};
use super::predecessors::Predecessor;
use super::spawner::SUCCESSOR;
use crate::trust::Bequest;
use rules::succession::InForce;

/// What a successor was given.
#[derive(Debug)]
pub struct Heir {
    link: UnixStream,
    offer: Offer,
    sockets: Vec<OwnedFd>,
}

impl Heir {
    /// What this process was given; `None` if it was not started as a successor.
    pub fn take() -> io::Result<Option<Self>> {
        if std::env::var_os(SUCCESSOR).is_none() {
            return Ok(None);
        }
        let link = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        dup2_stdin(File::open("/dev/null")?)?; // the link must end with what is made of this
        let Some((line, sockets)) = descriptors::receive(&link)? else {
            return Err(gone());
        };
        let offer = serde_json::from_str(&line).map_err(io::Error::other)?;
        Ok(Some(Self {
            link,
            offer,
            sockets,
        }))
    }

    /// What the process before this one remembers; none if it is of a version that does not tell.
    pub(in crate::daemon) fn bequest(&self) -> io::Result<Option<Bequest>> {
        let file = self.sockets.last().filter(|_| self.offer.bequest);
        let content = file.map(descriptors::content).transpose()?;
        let bequest = content.map(|content| serde_json::from_slice(&content));
        bequest.transpose().map_err(io::Error::other)
    }

    /// Says why this process cannot take over.
    pub fn fail(&self, why: impl Display) {
        let _ = write(&self.link, &Verdict::Failed(why.to_string())); // nobody is left to be told
    }

    /// The public sockets, if they are those that are asked for here: of systemd, or opened for the
    /// same addresses. And whether they are systemd's.
    pub(in crate::daemon) fn listeners(
        &self,
        wanted: &[SocketAddr],
    ) -> io::Result<(Vec<TcpListener>, bool)> {
        let of_systemd = self.offer.of_systemd;
        let count = match of_systemd || self.offer.listen == wanted {
            true => self.offer.listeners,
            false => 0,
        };
        let sockets = self.sockets.iter().take(count);
        let sockets = sockets.map(|fd| fd.try_clone().map(TcpListener::from));
        Ok((sockets.collect::<io::Result<_>>()?, of_systemd))
    }

    /// The admin socket, if it is the one that is asked for here.
    pub(in crate::daemon) fn admin(&self, wanted: SocketAddr) -> io::Result<Option<TcpListener>> {
        let socket = self.sockets.get(self.offer.listeners);
        match socket.filter(|_| self.offer.admin == Some(wanted)) {
            Some(fd) => fd.try_clone().map(TcpListener::from).map(Some),
            None => Ok(None),
        }
    }

    /// Says that this process can serve, by these rules, and waits until it may. What it was given is
    /// either in use by now, or closed with this.
    pub(in crate::daemon) fn take_over(self, by: &InForce) -> io::Result<Vec<Predecessor>> {
        let pid = std::process::id();
        let rules = told(by);
        write(&self.link, &Verdict::Ready { pid, rules })?;
        let take_over: TakeOver = read(&self.link)?.ok_or_else(gone)?;
        let first = self.offer.listeners + usize::from(self.offer.admin.is_some());
        let links = self.sockets.into_iter().skip(first).map(UnixStream::from);
        let mut links: Vec<_> = self.offer.links.into_iter().zip(links).collect();
        let mut known = Vec::new();
        // By process ID: one of them may have ended since the offer.
        for holds in take_over.predecessors {
            let link = links.iter().position(|(pid, _)| *pid == holds.pid);
            let link = match link {
                Some(at) => links.swap_remove(at).1,
                None => self.link.try_clone()?, // the sender's
            };
            known.push(Predecessor::new(holds, link));
        }
        Ok(known)
    }

    /// Whether the process before this one has the socket `control`.
    pub(in crate::daemon) fn takes_control(&self) -> bool {
        self.offer.control
    }

    /// Handovers that were tried until now.
    pub(in crate::daemon) fn attempts(&self) -> u64 {
        self.offer.attempt
    }
}

fn gone() -> io::Error {
    io::Error::other("the process before it has ended before this one was ready")
}
