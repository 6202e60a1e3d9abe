//! This node logs in to others with its own key, as Ganeti would from here: what proves that it could
//! be master. It changes nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::here::Here;
use crate::commands::ssh::call::{Call, End, Ssh};
use crate::commands::ssh::each::on_each;
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::Config;
use crate::ssh_keys::kept::Kept;
use crate::ssh_keys::staged;

/// Logins at a time.
const AT_A_TIME: usize = 16;
/// For one of them: the master waits a minute for all.
const DEADLINE: Duration = Duration::from_secs(15);

/// Whom, and with which key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attempt {
    /// The pair that waits here, and no other; else what ssh takes by itself.
    pub(super) staged: bool,
    /// Names of nodes.
    pub(super) nodes: Vec<String>,
}

/// Logs in to all; or why one of them was not reached.
pub(super) fn run(here: &Here, config: &Config, attempt: &Attempt) -> Result<(), String> {
    let ssconf = here.path(&config.ssconf_dir);
    let cluster = Cluster::read(&ssconf)?;
    let named = |name: &String| {
        let mut members = cluster.members.iter();
        let found = members.find(|member| member.name == *name);
        found.ok_or_else(|| format!("{name} is not in this node's ssconf"))
    };
    let members = attempt.nodes.iter().map(named);
    let members: Vec<&Member> = members.collect::<Result<_, String>>()?;
    let kept = Kept::open_if_there(&here.root)?;
    let identity = kept.map(|kept| kept.path(staged::PRIVATE));
    let identity = match (attempt.staged, &identity) {
        (true, None) => return Err("no pair waits here".into()),
        (true, Some(path)) => Some(path.as_path()),
        (false, _) => None,
    };
    let ssh = Ssh {
        cluster: &cluster,
        ssconf: &ssconf,
    };
    let call = Call {
        deadline: DEADLINE,
        fresh: true,
        identity,
        ..Call::new("true")
    };
    let said = on_each(&members, AT_A_TIME, |member| ssh.run(member, &call));
    let failed = members.iter().zip(&said);
    let mut failed = failed.filter(|(_, said)| said.end != End::Status(0));
    failed.next().map_or(Ok(()), |(member, said)| {
        Err(format!(
            "it does not get in to {}: {}",
            member.name,
            said.why()
        ))
    })
}
