//! How the master has one node do something: each deed is a login of its own, and a change is proven
//! by a new one. It decides nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use super::args::ApplyArgs;
use super::ask::{self, Sights};
use super::here::Here;
use super::jobs;
use super::turns::{Failed, Turns};
use crate::commands::ssh::call::{End, Ssh};
use crate::commands::ssh::interrupt;
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::Config;
use crate::ssh_keys::change::Change;

/// Changes of nodes.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) ssh: Ssh<'a>,
    /// When a node undoes what nobody has proven, in seconds.
    pub(super) after: u16,
}

impl Order<'_> {
    /// Has it done, and proves that the node can still be reached.
    pub(super) fn proven(&self, member: &Member, change: &Change) -> Result<String, Failed> {
        let told = self.begun(member, change).map_err(Failed::Node)?;
        self.keep(member, change.id)?;
        Ok(told)
    }

    /// Has it done; the node waits for a proof.
    pub(super) fn begun(&self, member: &Member, change: &Change) -> Result<String, String> {
        let order = serde_json::to_vec(change).map_err(|error| error.to_string())?;
        let after = self.after;
        let command = format!("noded-proxy ssh-keys node change --undo-after {after}");
        deed(self.ssh, member, &command, &order)
    }

    /// Proves it by a new login. A normal node may refuse that to stop all else. The master and
    /// candidates do not lie: what keeps the master out there would keep it out elsewhere too, such
    /// as a way in by another key than its own.
    pub(super) fn keep(&self, member: &Member, id: u64) -> Result<(), Failed> {
        let command = format!("noded-proxy ssh-keys node keep --id {id}");
        let after = self.after;
        let told = |why| {
            format!("no new login after the change: {why}; within {after} s the node undoes it")
        };
        let is_trusted = member.candidate || member.name == self.ssh.cluster.master;
        match deed(self.ssh, member, &command, b"") {
            Ok(_) => Ok(()),
            Err(why) if is_trusted => {
                let why = told(why);
                Err(Failed::Run(format!("{why}; nothing more is done")))
            }
            Err(why) => Err(Failed::Node(told(why))),
        }
    }
}

/// What a node says to a command.
pub(super) fn deed(
    ssh: Ssh<'_>,
    member: &Member,
    command: &str,
    order: &[u8],
) -> Result<String, String> {
    let said = ssh.run(member, &ask::call(command, order));
    match said.end {
        End::Status(0) => Ok(said.line()),
        _ => Err(said.why()),
    }
}

/// Settles what an earlier run has begun, before anything is planned by it: the node would undo it
/// while all think that it is done. Whether there was any.
pub(super) fn settle(ssh: Ssh<'_>, sights: &Sights, turns: &mut Turns) -> bool {
    let all = unsettled(sights);
    for name in &all {
        turns.give(name, || {
            let member = member(ssh.cluster, name)?;
            let command = "noded-proxy ssh-keys node settle";
            deed(ssh, member, command, b"").map_err(Failed::Node)
        });
    }
    !all.is_empty()
}

/// Nodes with a change that is neither proven nor undone.
pub(super) fn unsettled(sights: &Sights) -> Vec<String> {
    let sights = sights.iter();
    let found = sights.filter(|(_, said)| said.as_ref().is_ok_and(|sight| sight.unsettled));
    found.map(|(name, _)| name.clone()).collect()
}

/// The node as it is now; roles may have changed since the look.
pub(super) fn member<'a>(cluster: &'a Cluster, name: &str) -> Result<&'a Member, Failed> {
    let mut members = cluster.members.iter();
    let found = members.find(|member| member.name == name && !member.offline);
    found.ok_or_else(|| Failed::Node("it is offline by now, or no node any more".into()))
}

/// The cluster, if this still is its master and no job of Ganeti changes keys.
pub(super) fn still(args: &ApplyArgs, config: &Config, here: &Here) -> Result<Cluster, String> {
    if interrupt::is_told() {
        return Err("interrupted".into());
    }
    jobs::over(here, config, args.wait || args.hook)?;
    let cluster = Cluster::read(&here.path(&config.ssconf_dir))?;
    cluster.must_be_master(&here.seen.host)?;
    Ok(cluster)
}

/// No two changes have the same.
pub(super) fn new_id() -> Result<u64, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.map_err(|error| error.to_string())?;
    u64::try_from(since.as_nanos()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proof that comes late would be one of the next change, too.
    #[test]
    fn no_two_changes_have_one_number() {
        let mut all: Vec<u64> = (0..100).map(|_| new_id().unwrap()).collect();
        all.dedup();
        assert!(all.len() > 1, "{all:?}");
    }
}
