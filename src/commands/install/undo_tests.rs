//! From what is there to what `uninstall` does, as tables; and the way back. Nothing is done here.

use super::*;
use crate::commands::install::samples::*;
use crate::commands::install::step::way_back;

/// The steps, between the units of the proxy and what is dropped.
fn whole<'a>(stop: &'a str, file: &'a str, disable: &'a str) -> Vec<&'a str> {
    [&[stop, file, disable, NODED_ALONE, PROVE][..], &GUARD].concat()
}

const PROVE: &str = "prove it: noded has the RPC port again, with TLS";
const GUARD: [&str; 2] = [
    "systemctl stop noded-proxy-guard.service",
    "systemctl disable noded-proxy-guard.service",
];

#[test]
fn what_uninstall_does() {
    let stop = "systemctl stop noded-proxy.service";
    let disable = "systemctl disable noded-proxy.service";
    let all = [&whole(stop, "byte for byte", disable)[..], &["drop"]].concat();
    let edited = Seen {
        content: Some(NEW.replace("-x", "-y").into()),
        ..installed()
    };
    let by_hand = Seen {
        record: None,
        ..installed()
    };
    let changed = whole(stop, "becomes \"-d\"", disable);
    let with_socket = Seen {
        socket: ON,
        ..installed()
    };
    let (stops, disables) = (
        "stop noded-proxy.socket noded-proxy.service",
        "disable noded-proxy.socket noded-proxy.service",
    );
    let sockets = [&whole(stops, "byte for byte", disables)[..], &["drop"]].concat();
    let table: [(Seen, Vec<&str>, &str); 5] = [
        (installed(), all.clone(), ""),
        (fresh(), vec![], ""),
        (edited, [&changed[..], &["drop"]].concat(), "edited since"),
        (by_hand, changed, "nothing was kept"),
        (with_socket, sockets, ""),
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

/// The configuration says another address than the one that `install` was told.
fn elsewhere(seen: Seen) -> Seen {
    let mut upstream = seen.upstream.clone();
    upstream.address = "127.0.0.1:11811".parse().unwrap();
    Seen {
        upstream,
        noded_behind: false,
        ..seen
    }
}

#[test]
fn noded_is_put_back_wherever_it_is() {
    let has_noded = |seen: &Seen| {
        let steps = lines(&uninstall(seen).unwrap().steps);
        steps.iter().any(|line| line.contains(NODED_ALONE))
    };
    let moved = elsewhere(installed());
    assert!(has_noded(&moved));
    // The file is as it was, and noded was not restarted yet.
    let back = |seen: Seen| Seen {
        content: Some(OLD.into()),
        ..seen
    };
    assert!(has_noded(&back(moved)));
    // Killed while noded was down.
    let down = Seen {
        nodeds: Vec::new(),
        noded_behind: false,
        ..back(installed())
    };
    assert!(!has_noded(&down));
    let plan = uninstall(&down).unwrap();
    assert_eq!(plan.notes, [NOT_STARTED]);
    let down = Seen {
        cut_short: true,
        ..down
    };
    assert!(has_noded(&down));
    assert!(uninstall(&down).unwrap().notes.is_empty());
}

#[test]
fn arguments_that_would_leave_noded_open_are_refused() {
    const TLS: &str = "NODED_ARGS=\"-b 127.0.0.1 -p 1812\"\n";
    const PLAIN: &str = "NODED_ARGS=\"-b 127.0.0.1 -p 11811 --no-ssl\"\n";
    let with = |seen: Seen, text: &str, is_ours: bool| Seen {
        content: Some(text.into()),
        record: None,
        guard: if is_ours { ON } else { OFF },
        proxy: OFF,
        ..seen
    };
    let table = [
        (with(installed(), PLAIN, true), "without TLS"),
        (with(installed(), PLAIN, false), "without TLS"),
        (
            with(installed(), "NODED_ARGS=--no-ss\n", true),
            "without TLS",
        ),
        (with(installed(), TLS, true), "on loopback alone"),
        // Behind another proxy, and this one was never in use.
        (
            with(
                Seen {
                    nodeds: vec![stands("127.0.0.1:1812", true)],
                    ..fresh()
                },
                TLS,
                false,
            ),
            "",
        ),
    ];
    for (seen, word) in table {
        match uninstall(&seen) {
            Ok(plan) => assert_eq!((word, plan.steps.len()), ("", 0), "{:?}", seen.content),
            Err(why) => assert!(!word.is_empty() && why.contains(word), "{why}"),
        }
    }
    // It was so before `install`: with TLS it is as it was.
    for (text, is_refused) in [(TLS, false), (PLAIN, true)] {
        let first = Some(text.as_bytes());
        let seen = Seen {
            record: Some(Record::new("/f".as_ref(), None, first, NEW.as_bytes())),
            ..installed()
        };
        assert_eq!(uninstall(&seen).is_err(), is_refused, "{text}");
    }
}

#[test]
fn what_starts_noded_without_tls_as_a_table() {
    let variable = Source::Variable { by_systemd: false };
    let drop_in = Source::DropIn {
        command: String::new(),
    };
    let table = [
        (&variable, Some(OLD), false),
        (&variable, Some(NEW), true),
        (&variable, Some("NODED_ARGS=--no-ss\n"), true),
        (&variable, Some("NODED_ARGS=\n# --no-ssl\n"), false),
        // Not understood.
        (&variable, Some("NODED_ARGS=\"$X --no-ssl\"\n"), true),
        (&variable, None, false),
        (&drop_in, Some("ExecStart=noded --no-ssl\n"), true),
        (&drop_in, None, false),
    ];
    for (source, text, expected) in table {
        let found = starts_plain(source, text.map(str::as_bytes));
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn an_uninstall_that_fails_leaves_the_proxy_in_its_place() {
    let steps = uninstall(&installed()).unwrap().steps;
    let back = lines(&way_back(&steps));
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

/// A node that is booted in the middle has its guard until noded is proven to be without need of it, and
/// the proxy as long as the file moves noded: both on one port, or none, is a node that nobody commands.
#[test]
fn the_proxy_is_disabled_with_the_file_and_the_guard_when_noded_is_proven() {
    let steps = uninstall(&installed()).unwrap().steps;
    let at = |is: fn(&Step) -> bool| steps.iter().position(is).unwrap();
    let file = at(|step| matches!(step, Step::Write(_)));
    let proxy = Step::Disable(vec![Unit::Proxy]);
    assert_eq!(steps[file + 1], proxy, "{:?}", lines(&steps));
    let proof = at(|step| matches!(step, Step::Prove(_)));
    assert!(proof < at(Step::unguards), "{:?}", lines(&steps));
}
