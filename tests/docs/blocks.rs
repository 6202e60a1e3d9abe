//! The code blocks of a Markdown text, and what their info strings ask for. Pure: no file, no
//! process. It never guesses: an info string that it does not know is a fault of the text.

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// Languages whose blocks a reader would paste into a shell.
const SHELLS: [&str; 5] = ["sh", "bash", "shell", "console", "shell-session"];

/// Where a block is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a scratch directory, with the program in PATH, as any user.
    Here,
    /// As `Here`; the block is `make demo`, and the program's `demo` is what that runs.
    Demo,
    /// As root on a booted node of a cluster, in a copy of the repository.
    Node,
    /// As root on the master of a cluster of three nodes that have the package, with that cluster's
    /// names in place of the texts'.
    Master,
    /// Nowhere; the info string says why.
    No,
}

/// A block of shell commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its first line in the text, for messages.
    pub(crate) line: usize,
    pub(crate) place: Place,
    /// Exit status that the commands must have.
    pub(crate) status: i32,
    /// After all other blocks, those of other texts too.
    pub(crate) last: bool,
    pub(crate) commands: String,
    /// Why it is not run; empty if it is.
    pub(crate) reason: String,
    /// Lines that the output must have, in this order; `...` stands for anything.
    pub(crate) expect: Vec<String>,
}

/// The shell blocks of a text, or what is wrong with it, one line for each fault.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, Vec<String>> {
    let (mut found, mut faults) = (Vec::<Block>::new(), Vec::new());
    let mut expects = false; // the block before was one of commands
    let mut code: Option<(usize, String, String)> = None;
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let line = text[..range.start].lines().count() + 1;
                match kind {
                    CodeBlockKind::Fenced(info) => {
                        code = Some((line, info.into_string(), String::new()))
                    }
                    CodeBlockKind::Indented => {
                        faults.push(format!(
                            "line {line}: an indented block: fence it and name its language"
                        ));
                    }
                }
            }
            Event::Text(piece) if code.is_some() => {
                if let Some((_, _, content)) = &mut code {
                    content.push_str(&piece);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                let Some((line, info, content)) = code.take() else {
                    continue;
                };
                let fault = |why: String| format!("line {line}: {why}");
                match read(&info, line, content) {
                    Ok(Code::Commands(block)) => {
                        expects = block.place != Place::No;
                        found.push(block);
                        continue;
                    }
                    Ok(Code::Expect(lines)) => match found.last_mut().filter(|_| expects) {
                        Some(block) => block.expect = lines,
                        None => faults
                            .push(fault("`expect` does not follow a block that is run".into())),
                    },
                    Ok(Code::Other) => {}
                    Err(why) => faults.push(fault(why)),
                }
                expects = false;
            }
            Event::Start(Tag::Heading { .. } | Tag::Table(_)) => expects = false,
            _ => {}
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(faults)
    }
}

enum Code {
    Commands(Block),
    Expect(Vec<String>),
    Other,
}

fn read(info: &str, line: usize, content: String) -> Result<Code, String> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    if language.is_empty() {
        return Err("a block without a language".into());
    }
    if !SHELLS.contains(&language) {
        return match rest.trim() {
            "expect" => Ok(Code::Expect(content.lines().map(str::to_owned).collect())),
            "" => Ok(Code::Other),
            other => Err(format!("{language}: unknown words {other:?}")),
        };
    }
    let mut block = Block {
        line,
        place: Place::No,
        status: 0,
        last: false,
        commands: content,
        reason: String::new(),
        expect: Vec::new(),
    };
    let (mut run, mut reason) = (None, None);
    for (key, value) in attributes(rest)? {
        match (&*key, &*value) {
            ("run", place) => run = Some(place.to_owned()),
            ("reason", why) => reason = Some(why.to_owned()),
            ("status", number) => {
                block.status = number
                    .parse()
                    .map_err(|_| format!("status={number}: no number"))?;
            }
            ("last", "") => block.last = true,
            _ => return Err(format!("unknown attribute {key}={value}")),
        }
    }
    block.place = match run.as_deref() {
        Some("here") => Place::Here,
        Some("demo") if block.commands.trim() == "make demo" => Place::Demo,
        Some("demo") => return Err("run=demo is for `make demo` alone".into()),
        Some("node") => Place::Node,
        Some("master") => Place::Master,
        Some("no") if reason.as_ref().is_some_and(|why| !why.is_empty()) => Place::No,
        Some("no") => return Err("run=no needs a reason=\"...\"".into()),
        Some(other) => {
            return Err(format!(
                "run={other}: expected here, demo, node, master or no"
            ));
        }
        None => return Err(format!("a {language} block without run=")),
    };
    if reason.is_some() && block.place != Place::No {
        return Err("reason= belongs to run=no".into());
    }
    block.reason = reason.unwrap_or_default();
    Ok(Code::Commands(block))
}

