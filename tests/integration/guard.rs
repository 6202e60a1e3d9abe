//! The guard of noded's port, with the real nft: whom it lets through, and how it is known that it
//! holds.

use std::process::Command;

use noded_proxy::config::{NODED_PORT, UpstreamConfig};

/// Runs a part of the script in a network namespace of its own; nothing where that cannot be.
fn part(name: &str) -> Option<String> {
    let possible = Command::new("unshare")
        .args(["--net", "nft", "list", "ruleset"])
        .output();
    if !possible
        .as_ref()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("SKIPPED: the guard needs root, a network namespace and nft: {possible:?}");
        return None;
    }
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("timeout")
        .args(["120", "unshare", "--net"])
        .arg(format!("{root}/tests/integration/guard.sh"))
        .args([name, env!("CARGO_BIN_EXE_noded-proxy")])
        .arg(format!("{root}/systemd/noded-proxy-guard.nft"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    Some(said)
}

/// What each of the four times must say.
fn reached(time: &str) -> String {
    let guarded = matches!(time, "guarded" | "after a flush");
    let mut lines = format!("{time}:\n");
    for address in ["127.0.0.1", "::1"] {
        for who in ["root", "proxy", "nobody", "12345"] {
            let open = !guarded || matches!(who, "root" | "proxy");
            let state = if open { "open" } else { "closed" };
            lines += &format!("{who} {address}: {state}\n");
        }
    }
    let state = if guarded { "closed" } else { "open" };
    lines + &format!("neighbour 192.0.2.1: {state}\n")
}

#[test]
fn only_root_and_the_proxy_reach_noded_while_the_guard_holds() {
    let Some(said) = part("reach") else { return };
    let times = ["without", "guarded", "after a flush"].map(reached);
    let ended = "guard ended: 0\nstate: absent\n";
    assert_eq!(said, times.concat() + ended + &reached("stopped"));
}

#[test]
fn nobody_reaches_an_impostor_on_noded_s_port() {
    let Some(said) = part("impostor") else { return };
    let expected = "root 127.0.0.1: open\nroot 127.0.0.1: closed\nroot ::1: closed\n\
                    root 127.0.0.1: open\n";
    assert_eq!(said, expected);
}

#[test]
fn the_guard_cuts_no_answer_and_no_end_of_a_connection() {
    let Some(said) = part("answer") else { return };
    // The two that are refused are the guard's own trials as nobody, at 127.0.0.1 and ::1.
    let expected = "answer is longer than a window: True\nrefused: 2\nrefused: 0\n";
    assert_eq!(said, expected);
}

#[test]
fn the_guard_ends_with_a_fault_when_its_rules_are_gone() {
    let Some(said) = part("loss") else { return };
    let expected = "table: there\nguard ended: 1\nstate: absent\ntable: absent\n";
    assert_eq!(said, expected);
}

/// Debian 11.
#[test]
fn an_nft_without_owners_is_enough_and_a_flush_is_noticed() {
    let Some(said) = part("plain") else { return };
    let expected = "table: there\nowned false\nroot 127.0.0.1: open\nnobody 127.0.0.1: closed\n\
                    guard ended: 137\ntable: there\ntable: there\n\
                    guard ended: 1\nstate: absent\n\
                    table: there\nguard ended: 0\nstate: absent\ntable: absent\n";
    assert_eq!(said, expected);
}

#[test]
fn rules_that_do_not_load_or_do_not_close_the_port_are_a_fault() {
    let Some(said) = part("faulty") else { return };
    let each = "guard ended: 1\nstate: absent\ntable: absent\n";
    assert_eq!(said, each.repeat(4));
}

#[test]
fn rules_with_a_hole_where_noded_listens_are_a_fault_as_soon_as_it_does() {
    let Some(said) = part("hole") else { return };
    let each = "state: there\nguard ended: 1\nstate: absent\ntable: absent\n\
                guard ended: 1\nstate: absent\ntable: absent\n";
    assert_eq!(said, each.repeat(4));
}

#[test]
fn a_guard_that_fails_leaves_the_reason_until_one_holds() {
    let Some(said) = part("why") else { return };
    let expected = "guard ended: 1\nstate: absent\n\
                    ./faulty.nft: no line `define noded_port = NUMBER` in it\n\
                    guard ended: 0\nthe reason is gone\n";
    assert_eq!(said, expected);
}

#[test]
fn a_guard_that_is_killed_again_and_again_does_not_use_up_its_starts() {
    let Some(said) = part("crash") else { return };
    let each = "guard ended: 137\na second between: 1\n";
    assert_eq!(said, each.repeat(2));
}

/// What a unit says, key by key.
fn settings<'a>(unit: &'a str, keys: &[&str]) -> Vec<&'a str> {
    let is_one = |line: &&str| {
        let key = line.split_once('=').map(|(key, _)| key);
        key.is_some_and(|key| keys.contains(&key))
    };
    unit.lines().filter(is_one).collect()
}

