//! The command line's own words: which flags each command takes, and the man pages made from them.

use std::fs;
use std::process::Command;

use crate::support::commands::assert_ends_quietly_unread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");

/// Flags that say where the files are that decide who is admitted.
const TRUST: [&str; 7] = [
    "candidate-bundle",
    "candidate-certs",
    "candidate-map",
    "config",
    "server-pem",
    "ssconf-dir",
    "state-dir",
];

fn stdout(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The long flags of a command, in order of the alphabet, without `--help`.
fn flags(command: &[&str]) -> Vec<String> {
    let help = stdout(&[command, &["--help"]].concat());
    let options = help.lines().skip_while(|line| *line != "Options:");
    let long = options.filter_map(|line| {
        let line = line.trim_start().trim_start_matches("-h, ");
        let name = line.strip_prefix("--")?;
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        Some(name[..end.unwrap_or(name.len())].to_owned())
    });
    let mut found: Vec<String> = long.filter(|flag| flag != "help").collect();
    found.sort();
    found
}

#[test]
fn each_command_takes_the_flags_that_it_uses_and_no_others() {
    let run = [
        "listen",
        "upstream",
        "upstream-tls",
        "guard",
        "max-clients",
        "mode",
        "admin",
        "warm",
        "log-format",
        "log-level",
    ];
    let check = [
        "listen",
        "upstream",
        "upstream-tls",
        "guard",
        "max-clients",
        "mode",
        "admin",
        "noded-defaults",
        "offline",
        "quiet",
        "json",
    ];
    let node = [
        "config",
        "apply",
        "wait",
        "now",
        "noded-defaults",
        "daemon-util",
        "undo-dir",
        "hooks-dir",
        "hooks-from",
        "import-export",
        "moves",
    ];
    let install = ["socket", "hooks", "cluster", "mode", "candidate-certs"];
    let table: [(&[&str], Vec<&str>); 14] = [
        (&["install"], [&node[..], &install].concat()),
        (
            &["certs", "distribute"],
            ["config", "changed", "hook", "turns"].into(),
        ),
        (&["certs", "accept"], ["config"].into()),
        (&["uninstall"], [&node[..], &["cluster"]].concat()),
        (&["run"], [&TRUST[..], &run].concat()),
        (&["check"], [&TRUST[..], &check].concat()),
        (
            &["explain"],
            [&TRUST[..], &["peer", "mode", "admin"]].concat(),
        ),
        (
            &["certs", "list"],
            [&TRUST[..], &["files", "json", "admin"]].concat(),
        ),
        (&["status"], vec!["admin", "config", "json", "watch"]),
        (&["reset"], vec!["config", "state-dir", "force"]),
        (
            &["hook"],
            vec![
                "config",
                "state-dir",
                "admin",
                "upstream",
                "upstream-tls",
                "guard",
                "max-clients",
            ],
        ),
        (
            &["verify"],
            vec![
                "root",
                "cluster",
                "timeout",
                "json",
                "nagios",
                "hook",
                "metrics",
                "config",
                "state-dir",
                "admin",
                "upstream",
                "upstream-tls",
                "guard",
                "max-clients",
            ],
        ),
        (&["demo"], vec!["keep"]),
        (&["digest"], vec![]),
    ];
    for (command, mut expected) in table {
        expected.sort_unstable();
        assert_eq!(flags(command), expected, "{command:?}");
    }
}

#[test]
fn the_list_of_commands_fits_a_terminal() {
    let help = stdout(&["-h"]);
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn every_command_and_the_configuration_have_a_man_page_without_faults() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&["man", "--dir", dir.path().to_str().unwrap()]);
    let help = stdout(&["-h"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 9, "{commands:?}");
    for command in commands {
        let page = dir.path().join(format!("noded-proxy-{command}.8"));
        assert!(page.exists(), "{}", page.display());
    }
    assert!(dir.path().join("noded-proxy-certs-list.8").exists());
    for page in fs::read_dir(dir.path()).unwrap() {
        let page = page.unwrap().path();
        let output = Command::new("groff")
            .args(["-man", "-ww", "-Tutf8", "-Kutf8", "-z"])
            .arg(&page)
            .output()
            .unwrap();
        let faults = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && faults.is_empty(),
            "{}: {faults}",
            page.display()
        );
    }
}

#[test]
fn the_page_of_the_configuration_names_every_key_of_the_sample() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&["man", "--dir", dir.path().to_str().unwrap()]);
    let page = fs::read_to_string(dir.path().join("noded-proxy.toml.5")).unwrap();
    let page = page.replace("\\-", "-").replace("\\_", "_");
    let sample = include_str!("../../config/noded-proxy.toml");
    let keys = sample.lines().filter_map(|line| {
        let (key, _) = line.strip_prefix('#')?.split_once(" = ")?;
        let is_key = |c: char| c.is_ascii_lowercase() || c == '_';
        key.chars().all(is_key).then_some(key)
    });
    let keys: Vec<&str> = keys.collect();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        assert!(
            page.contains(&format!("{key} = ")),
            "{key} is not in\n{page}"
        );
    }
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let output = Command::new(PROGRAM)
        .args(["man", "--dir", "/nonexistent/man"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("--dir /nonexistent/man: "), "{told}");
}

#[test]
fn a_command_ends_quietly_when_its_reader_leaves() {
    for arguments in [&["man"][..], &["completions", "bash"], &["run", "--help"]] {
        assert_ends_quietly_unread(arguments);
    }
}

#[test]
fn the_units_name_man_pages_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&["man", "--dir", dir.path().to_str().unwrap()]);
    let units = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    let mut named = 0;
    for unit in fs::read_dir(units).unwrap() {
        let text = fs::read_to_string(unit.unwrap().path()).unwrap();
        for page in text.split("man:noded-proxy").skip(1) {
            let (name, rest) = page.split_once('(').unwrap();
            let (section, _) = rest.split_once(')').unwrap();
            let page = dir.path().join(format!("noded-proxy{name}.{section}"));
            assert!(page.exists(), "{}", page.display());
            named += 1;
        }
    }
    assert!(named > 0, "no unit names a page");
}

#[test]
fn output_that_is_lost_is_a_failure() {
    for arguments in [&["man"][..], &["completions", "bash"]] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = Command::new(PROGRAM)
            .args(arguments)
            .stdout(full)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{arguments:?}: {told}");
    }
}