/// `key=value`, `key="several words"` and bare words.
fn attributes(mut text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Ok(found);
        }
        let end = text.find([' ', '=']).unwrap_or(text.len());
        let (key, rest) = text.split_at(end);
        let Some(value) = rest.strip_prefix('=') else {
            found.push((key.into(), String::new()));
            text = rest;
            continue;
        };
        let (value, rest) = match value.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or("a quotation mark is not closed")?,
            None => value.split_at(value.find(' ').unwrap_or(value.len())),
        };
        found.push((key.into(), value.into()));
        text = rest;
    }
}

/// What is missing in the output of a block, if anything is.
pub(crate) fn missing(block: &Block, status: Option<i32>, output: &str) -> Option<String> {
    if status != Some(block.status) {
        return Some(format!("exit status {status:?}, expected {}", block.status));
    }
    let mut lines = output.lines();
    let mut wanted = block.expect.iter().filter(|line| line.trim() != "...");
    wanted
        .find(|line| !lines.any(|said| fits(line.trim_end(), said.trim_end())))
        .map(|line| format!("this line does not come, or not in this order: {line}"))
}

/// Whether a line is as expected, where `...` stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else {
        return pattern == line;
    };
    let Some(mut line) = line.strip_prefix(start) else {
        return false;
    };
    let mut rest = rest;
    while let Some((middle, after)) = rest.split_once("...") {
        let Some(at) = line.find(middle) else {
            return false;
        };
        line = &line[at + middle.len()..];
        rest = after;
    }
    line.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        blocks(text).unwrap_err().join("\n")
    }

    #[test]
    fn a_block_is_read_with_what_it_expects() {
        let text = "# T\n\n```sh run=node status=7 last\nfalse\n```\n\nsays:\n\n\
                    ```text expect\na ... c\n```\n";
        let expected = Block {
            line: 3,
            place: Place::Node,
            status: 7,
            last: true,
            commands: "false\n".into(),
            reason: String::new(),
            expect: vec!["a ... c".into()],
        };
        assert_eq!(blocks(text), Ok(vec![expected]));
    }

    #[test]
    fn other_languages_are_left_alone() {
        assert_eq!(
            blocks("```toml\na = 1\n```\n\n```text\n$ x\n```\n"),
            Ok(vec![])
        );
    }

    #[test]
    fn faults_of_a_text_as_a_table() {
        for (text, expected) in [
            ("```sh\nx\n```", "line 1: a sh block without run="),
            (
                "t\n\n```console\nx\n```",
                "line 3: a console block without run=",
            ),
            ("```sh run=there\nx\n```", "run=there: expected"),
            ("```sh run=no\nx\n```", "run=no needs a reason"),
            ("```sh run=no reason=\"\"\nx\n```", "run=no needs a reason"),
            ("```sh run=no reason=\"a b\nx\n```", "not closed"),
            (
                "```sh run=here reason=x\nx\n```",
                "reason= belongs to run=no",
            ),
            (
                "```sh run=here stauts=1\nx\n```",
                "unknown attribute stauts=1",
            ),
            ("```sh run=here status=x\nx\n```", "status=x: no number"),
            ("```sh run=demo\nmake test\n```", "run=demo is for"),
            ("```\nx\n```", "a block without a language"),
            ("t\n\n    make it\n", "an indented block"),
            ("```text expected\nx\n```", "unknown words"),
            ("```text expect\nx\n```", "does not follow"),
            (
                "```sh run=no reason=x\nx\n```\n\n```text expect\nx\n```",
                "does not follow",
            ),
        ] {
            let said = fault(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn what_does_not_come_is_missed() {
        let text = "```sh run=here\nx\n```\n\n```text expect\none\n...\nt...o\n```\n";
        let block = &blocks(text).unwrap()[0];
        assert_eq!(missing(block, Some(0), "zero\none\nother\ntwo\n"), None);
        assert!(
            missing(block, Some(0), "one\n")
                .unwrap()
                .ends_with(": t...o")
        );
        assert!(
            missing(block, Some(0), "two\none\n")
                .unwrap()
                .ends_with(": t...o")
        );
        assert!(
            missing(block, Some(1), "one\ntwo\n")
                .unwrap()
                .contains("exit status")
        );
        assert!(
            missing(block, None, "one\ntwo\n")
                .unwrap()
                .contains("exit status")
        );
    }

    #[test]
    fn wild_cards_as_a_table() {
        for (pattern, line, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("...", "anything", true),
            ("a...", "ab", true),
            ("...b", "ab", true),
            ("a...a", "a", false),
            ("a...c...e", "abcde", true),
            ("a...c...e", "abde", false),
        ] {
            assert_eq!(fits(pattern, line), expected, "{pattern} {line}");
        }
    }
}
