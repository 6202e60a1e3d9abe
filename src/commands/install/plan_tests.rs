//! From what is there to what is done, as tables; and the way back. Nothing is done here.

use super::*;
use crate::commands::install::{step::way_back, undo::uninstall};

const ON: UnitState = UnitState {
    enabled: true,
    active: true,
};
const OFF: UnitState = UnitState {
    enabled: false,
    active: false,
};
const OLD: &str = "NODED_ARGS=\"-d\"\nRAPI_ARGS=\"-x\"\n";
const NEW: &str = "NODED_ARGS=\"-d -b 127.0.0.1 -p 298 --no-ssl\"\nRAPI_ARGS=\"-x\"\n";

/// A node as Debian has it, where nothing was done yet.
fn fresh() -> Seen {
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
        socket: OFF,
        proxy: OFF,
        noded_runs: true,
        noded_behind: false,
    }
}

/// The same node when `install` has been there.
fn installed() -> Seen {
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
        noded_behind: true,
        ..fresh()
    }
}

fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::to_string).collect()
}

#[track_caller]
fn assert_steps(found: &[Step], expected: &[&str]) {
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

const NODED_BEHIND: &str =
    "/daemon-util stop ganeti-noded; /daemon-util start ganeti-noded; wait for noded on port 298";
const NODED_ALONE: &str = "start ganeti-noded; wait for noded on port 1811";

#[test]
fn what_install_does() {
    let file = ["keep /f", "becomes \"-d -b 127.0.0.1 -p 298 --no-ssl\""];
    let guard = [
        "enable noded-proxy-guard.service",
        "start noded-proxy-guard.service",
    ];
    let proxy = ["enable noded-proxy.service", "start noded-proxy.service"];
    let all = [&guard[..], &file, &[NODED_BEHIND], &proxy, &["prove"]].concat();
    let with = |change: fn(&mut Seen)| {
        let mut seen = fresh();
        change(&mut seen);
        seen
    };
    let table: [(Seen, Vec<&str>); 7] = [
        (fresh(), all.clone()),
        (installed(), vec![]),
        (
            with(|seen| seen.noded_runs = false),
            [&guard[..], &file, &proxy, &["prove"]].concat(),
        ),
        (
            with(|seen| {
                seen.needs_guard = false;
                seen.upstream.tls = true;
            }),
            [
                &["keep", "becomes \"-d -b 127.0.0.1 -p 298\","],
                &[NODED_BEHIND][..],
                &proxy,
                &["prove"],
            ]
            .concat(),
        ),
        // Killed in the middle: it goes on where it was.
        (
            with(|seen| {
                seen.content = Some(NEW.into());
                seen.guard = ON;
            }),
            [&[NODED_BEHIND][..], &proxy, &["prove"]].concat(),
        ),
        (
            with(|seen| {
                seen.content = None;
                seen.guard = ON;
                seen.proxy.enabled = true;
            }),
            [
                "keep",
                "NODED_ARGS=\"\" becomes",
                NODED_BEHIND,
                "start noded-proxy.service",
                "prove",
            ]
            .into(),
        ),
        (
            Seen {
                guard: UnitState {
                    enabled: true,
                    active: false,
                },
                ..installed()
            },
            vec!["systemctl start noded-proxy-guard.service", "prove"],
        ),
    ];
    for (seen, expected) in table {
        assert_steps(&install(&seen, false).unwrap().steps, &expected);
    }
}

#[test]
fn a_socket_unit_is_started_before_its_service_which_must_not_run() {
    let fresh = install(&fresh(), true).unwrap().steps;
    let fresh = &fresh[fresh.len() - 3..];
    let both = "noded-proxy.socket noded-proxy.service";
    assert_steps(
        fresh,
        &[&format!("enable {both}"), &format!("start {both}"), "prove"],
    );
    let running = install(&installed(), true).unwrap().steps;
    let expected = [
        "systemctl stop noded-proxy.service",
        "systemctl enable noded-proxy.socket",
        &format!("systemctl start {both}"),
        "prove",
    ];
    assert_steps(&running, &expected);
    let there = Seen {
        socket: ON,
        ..installed()
    };
    for socket in [true, false] {
        assert_eq!(install(&there, socket).unwrap().steps, []);
    }
}

#[test]
fn what_is_not_safe_is_refused_with_what_to_do() {
    let table = [
        ("NODED_ARGS=\"$X\"\n", false, "has a `$`"),
        ("NODED_ARGS=-b 127.0.0.1\n", false, "quotes are missing"),
        ("NODED_ARGS=\"-i eth0\"\n", false, "excludes -b"),
        ("NODED_ARGS=\"\"\r\n", false, "`\\r`"),
        ("export NODED_ARGS=\"\"\n", true, "systemd"),
    ];
    for (text, by_systemd, word) in table {
        let seen = Seen {
            content: Some(text.into()),
            source: Source::Variable { by_systemd },
            ..fresh()
        };
        let why = install(&seen, false).unwrap_err();
        assert!(
            why.contains(word) && why.contains("by hand"),
            "{text}: {why}"
        );
        let wanted = "-b 127.0.0.1 -p 298 --no-ssl";
        assert!(why.contains(wanted), "{why}");
    }
}

#[test]
fn what_uninstall_does() {
    let end = [
        "systemctl stop noded-proxy.service",
        "systemctl disable noded-proxy.service",
    ];
    let guard = [
        "stop noded-proxy-guard.service",
        "disable noded-proxy-guard.service",
    ];
    let all = [
        &end[..],
        &["byte for byte", NODED_ALONE],
        &guard,
        &["prove", "drop"],
    ]
    .concat();
    let edited = Seen {
        content: Some(NEW.replace("-x", "-y").into()),
        ..installed()
    };
    let by_hand = Seen {
        record: None,
        ..installed()
    };
    let changed = [
        &end[..],
        &["becomes \"-d\"", NODED_ALONE],
        &guard,
        &["prove"],
    ]
    .concat();
    let with_socket = Seen {
        socket: ON,
        ..installed()
    };
    let both = "noded-proxy.socket noded-proxy.service";
    let (stop, disable) = (format!("stop {both}"), format!("disable {both}"));
    let table: [(Seen, Vec<&str>, &str); 5] = [
        (installed(), all.clone(), ""),
        (fresh(), vec![], ""),
        (edited, [&changed[..], &["drop"]].concat(), "edited since"),
        (by_hand, changed, "nothing was kept"),
        (with_socket, [&[&*stop, &*disable], &all[2..]].concat(), ""),
    ];
    for (seen, expected, note) in table {
        let plan = uninstall(&seen).unwrap();
        assert_steps(&plan.steps, &expected);
        assert!(plan.notes.concat().contains(note), "{:?}", plan.notes);
        let bytes = plan.steps.iter().find_map(|step| match step {
            Step::Write(write) => write.to.clone(),
            _ => None,
        });
        if let Some(bytes) = bytes {
            assert!(bytes.starts_with(b"NODED_ARGS=\"-d\"\nRAPI_ARGS="));
        }
    }
}

#[test]
fn a_file_that_was_not_there_goes_again() {
    let seen = Seen {
        content: None,
        ..fresh()
    };
    let steps = install(&seen, false).unwrap().steps;
    let [Step::Keep(record), Step::Write(write), ..] = &steps[2..] else {
        panic!("{steps:?}");
    };
    let after = Seen {
        content: write.to.clone(),
        record: Some(record.clone()),
        ..installed()
    };
    let steps = uninstall(&after).unwrap().steps;
    let removed = steps
        .iter()
        .any(|step| matches!(step, Step::Write(write) if write.to.is_none()));
    assert!(removed, "{:?}", lines(&steps));
}

#[test]
fn a_unit_that_does_not_know_noded_args_gets_a_drop_in() {
    let command = "/usr/sbin/ganeti-noded -f $ONETIME_ARGS";
    let native = |command: &str, content: Option<Vec<u8>>| Seen {
        source: Source::DropIn {
            command: command.into(),
        },
        manager: Manager::Systemd,
        path: "/d".into(),
        content,
        ..fresh()
    };
    let steps = install(&native(command, None), false).unwrap().steps;
    let steps = &steps[2..]; // the guard's
    assert_steps(
        &steps[..3],
        &["keep /d", "/d: noded is started with", "daemon-reload"],
    );
    assert!(
        lines(steps)
            .iter()
            .any(|line| line.starts_with("systemctl restart ganeti-noded.service"))
    );
    let Step::Write(write) = &steps[1] else {
        panic!()
    };
    let text = String::from_utf8(write.to.clone().unwrap()).unwrap();
    let line = "ExecStart=/usr/sbin/ganeti-noded -f -b 127.0.0.1 -p 298 --no-ssl $ONETIME_ARGS\n";
    assert!(
        text.ends_with(&format!("[Service]\nExecStart=\n{line}")),
        "{text}"
    );
    // systemd then shows this command, and nothing is left to do.
    let merged = line.trim().strip_prefix("ExecStart=").unwrap();
    let again = Seen {
        guard: ON,
        proxy: ON,
        noded_behind: true,
        ..native(merged, write.to.clone())
    };
    assert_eq!(install(&again, false).unwrap().steps, []);
    let Step::Keep(record) = &steps[0] else {
        panic!()
    };
    let after = Seen {
        record: Some(record.clone()),
        ..again
    };
    let back = uninstall(&after).unwrap().steps;
    assert!(
        lines(&back).iter().any(|line| line.contains("removed")),
        "{:?}",
        lines(&back)
    );
    assert!(install(&native("/bin/sh -c 'noded'", None), false).is_err());
}

/// Each beginning of the steps, taken back: the file is as it was before noded is restarted, the
/// guard stands until noded is away, and the proxy ends first.
#[test]
fn whatever_was_begun_is_taken_back_in_an_order_that_works() {
    let steps = install(&fresh(), true).unwrap().steps;
    for begun in 1..=steps.len() {
        let back = lines(&way_back(&steps[..begun], false));
        let at = |word: &str| back.iter().position(|line| line.contains(word));
        let done = |word: &str| {
            lines(&steps[..begun])
                .iter()
                .any(|line| line.contains(word))
        };
        assert_eq!(at("as it was").is_some(), done("becomes"), "{back:?}");
        assert_eq!(at(NODED_ALONE).is_some(), done(NODED_BEHIND), "{back:?}");
        assert_eq!(
            at("stop noded-proxy.socket").is_some(),
            done("start noded-proxy.socket")
        );
        let order = [
            "stop noded-proxy.socket",
            "as it was",
            NODED_ALONE,
            "stop noded-proxy-guard",
        ];
        let found: Vec<usize> = order.into_iter().filter_map(at).collect();
        assert!(found.is_sorted(), "{back:?}");
        assert!(
            at("as it was") < at("drop").or(Some(usize::MAX)),
            "{back:?}"
        );
    }
}

#[test]
fn an_uninstall_that_fails_leaves_the_proxy_in_its_place() {
    let steps = uninstall(&installed()).unwrap().steps;
    let back = lines(&way_back(&steps, true));
    let at = |word: &str| back.iter().position(|line| line.contains(word)).unwrap();
    let order = [
        "keep /f",
        "start noded-proxy-guard",
        "as it was",
        NODED_BEHIND,
        "start noded-proxy.service",
    ]
    .map(at);
    assert!(order.is_sorted(), "{back:?}");
}

#[test]
fn a_guard_that_was_enabled_before_stays_so() {
    let seen = Seen {
        guard: ON,
        ..fresh()
    };
    let steps = install(&seen, false).unwrap().steps;
    let back = lines(&way_back(&steps, true));
    assert_eq!(
        back.last().unwrap(),
        "systemctl enable noded-proxy-guard.service"
    );
}
