//! Keeps a guard that ends again and again, however it ends, from starting more than once a second:
//! its unit would use up its starts within two seconds and give up. It never delays the first start.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::proxy::upstream::now;

/// Least time from one start to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// When the guard began, in a file that outlives it.
pub(super) struct Begun(PathBuf);

impl Begun {
    /// Waits until a second has passed since the last start, and notes this one.
    pub(super) fn note(state: &Path) -> Self {
        let begun = Self(state.with_extension("begun"));
        sleep(pause(begun.last(), now()));
        let _ = fs::write(&begun.0, format!("{}\n", now().as_millis()));
        begun
    }

    fn last(&self) -> Option<Duration> {
        let text = fs::read_to_string(&self.0).ok()?;
        text.trim().parse().ok().map(Duration::from_millis)
    }

    /// It was told to end: the next start is the first one.
    pub(super) fn forget(self) {
        let _ = fs::remove_file(self.0);
    }
}

/// How long to wait. A last start that is still to come was before a reboot.
fn pause(last: Option<Duration>, now: Duration) -> Duration {
    let since = last.and_then(|last| now.checked_sub(last));
    since.map_or(Duration::ZERO, |since| PAUSE.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_as_a_table() {
        let ms = Duration::from_millis;
        let table = [
            (None, 5000, 0),
            (Some(4900), 5000, 900),
            (Some(4000), 5000, 0),
            (Some(1000), 5000, 0),
            (Some(9000), 5000, 0),
        ];
        for (last, now, expected) in table {
            assert_eq!(pause(last.map(ms), ms(now)), ms(expected), "{last:?}");
        }
    }
}
