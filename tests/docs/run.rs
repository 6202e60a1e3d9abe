//! Runs the blocks of the texts. Each is one shell of its own, as if pasted; it never reaches
//! outside of its scratch directory (`run=here`) or of the node that it is given (`run=node`).

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::blocks::{Block, Place, missing};
use crate::texts::{ROOT, Text, all};

const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");

/// The command before a node's own ones, e.g. `tests/lab/node exec n1`.
const NODE: &str = "DOCS_NODE";
/// The same for the master of a cluster.
const MASTER: &str = "DOCS_MASTER";
/// What stands in the texts for something of the cluster's, and what it is there: `NODE=n2.lab.example`.
const WORDS: &str = "DOCS_WORDS";

/// One shell that reads the block; what it says on both outputs, together.
fn run(mut shell: Command, block: &Block) -> Result<String, String> {
    let script = format!("exec 2>&1\n{}", block.commands);
    let output = shell.args(["-euo", "pipefail", "-c", &script]).output();
    let Output { status, stdout, .. } = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&stdout).into_owned();
    match missing(block, status.code(), &said) {
        None => Ok(said),
        Some(why) => Err(format!("{why}\n{said}")),
    }
}

fn here(block: &Block, directory: &Path) -> Result<String, String> {
    let program = Path::new(PROGRAM)
        .parent()
        .map(Path::as_os_str)
        .unwrap_or_default();
    let mut path = program.to_owned();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    let mut shell = Command::new("bash");
    shell.current_dir(directory).env("PATH", path);
    match block.place {
        Place::Demo => {
            let demo = Block {
                commands: "noded-proxy demo\n".into(),
                ..block.clone()
            };
            run(shell, &demo)
        }
        _ => run(shell, block),
    }
}

/// Runs the blocks of these texts that belong to a place; those marked `last` at the end.
fn run_all(
    texts: &[Text],
    places: &[Place],
    mut with: impl FnMut(&Block) -> Result<String, String>,
) {
    let mut chosen: Vec<(&Text, Block)> = Vec::new();
    for text in texts {
        let blocks = text.blocks().into_iter();
        chosen.extend(
            blocks
                .filter(|b| places.contains(&b.place))
                .map(|block| (text, block)),
        );
    }
    chosen.sort_by_key(|(_, block)| block.last);
    assert!(
        !chosen.is_empty(),
        "no block is run: are they still marked?"
    );
    let mut faults = String::new();
    for (text, block) in chosen {
        println!("== {}:{}\n{}", text.name, block.line, block.commands);
        match with(&block) {
            Ok(said) => println!("{said}"),
            Err(why) => {
                let _ = writeln!(
                    faults,
                    "{}:{}: {}{why}",
                    text.name, block.line, block.commands
                );
                println!("FAILED: {why}");
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn what_can_run_here_does_what_the_texts_say() {
    let directory = tempfile::tempdir().unwrap();
    // The texts speak of files of the repository by their names in it.
    for name in ["config", "systemd", "prometheus"] {
        let from = Path::new(ROOT).join(name);
        std::os::unix::fs::symlink(from, directory.path().join(name)).unwrap();
    }
    run_all(&all(), &[Place::Here, Place::Demo], |block| {
        here(block, directory.path())
    });
}

#[test]
fn make_demo_runs_the_demo() {
    let makefile = std::fs::read_to_string(Path::new(ROOT).join("Makefile")).unwrap();
    let demo = makefile
        .split("\ndemo:")
        .nth(1)
        .and_then(|rest| rest.lines().nth(1));
    assert_eq!(demo, Some("\t$(CARGO) run --release --locked -- demo"));
}

/// `tests/docs-on-node` calls this with a node that it booted.
#[test]
#[ignore = "needs a node: tests/docs-on-node"]
fn what_runs_on_a_node_does_what_the_texts_say() {
    run_all(&all(), &[Place::Node], |block| {
        run(shell_there(NODE, "/root/noded-proxy"), block)
    });
}

/// The step `docs-master` of `tests/e2e/run` calls this.
#[test]
#[ignore = "needs a cluster: tests/e2e/run"]
fn what_runs_on_the_master_does_what_the_texts_say() {
    let words = std::env::var(WORDS).expect("DOCS_WORDS: the names of the cluster");
    let words = words.split_whitespace().map(|pair| pair.split_once('='));
    let words: Vec<_> = words.map(|pair| pair.expect("WORD=NAME")).collect();
    run_all(&all(), &[Place::Master], |block| {
        let mut commands = block.commands.clone();
        for (word, name) in &words {
            commands = commands.replace(word, name);
        }
        let block = Block {
            commands,
            ..block.clone()
        };
        run(shell_there(MASTER, "/root"), &block)
    });
}

/// The shell of a node, by the command in this variable, in a directory of that node.
fn shell_there(variable: &str, directory: &str) -> Command {
    let command = std::env::var(variable).expect("the command that reaches a node");
    let mut words = command.split_whitespace();
    let mut shell = Command::new(words.next().expect("no command"));
    shell.current_dir(ROOT).args(words);
    shell.args(["env", &format!("--chdir={directory}"), "HOME=/root"]);
    shell.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    shell.arg("bash");
    shell
}

/// A reason that says where a block's commands are run instead is true.
#[test]
fn what_is_run_nowhere_names_a_step_that_there_is() {
    let steps = [
        "run",
        "ssh-distribution.sh",
        "native-units.sh",
        "verify-cluster.sh",
        "transfers.sh",
    ];
    let steps = steps.map(|name| Text::read(&format!("tests/e2e/{name}")).content);
    let mut named = 0;
    for text in all() {
        for block in text.blocks() {
            let Some((_, step)) = block.reason.split_once("the step ") else {
                continue;
            };
            let step = step.split([' ', ',', ';']).next().unwrap_or_default();
            let function = format!("\nstep_{step}()");
            let there = steps.iter().any(|script| script.contains(&function));
            assert!(there, "{}:{}: no step {step:?}", text.name, block.line);
            named += 1;
        }
    }
    assert!(named > 3, "no block names one: are the reasons still so?");
}

#[test]
#[should_panic(expected = "exit status Some(1), expected 0")]
fn a_block_that_fails_is_noticed() {
    let text = Text::of("broken.md", "```sh run=here\nfalse\ntrue\n```\n");
    run_all(&[text], &[Place::Here], |block| here(block, Path::new("/")));
}

#[test]
#[should_panic(expected = "this line does not come, or not in this order: noded-proxy 9.9.9")]
fn a_block_that_says_something_else_is_noticed() {
    let text =
        "```sh run=here\nnoded-proxy --version\n```\n\n```text expect\nnoded-proxy 9.9.9\n```\n";
    let text = Text::of("broken.md", text);
    run_all(&[text], &[Place::Here], |block| here(block, Path::new("/")));
}

#[test]
#[should_panic(expected = "line 1: a sh block without run=")]
fn a_block_that_is_not_marked_is_noticed() {
    let text = Text::of("broken.md", "```sh\ntrue\n```\n");
    run_all(&[text], &[Place::Here], |block| here(block, Path::new("/")));
}

#[test]
#[should_panic(expected = "no block is run")]
fn texts_without_a_block_are_noticed() {
    run_all(&[Text::of("empty.md", "")], &[Place::Here], |_| {
        Ok(String::new())
    });
}
