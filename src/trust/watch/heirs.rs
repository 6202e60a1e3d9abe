//! Who waits for what this process remembers. A reading in the middle of a writing would be the
//! first one of the process that takes over, so whoever is to hand over waits for the end of it.
//!
//! It reads no clock. It never lets anybody wait for longer than a file is held back.

use std::time::{Duration, Instant};

use tokio::sync::oneshot::Sender;

use crate::trust::bequest::Bequest;

/// Longest wait, as in `writers`.
const AT_MOST: Duration = Duration::from_secs(2);

/// Those who wait, each with the end of the wait.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    waiting: Vec<(Instant, Sender<Bequest>)>,
    is_told: bool,
}

impl Heirs {
    /// One more.
    pub(super) fn add(&mut self, heir: Sender<Bequest>, now: Instant) {
        self.waiting.push((now + AT_MOST, heir));
        self.is_told = false;
    }

    /// When the first one waits no longer.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.iter().map(|(end, _)| *end).min()
    }

    /// Those who need not wait any more.
    pub(super) fn due(&mut self, is_writing: bool, now: Instant) -> Vec<Sender<Bequest>> {
        let is_due = |(end, _): &mut (Instant, _)| !is_writing || *end <= now;
        let due = self.waiting.extract_if(.., is_due);
        due.map(|(_, heir)| heir).collect()
    }

    /// Whether somebody waits of whom this was not asked before.
    pub(super) fn is_news(&mut self) -> bool {
        !self.waiting.is_empty() && !std::mem::replace(&mut self.is_told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_without_a_writer_or_for_longer_than_the_while() {
        let start = Instant::now();
        let (mut heirs, new) = (Heirs::default(), || tokio::sync::oneshot::channel().0);
        heirs.add(new(), start);
        assert_eq!(heirs.due(true, start).len(), 0);
        assert!(heirs.is_news() && !heirs.is_news());
        assert_eq!(heirs.due(false, start).len(), 1);
        heirs.add(new(), start);
        heirs.add(new(), start + AT_MOST);
        assert_eq!(heirs.next(), Some(start + AT_MOST));
        assert_eq!(heirs.due(true, start + AT_MOST).len(), 1);
        assert_eq!(heirs.due(true, start + AT_MOST).len(), 0);
        assert_eq!(heirs.next(), Some(start + AT_MOST * 2));
    }
}
