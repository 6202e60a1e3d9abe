//! What is typed: wrong arguments end at once with the exit status of Ganeti's program, and are told
//! where Ganeti looks.

use std::process::Command;

use super::kit::{Bench, Ganetis, Ours, can_run, program};

/// Exit status of a program, and what it left in the status file.
fn tried(bench: &Bench, kind: super::kit::Kind, arguments: &[&str]) -> (Option<i32>, String) {
    let status = bench.path("status");
    let _ = std::fs::remove_file(&status);
    let mut command: Command = program(kind);
    if let Some((first, more)) = arguments.split_first() {
        // A file that the caller named, or the usual one.
        match first.contains('/') {
            true => command.arg(first),
            false => command.arg(&status).arg(first),
        };
        command.args(more);
    }
    let output = command.current_dir(bench.dir.path()).output().unwrap();
    let text = std::fs::read_to_string(status).unwrap_or_default();
    (output.status.code(), text)
}

#[test]
fn wrong_arguments_end_at_once_and_stand_in_the_status() {
    let bench = Bench::of_a_move();
    for (arguments, told, status) in [
        (
            &["import", "--cmd-suffix=rm -rf x"][..],
            "--cmd-suffix has a form",
            2,
        ),
        (&["import", "--magic=a b c d e"], "--magic has a value", 2),
        (
            &["import", "--compress=sh -c x"],
            "--compress has a value",
            1,
        ),
        (
            &["export", "--host=a;b", "--port=1"],
            "--host has a value",
            2,
        ),
        (
            &["export", "--host=::1", "--ipv4", "--port=1"],
            "--host has a value",
            2,
        ),
        (&["both"], "the mode is import or export", 2),
        (&["import"], "--key is missing", 1),
    ] {
        let (code, text) = tried(&bench, Ours, arguments);
        assert_eq!(code, Some(status), "{arguments:?}");
        assert!(
            text.contains(told) && text.contains("\"exit_status\":1"),
            "{text}"
        );
    }
}

#[test]
fn wrong_arguments_have_the_exit_status_of_the_original() {
    let bench = Bench::of_a_move();
    let none = "--key=none --cert=none --ca=none";
    for (arguments, code) in [
        ("", 2),
        ("both", 2),
        ("import x", 2),
        ("import --nosuch", 2),
        ("import --port=x", 2),
        ("import --connect-timeout=x", 2),
        ("import --expected-size=x", 2),
        ("import --magic=a", 2),
        ("import --magic=abcde --ipv4 --ipv6", 2),
        ("export --host=a;b --port=1", 2),
        ("./relative import", 1),
        ("import --compress=none", 1),
        (&format!("import --compress=none {none}"), 1),
        (
            &format!("export --compress=none --host=::1 --port=1 {none}"),
            1,
        ),
        ("import --compress=no-such-tool", 1),
        ("--help", 0),
        ("import --help", 0),
    ] {
        let words: Vec<_> = arguments.split_whitespace().collect();
        for kind in [Ours, Ganetis] {
            if can_run(&[kind]) {
                let found = tried(&bench, kind, &words).0;
                assert_eq!(found, Some(code), "{kind:?} {arguments}");
            }
        }
    }
}

#[test]
fn flags_that_are_given_twice_are_taken_as_the_original_does() {
    let bench = Bench::of_a_cluster();
    bench.disk(1000);
    let twice = [
        "-d",
        "-d",
        "-v",
        "--ipv4",
        "--magic=first",
        "--magic=second",
    ];
    let mut import = bench.importing(Ours, &twice);
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &["--magic=second"]);
    assert!(export.succeeds() && import.succeeds());
}
