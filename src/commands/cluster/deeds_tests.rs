//! From what the nodes have to what is done, as tables.

use clap::Parser;

use super::*;
use crate::commands::cli::{Cli, Command};

fn args(options: &[&str]) -> InstallArgs {
    let words = [&["noded-proxy", "install", "--cluster"], options].concat();
    match Cli::try_parse_from(words).unwrap().command {
        Command::Install(args) => args,
        other => panic!("{other:?}"),
    }
}

fn places(states: &[State]) -> Vec<Place> {
    let named = states.iter().enumerate();
    named
        .map(|(at, state)| Place {
            name: format!("n{}", at + 1),
            state: state.clone(),
        })
        .collect()
}

#[test]
fn first_audit_then_certificates_then_enforce() {
    use State::{Audit, Enforce, New, Offline};
    let table: [(&[State], &[&str], &str); 6] = [
        (
            &[New, New],
            &[],
            "n1 (audit), n2 (audit), certificates, n1 (enforce), n2 (enforce)",
        ),
        (
            &[New, Audit],
            &["--mode", "audit"],
            "n1 (audit), n2 (audit), certificates",
        ),
        (
            &[Audit, Offline, New],
            &["--mode", "enforce"],
            "n1 (audit), n3 (audit), certificates, n1 (enforce), n3 (enforce)",
        ),
        // It had been stopped in the last phase.
        (
            &[Enforce, Audit],
            &[],
            "n1 (enforce), n2 (audit), certificates, n2 (enforce)",
        ),
        (
            &[Enforce, Enforce],
            &[],
            "n1 (enforce), n2 (enforce), certificates",
        ),
        (
            &[Enforce],
            &["--mode", "audit"],
            "n1 (enforce), certificates",
        ),
    ];
    for (states, options, expected) in table {
        let all = deeds(&places(states), &args(options)).unwrap();
        let short: Vec<String> = all.iter().map(Deed::short).collect();
        assert_eq!(short.join(", "), expected, "{states:?}");
    }
}

#[test]
fn options_go_to_each_node_and_hooks_come_last() {
    let all = deeds(&places(&[State::New]), &args(&["--wait", "--socket"])).unwrap();
    let lines: Vec<String> = all.iter().map(Deed::to_string).collect();
    let certs = "--candidate-certs /etc/noded-proxy/candidates --socket --wait; noded-proxy check";
    assert_eq!(
        lines,
        [
            format!("n1: noded-proxy install --apply --mode audit {certs}"),
            "all nodes: noded-proxy certs distribute".into(),
            format!("n1: noded-proxy install --apply --mode enforce --hooks {certs}"),
        ]
    );
}

#[test]
fn nothing_is_begun_where_a_node_cannot_follow() {
    let unreachable = State::Unreachable("ssh: x".into());
    let states = [State::New, State::Absent, unreachable, State::Offline];
    let why = deeds(&places(&states), &args(&[])).unwrap_err();
    assert!(why[0].starts_with("n3: not reached"), "{why:?}");
    assert!(
        why[1].starts_with("n2: noded-proxy is not there"),
        "{why:?}"
    );
    assert_eq!(why[2..], ["nothing was done"]);
}

#[test]
fn what_a_node_answers_as_a_table() {
    let said = |status, out: &str| Said {
        end: End::of(Some(status)),
        out: out.into(),
        err: "x".into(),
    };
    let unreachable = State::Unreachable("ssh: x".into());
    for (said, expected) in [
        (said(0, r#"{"mode": "enforce"}"#), State::Enforce),
        (said(1, r#"{"mode": "audit", "more": 1}"#), State::Audit),
        (said(1, ""), State::New),
        (said(0, "{}"), State::New),
        (said(127, ""), State::Absent),
        (said(255, ""), unreachable),
    ] {
        assert_eq!(state(&said), expected, "{said:?}");
    }
}
