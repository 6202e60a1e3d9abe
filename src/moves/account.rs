//! What this node's transfers have come to, for the metrics. Pure: who lives, and what time it is, comes
//! from outside.
//!
//! A transfer whose process is gone without a word is never counted as running.

use rules::named;
use serde::{Deserialize, Serialize};

// The label of `noded_proxy_moves_running`.
named! {
    /// Which end of a transfer.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Role {
        /// It receives.
        Import = "import",
        /// It sends.
        Export = "export",
    }
}

// The label `result` of `noded_proxy_moves_transfers_total`.
named! {
    /// How a transfer ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Ended {
        /// All is there, and the command succeeded.
        Whole = "whole",
        /// Nobody with the right certificate came, or was reached; or this end could not begin.
        NotBegun = "not_begun",
        /// Ganeti's command on this node failed, or ended too soon.
        Command = "command",
        /// The connection broke, or what came is not whole, or the other end failed.
        Channel = "channel",
        /// Ganeti or somebody else wanted it to end.
        Stopped = "stopped",
        /// Its process was killed: nobody said how it ended.
        Killed = "killed",
    }
}

/// A process, for as long as the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, as the kernel counts: another one with this number began later.
    pub began: u64,
}

/// A transfer that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    process: Process,
    /// Who counts it, and tells how it ended.
    #[serde(default)]
    counter: Option<Process>,
    role: Role,
    bytes: u64,
}

/// What is counted of one role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    bytes: u64,
    /// In the order of [`Ended`].
    ended: [u64; 6],
}

/// What all transfers have come to since the machine runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    import: Counts,
    export: Counts,
    running: Vec<Running>,
    /// When a transfer ended so last, seconds since 1970, in the order of [`Ended`].
    last: [i64; 6],
}

fn index(ended: Ended) -> usize {
    match ended {
        Ended::Whole => 0,
        Ended::NotBegun => 1,
        Ended::Command => 2,
        Ended::Channel => 3,
        Ended::Stopped => 4,
        Ended::Killed => 5,
    }
}

impl Account {
    fn of(&self, role: Role) -> &Counts {
        match role {
            Role::Import => &self.import,
            Role::Export => &self.export,
        }
    }

    fn of_mut(&mut self, role: Role) -> &mut Counts {
        match role {
            Role::Import => &mut self.import,
            Role::Export => &mut self.export,
        }
    }

    /// A transfer runs, is counted by this process, and has passed so many bytes until now.
    pub fn runs(&mut self, process: Process, counter: Process, role: Role, bytes: u64) {
        let known = self.running.iter_mut().find(|one| one.process == process);
        let before = match known {
            Some(one) => {
                let before = one.bytes;
                one.bytes = before.max(bytes);
                before
            }
            None => {
                self.running.push(Running {
                    process,
                    counter: Some(counter),
                    role,
                    bytes,
                });
                0
            }
        };
        let counts = self.of_mut(role);
        counts.bytes = counts.bytes.saturating_add(bytes.saturating_sub(before));
    }

    /// It has ended.
    pub fn ends(&mut self, process: Process, role: Role, ended: Ended, now: i64) {
        self.running.retain(|one| one.process != process);
        let counts = self.of_mut(role);
        counts.ended[index(ended)] = counts.ended[index(ended)].saturating_add(1);
        self.last[index(ended)] = now;
    }

    /// Those whose process is gone were killed, unless somebody is there who will tell how they ended:
    /// a counter outlives its transfer by a moment.
    pub fn bury(&mut self, lives: impl Fn(Process) -> bool, now: i64) {
        let dead: Vec<_> = self
            .running
            .iter()
            .filter(|one| !lives(one.process) && !one.counter.is_some_and(&lives))
            .cloned()
            .collect();
        for one in dead {
            self.ends(one.process, one.role, Ended::Killed, now);
        }
    }

    /// How many run.
    pub fn running(&self, role: Role) -> usize {
        self.running.iter().filter(|one| one.role == role).count()
    }

