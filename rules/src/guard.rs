//! Does the guard of noded's port hold? Judged by what the guard says of itself, again and again,
//! in a file. Pure: it never reads that file, nor a clock.

use std::fmt;
use std::time::Duration;

/// What is older than this counts for nothing. The guard says it anew every second.
pub const OLD: Duration = Duration::from_secs(10);

/// What the guard says. Times are those of the machine's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The port that it guards.
    pub port: u16,
    /// When it loaded its rules.
    pub loaded: Duration,
    /// When it said so last.
    pub renewed: Duration,
    /// Nobody but the guard can take the rules away (`flags owner` of nft).
    pub owned: bool,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, owned, .. } = self;
        let (loaded, renewed) = (self.loaded.as_millis(), self.renewed.as_millis());
        write!(
            f,
            "port {port}\nloaded_ms {loaded}\nrenewed_ms {renewed}\nowned {owned}\n"
        )
    }
}

impl Said {
    /// Reads it back; lines that are not known are left out.
    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let time = |name| value(name)?.parse().ok().map(Duration::from_millis);
        Some(Self {
            port: value("port")?.parse().ok()?,
            loaded: time("loaded_ms")?,
            renewed: time("renewed_ms")?,
            owned: value("owned")?.parse().ok()?,
        })
    }
}

/// Why the guard does not hold, as far as can be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// It says nothing.
    #[error("it does not run")]
    Silent,
    /// It could not do its work, and said why before it ended.
    #[error("it has failed: {0}")]
    Failed(String),
    /// What it says cannot be read.
    #[error("what it says of itself cannot be read: {0}")]
    Unreadable(String),
    /// What it said is old.
    #[error("it has said nothing for {} s", .0.as_secs())]
    Old(Duration),
    /// It guards something else.
    #[error("it guards port {0}, not noded's: set noded_port in noded-proxy-guard.nft")]
    OtherPort(u16),
    /// It was away for a moment, and holds again.
    #[error("it was away for a moment, {} s ago, and holds again", .0.as_secs())]
    Away(Duration),
}

/// Why a guard that says nothing of itself is missing. `why`: what it said last, if anything.
pub fn absent(why: Option<&str>) -> Missing {
    let why = why.map(|text| text.trim().replace(char::is_control, " "));
    why.filter(|why| !why.is_empty())
        .map_or(Missing::Silent, Missing::Failed)
}

/// Whether the guard of `port` holds at this moment. `text`: what it says of itself.
pub fn judge(text: &str, port: u16, now: Duration) -> Result<Said, Missing> {
    let said = Said::parse(text).ok_or_else(|| Missing::Unreadable("not its words".into()))?;
    let age = now.saturating_sub(said.renewed);
    match said.port == port {
        _ if age > OLD => Err(Missing::Old(age)),
        false => Err(Missing::OtherPort(said.port)),
        true => Ok(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn said(port: u16, renewed: u64) -> Said {
        Said {
            port,
            loaded: Duration::from_millis(1500),
            renewed: Duration::from_secs(renewed),
            owned: true,
        }
    }

    #[test]
    fn what_the_guard_says_as_a_table() {
        let fresh = said(298, 999);
        let table = [
            (fresh.to_string(), Ok(fresh)),
            (said(298, 1001).to_string(), Ok(said(298, 1001))),
            (said(298, 990).to_string(), Ok(said(298, 990))),
            (
                said(298, 980).to_string(),
                Err(Missing::Old(Duration::from_secs(20))),
            ),
            (said(11811, 999).to_string(), Err(Missing::OtherPort(11811))),
        ];
        for (text, expected) in table {
            assert_eq!(judge(&text, 298, NOW), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_whole_is_no_word_of_the_guard() {
        let whole = said(298, 999).to_string();
        for text in ["", "port 298", "yes", &whole.replace("owned true\n", "")] {
            let found = judge(text, 298, NOW);
            assert!(matches!(found, Err(Missing::Unreadable(_))), "{text}");
        }
        let newer = format!("{whole}more 1\n");
        assert_eq!(judge(&newer, 298, NOW), Ok(said(298, 999)));
    }

    #[test]
    fn a_guard_that_failed_left_the_reason() {
        assert_eq!(absent(None), Missing::Silent);
        assert_eq!(absent(Some(" \n")), Missing::Silent);
        let told = absent(Some("nft: no\u{1b}[2J such file\n")).to_string();
        assert_eq!(told, "it has failed: nft: no [2J such file");
    }
}
