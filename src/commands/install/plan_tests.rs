//! From what is there to what is done, as tables; and the way back. Nothing is done here.

use rules::guard::Missing;

use super::*;
use crate::commands::install::samples::*;
use crate::commands::install::{step::way_back, undo::uninstall};

#[test]
fn what_install_does() {
    let file = ["keep /f", "becomes \"-d -b 127.0.0.1 -p 298 --no-ssl\""];
    let guard = [
        "enable noded-proxy-guard.service",
        "start noded-proxy-guard.service",
    ];
    let enable = "enable noded-proxy.service";
    let proxy = [enable, NODED_BEHIND, "start noded-proxy.service"];
    let all = [&guard[..], &file, &proxy, &["prove"]].concat();
    let with = |change: fn(&mut Seen)| {
        let mut seen = fresh();
        change(&mut seen);
        seen
    };
    let table: [(Seen, Vec<&str>); 8] = [
        (fresh(), all.clone()),
        (installed(), vec![]),
        (
            with(|seen| seen.nodeds.clear()),
            [&guard[..], &file, &[enable, proxy[2], "prove"]].concat(),
        ),
        (
            with(|seen| {
                seen.needs_guard = false;
                seen.upstream.tls = true;
            }),
            [
                &["keep", "becomes \"-d -b 127.0.0.1 -p 298\","][..],
                &proxy,
                &["prove"],
            ]
            .concat(),
        ),
        // Killed in the middle, and noded is down: it runs again.
        (
            with(|seen| {
                seen.content = Some(NEW.into());
                (seen.guard, seen.proxy) = (ON, ON);
                seen.nodeds.clear();
                seen.cut_short = true;
            }),
            vec![NODED_BEHIND, "prove"],
        ),
        // Killed in the middle: it goes on where it was.
        (
            with(|seen| {
                seen.content = Some(NEW.into());
                seen.guard = ON;
            }),
            [&proxy[..], &["prove"]].concat(),
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
    let fresh = &fresh[fresh.len() - 4..];
    let both = "noded-proxy.socket noded-proxy.service";
    assert_steps(
        fresh,
        &[
            &format!("enable {both}"),
            NODED_BEHIND,
            &format!("start {both}"),
            "prove",
        ],
    );
    let running = install(&installed(), true).unwrap().steps;
    let expected = [
        "systemctl enable noded-proxy.socket",
        "systemctl stop noded-proxy.service",
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
fn a_guard_that_runs_must_close_the_port() {
    let other = Some(Missing::OtherPort(11811));
    for (guard, guard_fault, needs_guard, word) in [
        (ON, None, true, None),
        (ON, other.clone(), true, Some("uninstall --apply` first")),
        (ON, Some(Missing::Silent), true, Some("does not run")),
        (ON, other.clone(), false, None),
        // It is started with the rules of now.
        (OFF, other, true, None),
    ] {
        let seen = Seen {
            guard,
            guard_fault,
            needs_guard,
            ..fresh()
        };
        let refused = install(&seen, false).err();
        assert_eq!(refused.is_some(), word.is_some(), "{refused:?}");
        assert!(
            refused
                .unwrap_or_default()
                .contains(word.unwrap_or_default())
        );
    }
}

#[test]
fn a_file_that_was_not_there_goes_again() {
    let seen = Seen {
        content: None,
        ..fresh()
    };
    let steps = install(&seen, false).unwrap().steps;
    let [Step::Keep(record, _), Step::Write(write), ..] = &steps[2..] else {
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
    let Step::Keep(record, _) = &steps[0] else {
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
        let back = lines(&way_back(&steps[..begun]));
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

/// What the first one kept comes back when a second one fails.
#[test]
fn a_record_is_replaced_and_not_dropped() {
    let first = installed().record.unwrap();
    let mut seen = installed();
    seen.upstream.address = "127.0.0.1:11811".parse().unwrap();
    let steps = install(&seen, false).unwrap().steps;
    let Step::Keep(second, _) = &steps[0] else {
        panic!("{:?}", lines(&steps));
    };
    assert_eq!(second.before(), first.before());
    assert_ne!(second.written, first.written);
    let back = way_back(&steps);
    let kept = Step::Keep(first, Some(second.clone()));
    assert!(back.contains(&kept), "{:?}", lines(&back));
}

#[test]
fn a_guard_that_was_enabled_before_stays_so() {
    let seen = Seen {
        guard: ON,
        ..fresh()
    };
    let steps = install(&seen, false).unwrap().steps;
    let back = lines(&way_back(&steps));
    assert!(!back.iter().any(|line| line.contains("guard")), "{back:?}");
}
