//! Which of Ganeti's throw-away keys are still good for something. Pure.
//!
//! Ganeti never destroys the sending node's key of a move between clusters; its design wants it
//! gone after the last disk. A key that a live process names is never touched, nor is one that was
//! made and not used yet.

/// After the last use of a key so many seconds must pass: the transfers of all disks begin within
/// seconds, but not at once.
pub const QUIET: i64 = 600;

/// A status directory of a dead transfer stays so many seconds, for Ganeti to read.
const READ_BY_THEN: i64 = 86_400;

/// A throw-away key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Name of its directory.
    pub name: String,
    /// When its certificate ends, seconds since 1970; nothing if it cannot be read.
    pub ends: Option<i64>,
    /// When a transfer of this program used it last.
    pub used: Option<i64>,
    /// The processes that name it.
    pub users: Vec<u32>,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays: a process uses it.
    InUse,
    /// It stays: it was used a moment ago, and there may be further disks.
    JustUsed,
    /// It stays: it was made, and no transfer of this program has used it.
    Waits,
    /// It goes: its certificate has expired.
    Expired,
    /// It goes: it was used, and is quiet.
    Finished,
}

impl Fate {
    /// Whether it goes.
    pub fn goes(self) -> bool {
        match self {
            Self::Expired | Self::Finished => true,
            Self::InUse | Self::JustUsed | Self::Waits => false,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::InUse => "in use",
            Self::JustUsed => "used a moment ago",
            Self::Waits => "not used by an export of noded-proxy",
            Self::Expired => "expired",
            Self::Finished => "finished",
        }
    }
}

impl Key {
    /// What becomes of it at this time.
    pub fn fate(&self, now: i64) -> Fate {
        match (self.ends, self.used) {
            _ if !self.users.is_empty() => Fate::InUse,
            (Some(ends), _) if ends < now => Fate::Expired,
            (_, Some(used)) if now.saturating_sub(used) >= QUIET => Fate::Finished,
            (_, Some(_)) => Fate::JustUsed,
            (_, None) => Fate::Waits,
        }
    }
}

/// Whether a name is one that Ganeti gives to a key: nothing else is ever touched.
pub fn is_key(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    name.len() > 5 && name.starts_with("x509-") && name.chars().all(fits)
}

/// Whether the status directory of a transfer goes: nobody runs it, and Ganeti has had a day to
/// read it.
pub fn is_left(alive: bool, changed: i64, now: i64) -> bool {
    !alive && now.saturating_sub(changed) > READ_BY_THEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_as_a_table() {
        let now = 1_000_000;
        for (ends, used, users, fate) in [
            (Some(now + 1), None, vec![], Fate::Waits),
            (None, None, vec![], Fate::Waits),
            (Some(now - 1), None, vec![], Fate::Expired),
            (Some(now - 1), Some(now), vec![], Fate::Expired),
            (Some(now - 1), None, vec![7], Fate::InUse),
            (Some(now + 1), Some(now - QUIET), vec![7], Fate::InUse),
            (Some(now + 1), Some(now - QUIET), vec![], Fate::Finished),
            (Some(now + 1), Some(now - QUIET + 1), vec![], Fate::JustUsed),
            (Some(now + 1), Some(now + 99), vec![], Fate::JustUsed),
            (None, Some(0), vec![], Fate::Finished),
        ] {
            let key = Key {
                name: "x509-a".into(),
                ends,
                used,
                users,
            };
            assert_eq!(key.fate(now), fate, "{key:?}");
        }
    }

    #[test]
    fn only_names_of_ganeti_are_keys() {
        assert!(is_key("x509-2026-11-27_18_00_00-a1b2c3"));
        for name in ["x509-", "key", "x509-../etc", "x509-a b", "", ".", "x509-é"] {
            assert!(!is_key(name), "{name}");
        }
    }

    #[test]
    fn a_status_directory_stays_for_a_day_and_while_it_is_used() {
        let table = [
            (true, 0, false),
            (false, 913_600, false),
            (false, 913_599, true),
        ];
        for (alive, changed, goes) in table {
            assert_eq!(is_left(alive, changed, 1_000_000), goes);
        }
    }
}
