//! What the texts name exists: tests, functions of files, reasons of refusals.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::texts::{ROOT, Text, all, others};

/// README is read on one screen or two.
const README_LINES: usize = 150;
/// Columns of a line that is neither of a table nor of a block.
const COLUMNS: usize = 100;

fn source(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(ROOT).join(path)).ok()
}

/// Whether a source defines a function of this name; `Type::name` also wants the type's name.
fn defines(source: &str, name: &str) -> bool {
    let (of, name) = name
        .rsplit_once("::")
        .map_or((None, name), |(of, name)| (Some(of), name));
    let function = |end: char| source.contains(&format!("fn {name}{end}"));
    (function('(') || function('<')) && of.is_none_or(|of| source.contains(of))
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Faults of the walks: lines of the form "- `file` `function`: what happens".
fn walk_faults(text: &str) -> (usize, Vec<String>) {
    let walks = text
        .split("\n## ")
        .filter(|section| section.starts_with("The walk "));
    let text = walks.collect::<Vec<_>>().join("\n");
    let (mut steps, mut faults) = (0, Vec::new());
    for line in text
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("- `"))
    {
        let names = quoted(line.split_once(": ").map_or(line, |(step, _)| step));
        let [path, function] = names[..] else {
            faults.push(format!("not \"- `file` `function`: what\": {line}"));
            continue;
        };
        steps += 1;
        match source(path) {
            None => faults.push(format!("there is no {path}: {line}")),
            Some(source) if !defines(&source, function) => {
                faults.push(format!("{path} has no function {function}: {line}"));
            }
            Some(_) => {}
        }
    }
    (steps, faults)
}

#[test]
fn the_walks_of_the_architecture_name_functions_that_exist() {
    let (steps, faults) = walk_faults(&Text::read("docs/development/architecture.md").content);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(
        steps > 30,
        "only {steps} steps: is the form still \"- `file` `function`: what\"?"
    );
}

/// Names of the folders in the drawing of a text, top down.
fn drawn(text: &str) -> Vec<&str> {
    let drawing = text.split("```").nth(1).unwrap_or_default();
    let lines = drawing
        .lines()
        .skip(1)
        .map(|line| line.trim_start_matches("//!"));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn the_architecture_has_the_drawing_of_the_sources() {
    let (text, lib) = ("docs/development/architecture.md", "src/lib.rs");
    let (text, lib) = (source(text).unwrap(), source(lib).unwrap());
    assert!(drawn(&lib).len() > 5, "no drawing in src/lib.rs");
    assert_eq!(drawn(&text), drawn(&lib));
}

#[test]
fn a_step_that_is_lost_is_noticed() {
    let text = "- `no`: not of a walk\n\n## The walk of a test\n\n\
                - `src/main.rs` `main`: good\n- `src/no.rs` `main`: no file\n\
                - `src/main.rs` `no`: no function\n- `src/main.rs`: no function named\n";
    let (steps, faults) = walk_faults(text);
    assert_eq!((steps, faults.len()), (3, 3), "{faults:?}");
}

/// Faults in the threat table: each row's last cell names tests, `module::test` of
/// tests/integration, `file.rs::test`, `step_NAME` of tests/e2e/run, or says in words why there
/// is none.
fn threat_faults(text: &str) -> (usize, Vec<String>) {
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Threats"));
    let rows = section
        .unwrap_or_default()
        .lines()
        .filter(|line| line.starts_with("| "));
    let (mut tests, mut faults) = (0, Vec::new());
    for row in rows.skip(1).filter(|row| !row.starts_with("| ---")) {
        let cell = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let names = quoted(cell);
        if names.is_empty() && !cell.contains("no test") {
            faults.push(format!("names no test: {row}"));
        }
        for name in names {
            tests += 1;
            let exists = match name.rsplit_once("::") {
                Some((module, test)) => {
                    let path = match module.ends_with(".rs") {
                        true => module.to_owned(),
                        false => format!("tests/integration/{}.rs", module.replace("::", "/")),
                    };
                    source(&path).is_some_and(|source| is_test(&source, test))
                }
                None => {
                    source("tests/e2e/run").is_some_and(|run| run.contains(&format!("{name}()")))
                }
            };
            if !exists {
                faults.push(format!("there is no test {name}: {row}"));
            }
        }
    }
    (tests, faults)
}

/// Whether a source has this function with `#[test]` close above it.
fn is_test(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}()")) else {
        return false;
    };
    let above = source[..at].lines().rev();
    above
        .take_while(|line| !line.is_empty() && *line != "}")
        .any(|line| line.trim() == "#[test]")
}

#[test]
fn every_threat_names_a_test_that_exists() {
    let (tests, faults) = threat_faults(&Text::read("docs/security.md").content);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(tests >= 20, "only {tests} tests are named");
}

#[test]
fn a_threat_without_a_test_is_noticed() {
    let text = "# S\n\n## Threats\n\n| who | what | tests |\n| --- | --- | --- |\n\
                | a | b | `guard::only_root_and_the_proxy_reach_noded_while_the_guard_holds` |\n\
                | a | b | `guard::expected` |\n| a | b | `nothing::at_all` |\n\
                | a | b | `step_nothing` |\n| a | b | |\n| a | b | no test: why |\n\n\
                ## Else\n\n| x | y |\n";
    let (tests, faults) = threat_faults(text);
    assert_eq!((tests, faults.len()), (4, 4), "{faults:?}");
}