/// Each of these was chosen: when a unit comes back, and when it gives up.
#[test]
fn the_units_come_back_and_give_up_as_it_was_chosen() {
    let keys = [
        "StartLimitIntervalSec",
        "StartLimitBurst",
        "Type",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "WatchdogSec",
    ];
    let guard = include_str!("../../systemd/noded-proxy-guard.service");
    // 20 starts, one a second, and then it is a failed unit. A guard that was killed is back in a
    // tenth of a second, for noded's port is open meanwhile.
    let expected = [
        "StartLimitIntervalSec=60",
        "StartLimitBurst=20",
        "Type=notify",
        "TimeoutStartSec=20",
        "Restart=always",
        "RestartSec=100ms",
    ];
    assert_eq!(settings(guard, &keys), expected);
    let proxy = include_str!("../../systemd/noded-proxy.service");
    // It never gives up, as systemd does by default after five starts in 10 s.
    // 64 is a wrong configuration, which does not heal. Running RPCs get the drain timeout. A
    // process that was replaced goes on when its successor has crashed, so the pause is short.
    let expected = [
        "StartLimitIntervalSec=0",
        "Type=notify",
        "WatchdogSec=30",
        "Restart=on-failure",
        "RestartPreventExitStatus=64",
        "RestartSec=500ms",
        "TimeoutStopSec=75",
    ];
    assert_eq!(settings(proxy, &keys), expected);
}

/// The unit has no way to be skipped in silence.
#[test]
fn the_unit_loads_the_rules_where_the_texts_put_them() {
    let root = env!("CARGO_MANIFEST_DIR");
    let unit =
        std::fs::read_to_string(format!("{root}/systemd/noded-proxy-guard.service")).unwrap();
    let skips = |line: &&str| line.starts_with("Condition") || line.contains("=-");
    assert_eq!(unit.lines().find(skips), None);
    let start = "ExecStart=/usr/sbin/noded-proxy guard";
    assert!(unit.lines().any(|line| line == start), "{unit}");
    let help = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["guard", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let rules = "/etc/noded-proxy/noded-proxy-guard.nft";
    let placed = "[\"systemd/noded-proxy-guard.nft\", \"etc/noded-proxy/\", \"644\"]";
    let package = std::fs::read_to_string(format!("{root}/Cargo.toml")).unwrap();
    assert!(package.contains(placed), "{package}");
    for text in ["docs/operations.md", "docs/security.md", "tests/e2e/run"] {
        let text = std::fs::read_to_string(format!("{root}/{text}")).unwrap();
        assert!(text.contains(rules) && help.contains(rules), "{help}");
    }
}

/// noded's port is written once, in `config`; the texts and the rules follow it.
#[test]
fn all_texts_name_the_port_that_is_the_default() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |text: &str| std::fs::read_to_string(format!("{root}/{text}")).unwrap();
    let moved = format!("\"-b 127.0.0.1 -p {NODED_PORT} --no-ssl\"");
    let arguments = format!("NODED_ARGS={moved}");
    let address = format!("127.0.0.1:{NODED_PORT}");
    // There it is loopback of either family.
    let with_port = format!("-p {NODED_PORT} --no-ssl\"");
    let loopback = format!("$LOOPBACK:{NODED_PORT}");
    let table = [
        ("README.md", [&moved, &address]),
        ("config/noded-proxy.toml", [&arguments, &address]),
        ("tests/e2e/run", [&with_port, &loopback]),
    ];
    for (text, wanted) in table {
        let content = read(text);
        assert!(
            wanted.iter().all(|words| content.contains(*words)),
            "{text}"
        );
        assert!(!content.contains("11811"), "{text}");
    }
    let rules = read("systemd/noded-proxy-guard.nft");
    let define = format!("define noded_port = {NODED_PORT}");
    assert!(rules.lines().any(|line| line == define), "{rules}");
    let help = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains(&format!("[default: {address}]")), "{help}");
    assert_eq!(UpstreamConfig::default().address.to_string(), address);
}

#[test]
fn only_root_may_take_the_default_port_and_no_service_has_it() {
    const { assert!(NODED_PORT < 1024) };
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let port = format!("{NODED_PORT}/tcp");
    let has = |line: &&str| line.split_whitespace().nth(1) == Some(&*port);
    assert_eq!(services.lines().find(has), None);
}
