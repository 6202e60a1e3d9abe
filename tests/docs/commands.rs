//! The program has every command and flag that a text names: in the documents, and in what the program,
//! its hooks, its package and its alerts say. Blocks that are run show more; this is for the rest.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use noded_proxy::commands::cli::Cli;

use crate::texts::{ROOT, all, others};

/// Where the program, and what is installed with it, have their words.
const PLACES: [&str; 8] = [
    "src",
    "rules/src",
    "config",
    "hooks",
    "package",
    "prometheus",
    "systemd",
    "docs/ansible",
];

const NAME: &str = "noded-proxy ";

/// Commands of the program between backticks, as words; up to what a shell takes for itself.
fn named(text: &str) -> Vec<Vec<&str>> {
    let spans = text.split('`').skip(1).step_by(2);
    let commands = spans.filter_map(|span| span.trim().strip_prefix(NAME));
    commands
        .filter(|command| !command.contains(", version 1")) // first lines of files
        .map(|command| {
            let end = command.find(['|', ';', '&', '>', '\n']);
            let command = &command[..end.unwrap_or(command.len())];
            command.split_whitespace().collect()
        })
        .collect()
}

/// What the program does not know of these words.
fn fault(words: &[&str]) -> Option<String> {
    let mut command: &Command = &Cli::command();
    let mut rest = words.iter();
    for word in rest.by_ref() {
        match command.find_subcommand(word) {
            Some(found) => command = &*Box::leak(Box::new(found.clone())),
            None if command.has_subcommands() && *word != "help" && !word.starts_with("--") => {
                return Some(format!("no command {word}"));
            }
            None => {
                rest = words[words.iter().position(|one| one == word)?..].iter();
                break;
            }
        }
    }
    let flags = rest.filter_map(|word| word.strip_prefix("--"));
    let names = flags.map(|flag| flag.split(['=', ',', '.']).next().unwrap_or_default());
    names
        .filter(|name| !name.is_empty() && !["help", "version"].contains(name))
        .find(|name| {
            let mut known = command.get_arguments().filter_map(|arg| arg.get_long());
            !known.any(|long| long == *name)
        })
        .map(|name| format!("no flag --{name}"))
}

fn faults(name: &str, text: &str) -> Vec<String> {
    // A line of a string that goes on.
    let parts = text.split("\\\n").enumerate();
    let whole: String = parts.fold(String::new(), |all, (at, part)| match at {
        0 => part.to_owned(),
        _ => all + part.trim_start(),
    });
    let all = named(&whole);
    let told = |words: &Vec<&str>| {
        fault(words).map(|why| format!("{name}: noded-proxy {}: {why}", words.join(" ")))
    };
    all.iter().filter_map(told).collect()
}

/// All files below.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
    found
}

#[test]
fn the_program_has_every_command_that_is_named() {
    let texts = all().into_iter().chain(others());
    let mut texts: Vec<(String, String)> = texts.map(|text| (text.name, text.content)).collect();
    for place in PLACES {
        texts.extend(files(&Path::new(ROOT).join(place)));
    }
    let number: usize = texts.iter().map(|(_, text)| named(text).len()).sum();
    assert!(number > 150, "only {number} were found");
    let faults: Vec<String> = texts
        .iter()
        .flat_map(|(name, text)| faults(name, text))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_is_not_there_is_noticed() {
    for (text, expected) in [
        ("`noded-proxy verify --cluster`", ""),
        ("`noded-proxy certs distribute --changed; echo --no`", ""),
        ("`noded-proxy status | head --no`", ""),
        ("`noded-proxy explain --peer ADDRESS`", ""),
        ("`noded-proxy help run`", ""),
        ("`noded-proxy rollout --apply`", "no command rollout"),
        ("`noded-proxy certs spread`", "no command spread"),
        ("`noded-proxy install --fast`", "no flag --fast"),
        ("`noded-proxy explain CERT --fast`", "no flag --fast"),
        ("`noded-proxy certs list --changed`", "no flag --changed"),
    ] {
        let found = faults("x", text);
        let found = found
            .first()
            .map_or("", |fault| fault.rsplit(": ").next().unwrap());
        assert_eq!(found, expected, "{text}");
    }
}
