//! Asks one node what it has, and judges that at once: a long answer is forgotten before the next
//! one is read. A node that cannot be asked is a finding on it, and holds up nobody.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::report::{How, Node};
use crate::commands::ssh::call::{Call, End, Said, Ssh, quoted};
use crate::commands::ssh::members::Member;
use crate::verify::answer::{self, Refused};
use crate::verify::told::{self, Told};
use crate::verify::{Places, observe};
use rules::verify::Allowed;
use rules::verify::cluster::{Master, Trouble};
use rules::verify::observed::Observed;

/// What a node with the program is told to do.
const PROGRAM: &str = "noded-proxy verify --observed";
/// What cannot be seen in files.
const OF_THE_PROXY: &str = "the running proxy";
/// A copy of the configuration has secrets in it.
const CONFIGURATION: &str = "its copy of config.data";
/// An offline node that cannot be reached.
const AWAY: &str = "an offline node that does not answer";
/// How long an offline node may take: most are dead, and nobody waits for them.
const OFFLINE: Duration = Duration::from_secs(10);
/// The same until its ssh daemon answers.
const OFFLINE_CONNECT: Duration = Duration::from_secs(3);

/// This program was told to end.
pub(super) struct Interrupted;

/// All that is needed to ask a node.
pub(super) struct Asker<'a> {
    pub(super) ssh: Ssh<'a>,
    pub(super) places: Places,
    /// How long a node may take.
    pub(super) deadline: Duration,
    pub(super) now: i64,
    pub(super) master: Master,
    pub(super) allowed: &'a Allowed,
    /// One answer is read and judged at a time.
    pub(super) reading: Mutex<()>,
}

impl Asker<'_> {
    /// The master, which has looked already.
    pub(super) fn itself(&self, own: Observed) -> Node {
        let name = self.ssh.cluster.master.clone();
        self.judged(&name, How::Here, own, &[])
    }

    /// Another node.
    pub(super) fn node(&self, member: &Member) -> Result<Node, Interrupted> {
        let mut node = self.online_or_not(member)?;
        node.is_offline = member.offline;
        Ok(node)
    }

    fn online_or_not(&self, member: &Member) -> Result<Node, Interrupted> {
        let said = self.call(member, PROGRAM, b"")?;
        let status = match said.end {
            End::Status(126 | 127) => return self.files(member, Trouble::WithoutProxy),
            End::Status(status) => status,
            _ => return Ok(self.lost(member, &[trouble(&said)])),
        };
        match (self.program(member, &said), status) {
            (Ok(node), _) => Ok(node),
            (Err(Refused::Garbage(why)), 0) => Ok(self.lost(member, &[Trouble::Answer(why)])),
            (Err(refused @ Refused::Format(_)), _) => {
                self.files(member, Trouble::Mute(refused.to_string()))
            }
            (Err(Refused::Nothing | Refused::Garbage(_)), _) => {
                self.files(member, Trouble::Mute(said.why()))
            }
        }
    }

    fn call(&self, member: &Member, command: &str, input: &[u8]) -> Result<Said, Interrupted> {
        let usual = Call::new(command);
        let call = Call {
            input,
            most: answer::MOST,
            deadline: self.deadline_of(member),
            connect: match member.offline {
                true => OFFLINE_CONNECT,
                false => usual.connect,
            },
            ..usual
        };
        match self.ssh.run(member, &call) {
            said if said.end == End::Interrupted => Err(Interrupted),
            said => Ok(said),
        }
    }

    fn deadline_of(&self, member: &Member) -> Duration {
        match member.offline {
            true => self.deadline.min(OFFLINE),
            false => self.deadline,
        }
    }

    /// By what its own program said.
    fn program(&self, member: &Member, said: &Said) -> Result<Node, Refused> {
        let _one = self.one_at_a_time();
        let seen = answer::read(&said.out)?;
        Ok(self.judged(&member.name, How::Program, seen, &[]))
    }

    /// By its files.
    fn files(&self, member: &Member, because: Trouble) -> Result<Node, Interrupted> {
        let seconds = self.deadline_of(member).as_secs().max(1); // it may not outlive us for long
        let path = |path: &Path| quoted(path);
        let [data, server, map] =
            [&self.places.data, &self.places.server_pem, &self.places.map].map(|p| path(p));
        let command = format!("timeout {seconds} sh -s -- '' {data} {server} {map}");
        let said = self.call(member, &command, told::SCRIPT.as_bytes())?;
        if said.end != End::Status(0) {
            return Ok(self.lost(member, &[because, trouble(&said)]));
        }
        let _one = self.one_at_a_time();
        let told = match Told::parse(&said.out) {
            Ok(told) => told,
            Err(why) => return Ok(self.lost(member, &[because, Trouble::Answer(why)])),
        };
        let seen = observe(&told, &self.places, Some(&member.name), self.now);
        let mut node = self.judged(&member.name, How::Files, seen, &[because]);
        node.not_looked_at.extend(told.unseen());
        if member.candidate {
            node.not_looked_at.push(CONFIGURATION);
        }
        Ok(node)
    }

    /// What the master says of it.
    fn judged(&self, name: &str, how: How, seen: Observed, troubles: &[Trouble]) -> Node {
        let without_proxy = seen.proxy.is_none();
        let judged = self.master.judge(name, seen, self.allowed);
        let mut node = self.lost_as(name, how, troubles);
        node.add(judged.findings);
        node.held = judged.held;
        if without_proxy {
            node.not_looked_at.push(OF_THE_PROXY);
        }
        node
    }

    /// One that brought nothing. Of an offline node nobody expects that it can be reached;
    /// one that has said something is there.
    fn lost(&self, member: &Member, troubles: &[Trouble]) -> Node {
        let is_away = |trouble: &Trouble| matches!(trouble, Trouble::Unreachable(_));
        if member.offline && troubles.iter().all(is_away) {
            let mut node = Node::unseen(&member.name, How::Offline, Vec::new());
            node.not_looked_at.push(AWAY);
            return node;
        }
        self.lost_as(&member.name, How::Unseen, troubles)
    }

    fn lost_as(&self, name: &str, how: How, troubles: &[Trouble]) -> Node {
        let findings = troubles.iter().map(|trouble| trouble.finding(name));
        let wanted = findings.filter(|found| !self.allowed.ignore.contains(&found.id));
        Node::unseen(name, how, wanted.collect())
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that brought nothing.
fn trouble(said: &Said) -> Trouble {
    match said.end {
        End::TooMuch(_) | End::Status(_) => Trouble::Answer(said.why()),
        End::Unreachable | End::Deadline(_) | End::Interrupted => Trouble::Unreachable(said.why()),
    }
}
