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

/// Nodes n1, n2 and so on; the first is a candidate.
fn places(states: &[State]) -> Vec<Place> {
    let named = states.iter().enumerate();
    named
        .map(|(at, state)| Place {
            name: format!("n{}", at + 1),
            candidate: at == 0,
            state: state.clone(),
        })
        .collect()
}

fn short(plan: &Plan) -> String {
    let short: Vec<String> = plan.deeds.iter().map(Deed::short).collect();
    short.join(", ")
}

#[test]
fn audit_mode_is_entered_only_by_name() {
    use State::{Audit, Enforce, New, Offline};
    let table: [(&[State], &[&str], &str); 7] = [
        (&[New, New], &[], "n1 (enforce), n2 (enforce), certificates"),
        (
            &[New, Audit],
            &["--mode", "audit"],
            "n1 (audit), n2 (audit), certificates",
        ),
        (
            &[Audit, Offline, New],
            &["--mode", "enforce"],
            "n1 (enforce), n3 (enforce), certificates",
        ),
        // It had been stopped.
        (
            &[Enforce, Audit],
            &[],
            "n1 (enforce), n2 (enforce), certificates",
        ),
        (
            &[Enforce, Enforce],
            &[],
            "n1 (enforce), n2 (enforce), certificates",
        ),
        (
            &[Enforce, New],
            &["--mode", "audit"],
            "n1 (enforce), n2 (audit), certificates",
        ),
        (
            &[Enforce],
            &["--mode", "audit"],
            "n1 (enforce), certificates",
        ),
    ];
    for (states, options, expected) in table {
        let plan = plan(&places(states), &args(options)).unwrap();
        assert_eq!(short(&plan), expected, "{states:?}");
        assert!(plan.left.is_empty());
        let audit = options.contains(&"audit");
        assert!(audit || !short(&plan).contains("(audit)"));
    }
}

#[test]
fn options_go_to_each_node_and_hooks_where_it_enforces() {
    let lines = |options: &[&str]| -> Vec<String> {
        let plan = plan(&places(&[State::New]), &args(options)).unwrap();
        plan.deeds.iter().map(Deed::to_string).collect()
    };
    let certs = "--candidate-certs /etc/noded-proxy/candidates --socket --wait; \
                 noded-proxy check --quiet; an RPC from here";
    let last = "all nodes: noded-proxy certs distribute".to_owned();
    assert_eq!(
        lines(&["--wait", "--socket"]),
        [
            format!("n1: noded-proxy install --apply --mode enforce --hooks {certs}"),
            last.clone(),
        ]
    );
    assert_eq!(
        lines(&["--wait", "--socket", "--mode", "audit"]),
        [
            format!("n1: noded-proxy install --apply --mode audit {certs}"),
            last,
        ]
    );
}

#[test]
fn what_is_said_of_places_goes_to_each_node_and_with_it_back() {
    let said = [
        ("--candidate-certs", "/c d"),
        ("--noded-defaults", "/d"),
        ("--daemon-util", "/u"),
        ("--undo-dir", "/undo"),
        ("--hooks-dir", "/h"),
        ("--hooks-from", "/f"),
    ];
    let words: Vec<&str> = said.into_iter().flat_map(|(a, b)| [a, b]).collect();
    let args = args(&words);
    let places = places(&[State::New, State::Audit]);
    let tail = " --noded-defaults '/d' --daemon-util '/u' --undo-dir '/undo' --hooks-dir '/h' \
                --hooks-from '/f'";
    let [
        Deed::Run {
            commands, proof, ..
        },
        Deed::Run { proof: second, .. },
        _,
    ] = &plan(&places, &args).unwrap().deeds[..]
    else {
        panic!()
    };
    let install = "noded-proxy install --apply --mode enforce --hooks --candidate-certs '/c d'";
    assert_eq!(commands[0], format!("{install}{tail}"));
    // Nobody's RPC is waited for: the master does not get through.
    let undo = format!("noded-proxy uninstall --apply --now{tail}");
    assert_eq!(
        *proof,
        Proof::OrElse(undo, "has noded alone, without the proxy")
    );
    let Proof::OrElse(command, _) = second else {
        panic!()
    };
    let audit = format!("noded-proxy install --apply --mode audit --now{tail}");
    assert_eq!(*command, audit);
    let way_back = back(&places, &args.node).deeds;
    let expected = format!("n1: noded-proxy uninstall --apply{tail}");
    assert_eq!(way_back[0].to_string(), expected);
}

#[test]
fn nothing_is_begun_where_a_candidate_cannot_follow() {
    let unreachable = || State::Unreachable("ssh: x".into());
    for state in [State::Absent, unreachable()] {
        let states = [state.clone(), State::New, State::Offline];
        let why = plan(&places(&states), &args(&[])).unwrap_err();
        let expected = match state {
            State::Absent => "n1: noded-proxy is not there",
            _ => "n1: not reached",
        };
        assert!(why[0].starts_with(expected), "{why:?}");
        assert!(why[1].starts_with("nothing was done"), "{why:?}");
    }
}

#[test]
fn a_normal_node_that_cannot_follow_holds_up_nobody() {
    let unreachable = State::Unreachable("ssh: x".into());
    let states = [State::New, State::Absent, unreachable, State::New];
    let plan = plan(&places(&states), &args(&[])).unwrap();
    assert_eq!(short(&plan), "n1 (enforce), n4 (enforce), certificates");
    assert!(plan.left[0].starts_with("n3: not reached"), "{plan:?}");
    assert!(plan.left[1].starts_with("n2: noded-proxy is not there"));
    let stops: Vec<bool> = plan.deeds.iter().map(Deed::stops).collect();
    assert_eq!(stops, [true, false, false]);
}

#[test]
fn which_nodes_are_in_audit_mode_as_a_table() {
    use State::{Audit, Enforce, New};
    type Row<'a> = (&'a [State], &'a [&'a str], usize, &'a [&'a str], &'a str);
    let table: [Row<'_>; 7] = [
        (&[New, New], &["--mode", "audit"], 0, &[], ""),
        (&[New, New], &["--mode", "audit"], 1, &[], "n1"),
        (&[New, New], &["--mode", "audit"], 3, &[], "n1 n2"),
        (
            &[New, New],
            &["--mode", "audit"],
            2,
            &["n2"],
            "n1 n2 (perhaps)",
        ),
        (&[Enforce, New], &["--mode", "audit"], 3, &[], "n2"),
        (&[Audit, Audit], &[], 1, &[], "n2"),
        (&[Audit, Audit], &[], 3, &["n2", "certificates"], "n2"),
    ];
    for (states, options, begun, failed, expected) in table {
        let places = places(states);
        let plan = plan(&places, &args(options)).unwrap();
        let begun_ = plan.deeds.iter().take(begun).collect::<Vec<_>>();
        let found = in_audit(&places, &begun_, failed);
        assert_eq!(found.join(" "), expected, "{states:?} {begun} {failed:?}");
    }
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
