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
    for name in ["config", "systemd"] {
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
    let node = std::env::var(NODE).expect("DOCS_NODE: the command that reaches a node");
    let mut words = node.split_whitespace();
    let program = words.next().expect("DOCS_NODE is empty");
    let words: Vec<&str> = words.collect();
    run_all(&all(), &[Place::Node], |block| {
        let mut shell = Command::new(program);
        shell.current_dir(ROOT).args(&words).args([
            "env",
            "--chdir=/root/noded-proxy",
            "HOME=/root",
        ]);
        shell
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("bash");
        run(shell, block)
    });
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
