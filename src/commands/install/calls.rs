//! How many RPCs run on this node now. It only looks.

use std::fs;

use serde::Deserialize;

use super::plan::Seen;
use crate::commands::admin_client;
use crate::config::Config;
use crate::node::sockets::{self, taken_by};

/// The part of a proxy's report that any version of it has.
#[derive(Deserialize)]
struct Running {
    upstream: Slots,
    /// One that knows no handover does not have it.
    #[serde(default)]
    handover: Handover,
}

#[derive(Deserialize, Default)]
struct Handover {
    predecessors: Vec<Held>,
}

/// A process that was replaced and still serves.
#[derive(Deserialize)]
struct Held {
    slots: usize,
}

impl Running {
    fn count(&self) -> usize {
        let Slots {
            slots_in_use,
            warm,
            waiting,
        } = self.upstream;
        let replaced = self.handover.predecessors.iter().map(|held| held.slots);
        slots_in_use.saturating_sub(warm) + waiting + replaced.sum::<usize>()
    }
}

#[derive(Deserialize)]
struct Slots {
    slots_in_use: usize,
    warm: usize,
    waiting: usize,
}

/// RPCs that run or wait: by the proxy's own word, or the processes that noded has begun for them.
pub(super) fn running(config: &Config, seen: &Seen) -> usize {
    let answer = admin_client::get(&config.admin_to_ask(), &config.state_dir, "/status");
    let said = answer.ok().and_then(|answer| answer.read::<Running>().ok());
    if let Some(said) = said.filter(|_| seen.noded_behind) {
        return said.count();
    }
    let stands = seen.nodeds.first().map(|noded| noded.address);
    let port = match seen.noded_behind {
        true => config.upstream.address.port(),
        false => stands.map_or(seen.public, |address| address.port()),
    };
    let holder = sockets::listeners()
        .ok()
        .and_then(|all| taken_by(&all, port));
    let pid = holder.as_deref().and_then(pid_of);
    pid.map_or(0, children)
}

/// `NAME (pid N)`.
fn pid_of(holder: &str) -> Option<u32> {
    let name = holder.strip_prefix("ganeti-noded (pid ")?;
    name.strip_suffix(')')?.parse().ok()
}

fn children(pid: u32) -> usize {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| parent(stat) == Some(pid)).count()
}

/// The parent in a line of `/proc/PID/stat`, of a process that has not ended.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let is_gone = fields.next() == Some("Z");
    fields.next()?.parse().ok().filter(|_| !is_gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replaced_process_still_does_counts() {
        let own = r#""upstream": {"slots_in_use": 3, "warm": 1, "waiting": 2}"#;
        let replaced = r#""handover": {"predecessors": [{"pid": 1, "slots": 4}]}"#;
        for (text, expected) in [
            (format!("{{{own}}}"), 4),
            (format!("{{{own}, {replaced}}}"), 8),
        ] {
            let said: Running = serde_json::from_str(&text).unwrap();
            assert_eq!(said.count(), expected, "{text}");
        }
    }

    #[test]
    fn a_process_and_its_parent() {
        assert_eq!(pid_of("ganeti-noded (pid 17)"), Some(17));
        assert_eq!(pid_of("nginx (pid 17)"), None);
        assert_eq!(parent("20 (a ) b) S 17 20 20"), Some(17));
        assert_eq!(parent("20 (a) Z 17 20 20"), None);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(children(std::process::id()) >= 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
