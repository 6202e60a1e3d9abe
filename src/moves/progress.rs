//! How far a transfer is, as Ganeti shows it: MiB, throughput of the last minute, percent, time
//! left. Pure: it never looks at a clock.

use std::collections::VecDeque;
use std::time::Duration;

/// So many samples, 5 s apart, make the minute over which Ganeti takes the throughput.
const SAMPLES: usize = 12;

const MEBIBYTE: f64 = 1_048_576.0;

/// Whole MiB, rounded as Ganeti does it.
pub fn mebibytes(bytes: u64) -> u64 {
    (bytes as f64 / MEBIBYTE).round_ties_even() as u64
}

/// The samples of a transfer.
#[derive(Debug, Default)]
pub struct Progress {
    samples: VecDeque<(f64, u64)>,
    size: Option<u64>,
}

/// What the status file says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// MiB so far.
    pub mebibytes: u64,
    /// MiB/s.
    pub throughput: Option<f64>,
    /// 0 to 100.
    pub percent: Option<f64>,
    /// Seconds left.
    pub eta: Option<f64>,
}

impl Progress {
    /// Of a transfer with so many MiB, if that is known.
    pub fn new(size: Option<u64>) -> Self {
        let samples = VecDeque::new();
        Self { samples, size }
    }

    /// What the command says about the size, in bytes. A text that is no number makes it unknown.
    pub fn told(&mut self, line: &str) {
        self.size = line.trim().parse().ok().map(mebibytes);
    }

    /// So many bytes after so long.
    pub fn add(&mut self, after: Duration, bytes: u64) -> Shown {
        let now = mebibytes(bytes);
        self.samples.push_back((after.as_secs_f64(), now));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        let throughput = self.throughput();
        let size = self.size.map(|size| size as f64);
        let done = now as f64;
        let percent = size.filter(|size| *size > 0.0);
        let percent = percent.map(|size| (100.0 * done / size).clamp(0.0, 100.0));
        let rate = throughput.filter(|rate| *rate > 0.0);
        let eta = size
            .zip(rate)
            .map(|(size, rate)| ((size - done) / rate).max(0.0));
        Shown {
            mebibytes: now,
            throughput,
            percent,
            eta,
        }
    }

    fn throughput(&self) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.0 - first.0;
        let passed = last.1.saturating_sub(first.1) as f64;
        (self.samples.len() > 1 && seconds > 0.0).then(|| passed / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn mebibytes_are_rounded_as_python_rounds() {
        let table = [
            (0, 0),
            (M / 2, 0),
            (M / 2 + 1, 1),
            (M, 1),
            (3 * M / 2, 2),
            (5 * M / 2, 2),
        ];
        for (bytes, shown) in table {
            assert_eq!(mebibytes(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn throughput_percent_and_time_left() {
        let mut progress = Progress::new(Some(100));
        let first = progress.add(at(1), 10 * M);
        let shown = |mebibytes, throughput, percent, eta| Shown {
            mebibytes,
            throughput,
            percent,
            eta,
        };
        assert_eq!(first, shown(10, None, Some(10.0), None));
        let second = progress.add(at(6), 60 * M);
        assert_eq!(second, shown(60, Some(10.0), Some(60.0), Some(4.0)));
        let beyond = progress.add(at(11), 200 * M);
        assert_eq!(beyond, shown(200, Some(19.0), Some(100.0), Some(0.0)));
    }

    #[test]
    fn an_unknown_or_empty_size_has_no_percent_and_silence_no_time_left() {
        let mut progress = Progress::new(None);
        progress.add(at(1), M);
        let shown = progress.add(at(6), M);
        assert_eq!(
            (shown.throughput, shown.percent, shown.eta),
            (Some(0.0), None, None)
        );
        progress.told("10485760\n");
        assert_eq!(progress.add(at(11), M).percent, Some(10.0));
        progress.told("many");
        assert_eq!(progress.add(at(12), M).percent, None);
        let mut empty = Progress::new(Some(0));
        assert_eq!(empty.add(at(1), M).percent, None);
    }

    #[test]
    fn samples_older_than_a_minute_do_not_count() {
        let mut progress = Progress::new(None);
        for n in 0..30 {
            progress.add(at(5 * n), if n < 15 { 0 } else { (n - 14) * 50 * M });
        }
        let shown = progress.add(at(150), 16 * 50 * M);
        assert_eq!(shown.throughput, Some(10.0));
    }
}
