//! Unfinished connections by their source, and the one that gives way when there is no room. Pure.
//!
//! It is the oldest of the source that has the most: a flood evicts itself, whatever it makes of
//! its connections, and a source with few of them is safe from it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::caller::Caller;

/// Numbered connections with their tokens.
#[derive(Debug)]
pub(super) struct Crowd<T> {
    all: BTreeMap<u64, (Caller, T)>,
    of: HashMap<Caller, BTreeSet<u64>>,
    /// Each source once: how many it has, and its oldest.
    ranks: BTreeSet<(usize, Reverse<u64>)>,
}

impl<T> Crowd<T> {
    pub(super) fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            of: HashMap::new(),
            ranks: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn insert(&mut self, id: u64, caller: Caller, token: T) {
        self.all.insert(id, (caller, token));
        self.change(caller, |ids| {
            ids.insert(id);
        });
    }

    /// Takes a connection out, if it is there.
    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let (caller, token) = self.all.remove(&id)?;
        self.change(caller, |ids| {
            ids.remove(&id);
        });
        Some(token)
    }

    /// Takes out the one that gives way.
    pub(super) fn shed(&mut self) -> Option<T> {
        let (_, Reverse(oldest)) = *self.ranks.last()?;
        self.remove(oldest)
    }

    /// Changes what a source has, and its rank with it.
    fn change(&mut self, caller: Caller, change: impl FnOnce(&mut BTreeSet<u64>)) {
        let ids = self.of.entry(caller).or_default();
        if let Some(oldest) = ids.first() {
            self.ranks.remove(&(ids.len(), Reverse(*oldest)));
        }
        change(ids);
        match ids.first() {
            Some(oldest) => {
                self.ranks.insert((ids.len(), Reverse(*oldest)));
            }
            None => {
                self.of.remove(&caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Caller {
        Caller::new([192, 0, 2, last].into(), false)
    }

    /// These sources' connections, numbered from 0, and the order in which they give way.
    fn order(sources: &[u8]) -> Vec<usize> {
        let mut crowd = Crowd::new();
        for (id, last) in sources.iter().enumerate() {
            crowd.insert(id as u64, source(*last), id);
        }
        let order = std::iter::from_fn(|| crowd.shed()).collect();
        assert!(crowd.of.is_empty() && crowd.ranks.is_empty());
        order
    }

    #[test]
    fn who_gives_way_as_a_table() {
        let table: [(&[u8], &[usize]); 5] = [
            (&[], &[]),
            (&[1, 1, 1], &[0, 1, 2]),
            (&[1, 2, 3], &[0, 1, 2]),
            (&[1, 2, 2, 2, 3], &[1, 2, 0, 3, 4]),
            (&[1, 1, 2, 2, 2], &[2, 0, 3, 1, 4]),
        ];
        for (sources, expected) in table {
            assert_eq!(order(sources), expected, "{sources:?}");
        }
    }

    #[test]
    fn what_is_taken_out_counts_no_more() {
        let mut crowd = Crowd::new();
        for id in 0..4 {
            crowd.insert(id, source(u8::from(id > 0)), id);
        }
        assert_eq!((crowd.remove(1), crowd.remove(2)), (Some(1), Some(2)));
        assert_eq!((crowd.remove(2), crowd.len()), (None, 2));
        assert_eq!(crowd.shed(), Some(0));
    }
}
