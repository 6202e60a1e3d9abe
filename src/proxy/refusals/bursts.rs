//! Which refusals get a log line of their own, and how many were left out. A stranger is refused as
//! often as he likes, and must not fill the disk with it.
//!
//! Pure: no clock, no log. Refusals are counted in windows of some seconds, each source and reason
//! by itself. A window ends with what was left out in it. What is counted here decides about lines
//! alone, never about a peer or a metric.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How long a window lasts.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Lines in a window for one source and reason: one a second, and ten at once.
const OF_ONE: u32 = 10;
/// Lines in a window for all together.
const OF_ALL: u32 = 100;
/// Sources and reasons that are remembered in a window.
const REMEMBERED: usize = 1024;
/// Sources and reasons whose left-out refusals have a line of their own at the end of the window.
const TOLD_ALONE: usize = 8;

/// A source, and the name of a reason.
type Key = (IpAddr, &'static str);

/// The counts of the present window.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    begun: Option<Instant>,
    /// Lines written in all.
    lines: u32,
    seen: HashMap<Key, Seen>,
    /// Left out for sources that are not remembered, by reason.
    others: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Seen {
    lines: u32,
    left_out: u64,
}

/// Refusals without a line of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Who was refused; `None` for several sources.
    pub(super) source: Option<IpAddr>,
    pub(super) reason: &'static str,
    pub(super) count: u64,
}

impl Bursts {
    /// Counts a refusal; whether it gets a line of its own. Ask [`Bursts::ended`] first.
    pub(super) fn count(&mut self, peer: IpAddr, reason: &'static str, now: Instant) -> bool {
        self.begun.get_or_insert(now);
        let key = (network(peer), reason);
        if !self.seen.contains_key(&key) && self.seen.len() >= REMEMBERED {
            *self.others.entry(reason).or_default() += 1;
            return false;
        }
        let seen = self.seen.entry(key).or_default();
        let writes = seen.lines < OF_ONE && self.lines < OF_ALL;
        if writes {
            seen.lines += 1;
            self.lines += 1;
        } else {
            seen.left_out += 1;
        }
        writes
    }

    /// When the present window ends; `None` if nothing was counted since the last one.
    pub(super) fn end(&self) -> Option<Instant> {
        self.begun.map(|begun| begun + WINDOW)
    }

    /// What the last window left out, if it has ended by now. The sources with the most come first,
    /// and the others are told together for each reason.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<LeftOut> {
        match self.end() {
            Some(end) if now >= end => self.take(),
            _ => Vec::new(),
        }
    }

    /// Ends the window, however long it lasted.
    pub(super) fn take(&mut self) -> Vec<LeftOut> {
        let Self {
            seen, mut others, ..
        } = std::mem::take(self);
        let left = seen.into_iter().map(|((source, reason), seen)| LeftOut {
            source: Some(source),
            reason,
            count: seen.left_out,
        });
        let mut told: Vec<LeftOut> = left.filter(|left| left.count > 0).collect();
        told.sort_unstable_by_key(|left| (u64::MAX - left.count, left.source, left.reason));
        for left in told.drain(told.len().min(TOLD_ALONE)..) {
            *others.entry(left.reason).or_default() += left.count;
        }
        let together = others.into_iter().map(|(reason, count)| LeftOut {
            source: None,
            reason,
            count,
        });
        told.extend(together);
        told
    }
}

/// One host commands a whole IPv6 network of 64 bits; its addresses are one source.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "unknown_digest";
    const OTHER: &str = "protocol_error";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The lines that so many refusals get at this moment.
    fn lines(
        bursts: &mut Bursts,
        times: usize,
        who: &str,
        why: &'static str,
        at: Instant,
    ) -> usize {
        (0..times)
            .filter(|_| bursts.count(ip(who), why, at))
            .count()
    }

    fn left(source: Option<&str>, reason: &'static str, count: u64) -> LeftOut {
        let source = source.map(ip);
        LeftOut {
            source,
            reason,
            count,
        }
    }

    #[test]
    fn one_window_as_a_table() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        let table = [
            ("192.0.2.1", ONE, 0, 3, 3),
            ("192.0.2.1", ONE, 1, 1000, 7),
            ("192.0.2.1", ONE, 9, 5, 0),
            ("192.0.2.1", OTHER, 9, 12, 10),
            ("::ffff:192.0.2.1", OTHER, 9, 1, 0),
            ("192.0.2.2", ONE, 9, 4, 4),
            ("2001:db8::1", ONE, 9, 8, 8),
            ("2001:db8::ffff:1", ONE, 9, 8, 2), // the same network
        ];
        for (who, why, second, times, expected) in table {
            let at = start + Duration::from_secs(second);
            assert!(bursts.ended(at).is_empty(), "it lasts");
            let found = lines(&mut bursts, times, who, why, at);
            assert_eq!(found, expected, "{who} {why} {second}");
        }
        assert_eq!(bursts.end(), Some(start + WINDOW));
        let told = [
            left(Some("192.0.2.1"), ONE, 998),
            left(Some("2001:db8::"), ONE, 6),
            left(Some("192.0.2.1"), OTHER, 3),
        ];
        assert_eq!(bursts.ended(start + WINDOW), told);
        assert!(bursts.ended(start + WINDOW * 2).is_empty(), "told once");
        assert_eq!(bursts.end(), None);
    }

    #[test]
    fn the_next_window_begins_with_the_next_refusal() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        assert_eq!(lines(&mut bursts, 11, "192.0.2.1", ONE, start), 10);
        assert_eq!(bursts.ended(start + WINDOW).len(), 1);
        let later = start + WINDOW * 3;
        assert_eq!(lines(&mut bursts, 11, "192.0.2.1", ONE, later), 10);
        assert_eq!(bursts.end(), Some(later + WINDOW));
        assert_eq!(bursts.take(), [left(Some("192.0.2.1"), ONE, 1)]);
    }

    #[test]
    fn few_refusals_leave_nothing_out() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        assert_eq!(lines(&mut bursts, 10, "192.0.2.1", ONE, start), 10);
        assert!(bursts.ended(start + WINDOW).is_empty());
    }

    #[test]
    fn many_sources_share_a_bound_and_are_told_together() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        let mut written = 0;
        for net in 0..5000u32 {
            let who = IpAddr::from((0x0a00_0000 + net).to_be_bytes());
            let reason = if net % 2 == 0 { ONE } else { OTHER };
            written += (0..3).filter(|_| bursts.count(who, reason, start)).count();
        }
        assert_eq!(written, OF_ALL as usize);
        assert_eq!(bursts.seen.len(), REMEMBERED);
        let told = bursts.ended(start + WINDOW);
        assert_eq!(told.len(), TOLD_ALONE + 2);
        let together: Vec<_> = told.iter().filter(|left| left.source.is_none()).collect();
        assert_eq!((together[0].reason, together[1].reason), (OTHER, ONE));
        let count: u64 = told.iter().map(|left| left.count).sum();
        assert_eq!(count, 15_000 - u64::from(OF_ALL), "none is lost");
    }
}
