//! The handshakes that have a turn, and which of them must give theirs to a caller that waits.
//!
//! Pure: time is an argument. A handshake counts as stalled when it has had its turn for longer
//! than a genuine one needs; bytes that drip in between make no difference. One that is not stalled
//! never gives way, so a crowd of genuine callers waits for one another and loses none.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::caller::Caller;

/// A handshake that takes longer is stalled, should others wait. A genuine one takes two round
/// trips and some milliseconds of computing.
pub(super) const STALLED: Duration = Duration::from_millis(200);

/// Whose turn a waiting caller may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Only those of its own source: that one has its part.
    Source(Caller),
    /// All that may make room for it: all turns are taken. Strangers never displace candidates'
    /// addresses.
    All(Caller),
}

/// Turns, in the order in which they were given.
#[derive(Debug)]
pub(super) struct Holders<T> {
    next: u64,
    held: BTreeMap<u64, Holder<T>>,
}

#[derive(Debug)]
struct Holder<T> {
    caller: Caller,
    since: Instant,
    token: T,
}

impl<T> Holders<T> {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            held: BTreeMap::new(),
        }
    }

    /// A handshake got its turn; its number. Its `token` is returned when it has to give way.
    pub(super) fn hold(&mut self, caller: Caller, since: Instant, token: T) -> u64 {
        let id = self.next;
        self.next += 1;
        let holder = Holder {
            caller,
            since,
            token,
        };
        self.held.insert(id, holder);
        id
    }

    /// The handshake is decided. Does nothing if it had to give way before.
    pub(super) fn done(&mut self, id: u64) {
        self.held.remove(&id);
    }

    /// Takes the handshake that gives way off the books: the oldest stalled one of the source that
    /// has the most turns. Without one: when to ask again.
    pub(super) fn give_way(&mut self, among: Among, now: Instant) -> Result<T, Instant> {
        let chosen = match among {
            Among::Source(source) => self.oldest(now, |caller| caller == source),
            Among::All(waiting) => {
                let of_strangers = self.oldest(now, |caller| !caller.is_candidate());
                of_strangers.or_else(|| match waiting.is_candidate() {
                    true => self.oldest(now, Caller::is_candidate),
                    false => None,
                })
            }
        };
        let gone = chosen.and_then(|id| self.held.remove(&id));
        gone.map(|holder| holder.token)
            .ok_or_else(|| self.next_stalled(now))
    }

    /// The oldest stalled handshake of the eligible source that has the most turns.
    fn oldest(&self, now: Instant, eligible: impl Fn(Caller) -> bool) -> Option<u64> {
        let mut sources: HashMap<Caller, (usize, u64)> = HashMap::new();
        let holders = self.held.iter().filter(|(_, h)| eligible(h.caller));
        for (id, holder) in holders {
            if let Some((turns, _)) = sources.get_mut(&holder.caller) {
                *turns += 1;
            } else if now >= holder.since + STALLED {
                sources.insert(holder.caller, (1, *id));
            }
        }
        let most = sources
            .into_values()
            .max_by_key(|(turns, id)| (*turns, u64::MAX - id));
        most.map(|(_, id)| id)
    }

    /// When the next of those that are not stalled now will be.
    fn next_stalled(&self, now: Instant) -> Instant {
        let ends = self.held.values().map(|holder| holder.since + STALLED);
        ends.filter(|end| *end > now).min().unwrap_or(now + STALLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(last: u8) -> Caller {
        Caller::new([192, 0, 2, last].into(), false)
    }

    fn candidate(last: u8) -> Caller {
        Caller::new([192, 0, 2, last].into(), true)
    }

    /// Turns that these callers got at these milliseconds; the tokens are the numbers.
    fn holders(start: Instant, turns: &[(Caller, u64)]) -> Holders<usize> {
        let mut holders = Holders::new();
        for (token, (caller, at)) in turns.iter().enumerate() {
            holders.hold(*caller, start + Duration::from_millis(*at), token);
        }
        holders
    }

    #[test]
    fn who_gives_way_as_a_table() {
        use Among::{All, Source};
        let (one, two, own, other) = (stranger(1), stranger(2), candidate(3), candidate(4));
        let crowd = [
            (two, 0),
            (one, 10),
            (one, 20),
            (own, 30),
            (own, 40),
            (own, 50),
        ];
        type Row<'a> = (&'a str, &'a [(Caller, u64)], Among, u64, Result<usize, u64>);
        let table: [Row<'_>; 12] = [
            ("the oldest of its source", &crowd, Source(one), 300, Ok(1)),
            ("once it is stalled", &crowd, Source(one), 209, Err(210)),
            ("from that moment on", &crowd, Source(one), 210, Ok(1)),
            ("each source for itself", &crowd, Source(two), 200, Ok(0)),
            ("a candidate's too", &crowd, Source(own), 300, Ok(3)),
            ("who has none waits", &crowd, Source(other), 300, Err(500)),
            ("of all: who has most", &crowd, All(two), 300, Ok(1)),
            ("before a candidate's", &crowd, All(other), 300, Ok(1)),
            ("among the stalled", &crowd, All(two), 205, Ok(0)),
            ("a candidate's last", &crowd[3..], All(other), 300, Ok(0)),
            ("never for strangers", &crowd[3..], All(one), 300, Err(500)),
            ("nobody is there", &[], All(one), 0, Err(200)),
        ];
        for (case, turns, among, at, expected) in table {
            let start = Instant::now();
            let found = holders(start, turns).give_way(among, start + Duration::from_millis(at));
            let expected = expected.map_err(|at| start + Duration::from_millis(at));
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn a_handshake_gives_way_once_and_not_after_its_end() {
        let (one, start) = (stranger(1), Instant::now());
        let mut holders = holders(start, &[(one, 0), (one, 0), (one, 0)]);
        holders.done(1);
        let later = start + STALLED;
        assert_eq!(holders.give_way(Among::Source(one), later), Ok(0));
        holders.done(0);
        assert_eq!(holders.give_way(Among::Source(one), later), Ok(2));
        assert!(holders.give_way(Among::Source(one), later).is_err());
    }
}
