//! What is typed: wrong arguments end at once, and are told where Ganeti looks.

use std::process::Command;

use super::kit::Bench;

#[test]
fn wrong_arguments_end_at_once_and_stand_in_the_status() {
    let bench = Bench::of_a_move();
    for (arguments, told) in [
        (
            &["import", "--cmd-suffix=rm -rf x"][..],
            "--cmd-suffix has a form",
        ),
        (&["import", "--magic=a b c d e"], "--magic has a value"),
        (&["import", "--compress=sh -c x"], "--compress has a value"),
        (&["export", "--host=a;b", "--port=1"], "--host has a value"),
        (
            &["export", "--host=::1", "--ipv4", "--port=1"],
            "--host has a value",
        ),
        (&["both"], "the mode is import or export"),
    ] {
        let status = bench.path("status");
        let output = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
            .arg("import-export")
            .arg(&status)
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let text = std::fs::read_to_string(&status).unwrap();
        assert!(
            text.contains(told) && text.contains("\"exit_status\":1"),
            "{text}"
        );
    }
}
