//! A node before and after `install`, for the tests of the plans. Values alone: nothing is looked
//! at or done.

use rules::noded::Stands;

use super::change::Was;
use super::plan::{Seen, Source, UnitState};
use super::record::Record;
use super::step::{Manager, Step};
use crate::config::UpstreamConfig;

pub(super) fn stands(address: &str, tls: bool) -> Stands {
    let address = address.parse().unwrap();
    Stands { address, tls }
}

pub(super) const ON: UnitState = UnitState {
    enabled: true,
    active: true,
};
pub(super) const OFF: UnitState = UnitState {
    enabled: false,
    active: false,
};
pub(super) const OLD: &str = "NODED_ARGS=\"-d\"\nRAPI_ARGS=\"-x\"\n";
pub(super) const NEW: &str = "NODED_ARGS=\"-d -b 127.0.0.1 -p 298 --no-ssl\"\nRAPI_ARGS=\"-x\"\n";

/// A node as Debian has it, where nothing was done yet.
pub(super) fn fresh() -> Seen {
    Seen {
        source: Source::Variable { by_systemd: false },
        path: "/f".into(),
        content: Some(OLD.into()),
        record: None,
        manager: Manager::DaemonUtil("/daemon-util".into()),
        upstream: UpstreamConfig::default(),
        needs_guard: true,
        public: 1811,
        guard: OFF,
        guard_fault: None,
        socket: OFF,
        proxy: OFF,
        nodeds: vec![stands("0.0.0.0:1811", true)],
        noded_behind: false,
        cut_short: false,
    }
}

/// The same node when `install` has been there.
pub(super) fn installed() -> Seen {
    let was = Some(Was::Value(b"\"-d\"".to_vec()));
    Seen {
        content: Some(NEW.into()),
        record: Some(Record::new(
            "/f".as_ref(),
            was,
            Some(OLD.as_bytes()),
            NEW.as_bytes(),
        )),
        guard: ON,
        proxy: ON,
        nodeds: vec![stands("127.0.0.1:298", false)],
        noded_behind: true,
        ..fresh()
    }
}

pub(super) fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::to_string).collect()
}

#[track_caller]
pub(super) fn assert_steps(found: &[Step], expected: &[&str]) {
    let found = lines(found);
    let pairs = found.iter().zip(expected);
    let same = pairs
        .filter(|(found, expected)| found.contains(**expected))
        .count();
    assert!(
        found.len() == expected.len() && same == found.len(),
        "{found:#?}\n{expected:#?}"
    );
}

pub(super) const NODED_BEHIND: &str =
    "/daemon-util stop ganeti-noded; /daemon-util start ganeti-noded; wait for noded on port 298";
pub(super) const NODED_ALONE: &str = "start ganeti-noded; wait for noded on port 1811";