#[test]
fn the_readme_is_short() {
    let lines = Text::read("README.md").content.lines().count();
    assert!(lines < README_LINES, "README.md has {lines} lines");
}

/// What `cat` shows on a node.
#[test]
fn lines_of_the_sample_configurations_are_not_long() {
    let samples = ["config/noded-proxy.toml", "config/policy-strict.toml"];
    for name in samples {
        for (number, line) in Text::read(name).content.lines().enumerate() {
            let number = number + 1;
            assert!(line.chars().count() <= COLUMNS, "{name}:{number}: {line}");
        }
    }
}

#[test]
fn lines_are_not_long() {
    let mut long = Vec::new();
    for text in all() {
        let mut fenced = false;
        for (number, line) in text.content.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            if !fenced && !line.starts_with(['|', '`']) && line.chars().count() > COLUMNS {
                long.push(format!("{}:{}", text.name, number + 1));
            }
        }
    }
    assert!(
        long.is_empty(),
        "more than {COLUMNS} columns: {}",
        long.join(" ")
    );
}

/// Files and folders of the repository that a text names between backticks, and that do not exist.
fn lost_paths(text: &Text) -> Vec<String> {
    let folders = [
        "src/",
        "rules/",
        "tests/",
        "benches/",
        "config/",
        "systemd/",
        "docs/",
        "fuzz/",
        "prometheus/",
    ];
    let is_path = |name: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        folders.iter().any(|folder| name.starts_with(folder)) && name.chars().all(plain)
    };
    let lines = text.content.lines().flat_map(quoted);
    let paths = lines.flat_map(str::split_whitespace).filter(is_path);
    let lost = paths.filter(|path| !Path::new(ROOT).join(path).exists());
    lost.map(|path| format!("{}: {path}", text.name)).collect()
}

#[test]
fn every_path_that_a_text_names_exists() {
    let lost: Vec<String> = all().iter().chain(&others()).flat_map(lost_paths).collect();
    assert!(
        lost.is_empty(),
        "these are not in the repository:\n{}",
        lost.join("\n")
    );
}

#[test]
fn a_lost_path_is_noticed() {
    let text = "`src/main.rs` `src/no.rs` src/no.rs `tests/lab/no up 3` `src/{a}` `no/x`\n";
    let lost = lost_paths(&Text::of("broken.md", text));
    assert_eq!(lost, ["broken.md: src/no.rs", "broken.md: tests/lab/no"]);
}

#[test]
fn every_module_of_the_integration_tests_stands_in_their_table() {
    let main = source("tests/integration/main.rs").unwrap();
    let modules = main
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let table = |module: &&str| !main.contains(&format!("//! | `{module}` | "));
    let missing: Vec<&str> = modules.filter(table).collect();
    assert!(
        missing.is_empty(),
        "not in the table of tests/integration/main.rs: {missing:?}"
    );
}

/// Values of a label, as the metrics of a running program have them.
fn values(metrics: &str, series: &str, label: &str) -> BTreeSet<String> {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with(&format!("{series}{{")));
    let label = format!("{label}=\"");
    let values = lines.filter_map(|line| line.split(&label).nth(1)?.split('"').next());
    values.map(str::to_owned).collect()
}

/// The metrics of a proxy that runs for a moment.
fn metrics() -> String {
    let program = env!("CARGO_BIN_EXE_noded-proxy");
    let mut demo = Command::new(program);
    let mut demo = demo
        .args(["demo", "--keep"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let url = lines.find_map(|line| {
        line.unwrap()
            .strip_prefix("curl ")
            .filter(|url| url.ends_with("/metrics"))
            .map(str::to_owned)
    });
    let got = Command::new("curl")
        .args(["-fsS", "-m", "5"])
        .args(&url)
        .output()
        .unwrap();
    kill_process(Pid::from_child(&demo), Signal::TERM).unwrap();
    demo.wait().unwrap(); // it removes its keys
    String::from_utf8(got.stdout).unwrap()
}

#[test]
fn every_reason_of_a_refusal_is_told_with_what_to_do() {
    let metrics = metrics();
    let operations = Text::read("docs/operations.md").content;
    let told = |series: &str| -> BTreeSet<String> {
        let sections = operations
            .split("\n### ")
            .filter(|part| part.contains(series));
        let section = sections.last().unwrap_or_default().split("\n## ").next();
        let rows = section.unwrap_or_default().lines();
        let reasons = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        reasons.map(str::to_owned).collect()
    };
    let [connections, requests, noded] = [
        ("noded_proxy_rejected_connections_total", "reason"),
        ("noded_proxy_refused_requests_total", "reason"),
        ("noded_proxy_upstream_errors_total", "kind"),
    ]
    .map(|(series, label)| {
        (
            told(&format!("`{series}`.")),
            values(&metrics, series, label),
        )
    });
    assert!(connections.1.len() > 5, "{metrics}");
    assert_eq!(connections.0, connections.1);
    assert_eq!(noded.0, noded.1);
    // Some reasons are asked for both: these stand in the first table alone.
    let both = connections.0.intersection(&requests.1).cloned();
    assert_eq!(
        requests
            .0
            .iter()
            .cloned()
            .chain(both)
            .collect::<BTreeSet<_>>(),
        requests.1
    );
}