    /// How many bytes have passed, of the disks.
    pub fn bytes(&self, role: Role) -> u64 {
        self.of(role).bytes
    }

    /// How many ended so.
    pub fn ended(&self, role: Role, ended: Ended) -> u64 {
        self.of(role).ended[index(ended)]
    }

    /// When one ended so last; 0 if none did.
    pub fn last(&self, ended: Ended) -> i64 {
        self.last[index(ended)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::Named;

    fn process(pid: u32) -> Process {
        Process { pid, began: 7 }
    }

    #[test]
    fn transfers_at_once_add_up() {
        let mut account = Account::default();
        account.runs(process(1), process(9), Role::Import, 0);
        account.runs(process(2), process(9), Role::Import, 10);
        account.runs(process(3), process(9), Role::Export, 5);
        account.runs(process(1), process(9), Role::Import, 100);
        account.runs(process(1), process(9), Role::Import, 90); // never less
        account.runs(process(2), process(9), Role::Import, 30);
        assert_eq!(
            (account.running(Role::Import), account.running(Role::Export)),
            (2, 1)
        );
        assert_eq!(
            (account.bytes(Role::Import), account.bytes(Role::Export)),
            (130, 5)
        );
        account.ends(process(1), Role::Import, Ended::Whole, 50);
        account.ends(process(2), Role::Import, Ended::Stopped, 60);
        account.ends(process(3), Role::Export, Ended::Channel, 70);
        assert_eq!(
            account.running(Role::Import) + account.running(Role::Export),
            0
        );
        for (role, ended, count, last) in [
            (Role::Import, Ended::Whole, 1, 50),
            (Role::Import, Ended::Stopped, 1, 60),
            (Role::Export, Ended::Channel, 1, 70),
            (Role::Export, Ended::Whole, 0, 50),
            (Role::Import, Ended::Killed, 0, 0),
        ] {
            assert_eq!(account.ended(role, ended), count, "{role:?} {ended:?}");
            assert_eq!(account.last(ended), last, "{ended:?}");
        }
    }

    #[test]
    fn one_that_was_killed_does_not_run_and_its_number_may_be_another_s() {
        let mut account = Account::default();
        account.runs(process(1), process(9), Role::Export, 8);
        account.runs(process(2), process(9), Role::Export, 1);
        let again = Process { pid: 1, began: 9 };
        account.bury(|one| one == again || one == process(2), 33);
        assert_eq!(account.running(Role::Export), 1);
        assert_eq!(account.ended(Role::Export, Ended::Killed), 1);
        assert_eq!(
            (account.bytes(Role::Export), account.last(Ended::Killed)),
            (9, 33)
        );
        account.bury(|_| true, 44);
        assert_eq!(account.ended(Role::Export, Ended::Killed), 1);
    }

    #[test]
    fn one_whose_counter_has_not_told_its_end_is_not_taken_for_killed() {
        let mut account = Account::default();
        account.runs(process(1), process(2), Role::Export, 8);
        account.bury(|one| one == process(2), 33);
        account.ends(process(1), Role::Export, Ended::Whole, 34);
        account.bury(|_| false, 35);
        assert_eq!(account.ended(Role::Export, Ended::Whole), 1);
        assert_eq!(account.ended(Role::Export, Ended::Killed), 0);
        assert_eq!(account.bytes(Role::Export), 8);
    }

    #[test]
    fn it_comes_back_from_its_file_and_each_result_has_a_place() {
        let mut account = Account::default();
        account.runs(process(1), process(9), Role::Export, 8);
        for (at, ended) in Ended::all().enumerate() {
            assert_eq!(index(ended), at);
            account.ends(process(2), Role::Import, ended, at as i64);
        }
        let text = serde_json::to_string(&account).unwrap();
        assert_eq!(serde_json::from_str::<Account>(&text).unwrap(), account);
    }
}
