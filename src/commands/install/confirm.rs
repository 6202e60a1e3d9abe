//! Asks the shell that Ganeti's `daemon-util` is written for what it reads in its defaults file,
//! before that file is changed. It only reads: nothing is written, and what the file does is what
//! `daemon-util` has it do at each call.

use std::process::Command;

use crate::commands::program::{ASKED, run};

/// Reads the file as `daemon-util` does; the value, then all variables.
const SCRIPT: &str = "NODED_ARGS=; . /dev/stdin >/dev/null 2>&1; \
                      printf '%s\\0' \"$NODED_ARGS\"; unset NODED_ARGS; declare -p";

/// Variables that differ from run to run.
const VOLATILE: [&str; 8] = [
    "BASH",
    "EPOCH",
    "RANDOM",
    "SECONDS",
    "SRANDOM",
    "PPID",
    "LINENO",
    "PIPESTATUS",
];

/// What the shell has then.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    value: Vec<u8>,
    others: Vec<u8>,
}

/// Whether the shell reads these values in the old and in the new text, and everything else alike. A
/// value that only the shell finds in the old one would be lost, and no way would lead back to it.
pub(super) fn confirm(old: (&[u8], &str), new: (&[u8], &str)) -> Result<(), String> {
    let (before, after) = (read(old.0)?, read(new.0)?);
    for (found, (_, value), verb) in [(&before, old, "reads"), (&after, new, "would read")] {
        if found.value != value.as_bytes() {
            let told = String::from_utf8_lossy(&found.value);
            return Err(format!(
                "the shell {verb} {told:?} in it: NODED_ARGS is set in a way that cannot be followed"
            ));
        }
    }
    match before.others == after.others {
        true => Ok(()),
        false => Err("other variables would change with NODED_ARGS".into()),
    }
}

fn read(text: &[u8]) -> Result<Read, String> {
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", SCRIPT])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let said = run(&mut bash, text, ASKED)?.out;
    let end = said.iter().position(|byte| *byte == 0);
    let end = end.ok_or("it ends the shell that reads it")?;
    let others = said[end + 1..].split(|byte| *byte == b'\n');
    let steady = others.filter(|line| !is_volatile(line));
    Ok(Read {
        value: said[..end].to_vec(),
        others: steady.collect::<Vec<_>>().join(&b'\n'),
    })
}

fn is_volatile(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let name = line.split(' ').nth(2).unwrap_or_default();
    name.starts_with("_=") || VOLATILE.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::confirm;

    #[test]
    fn the_shell_has_the_last_word() {
        let table = [
            ("NODED_ARGS=\n", "NODED_ARGS=1\n", Ok(())),
            ("X=1\nNODED_ARGS=\n", "X=2\nNODED_ARGS=1\n", Err("other")),
            ("", "false && NODED_ARGS=1\n", Err("would read \"\"")),
            ("", "NODED_ARGS=1\n. /nonexistent\n", Ok(())),
            ("", "NODED_ARGS=1\nexit 0\n", Err("ends the shell")),
            ("", "if false; then NODED_ARGS=1; fi\n", Err("would read")),
            (
                "NODED_\\\nARGS=-d\n",
                "NODED_\\\nARGS=-d\nNODED_ARGS=1\n",
                Err("reads \"-d\""),
            ),
        ];
        for (old, new, expected) in table {
            match (
                confirm((old.as_bytes(), ""), (new.as_bytes(), "1")),
                expected,
            ) {
                (Ok(()), Ok(())) => {}
                (Err(why), Err(word)) => assert!(why.contains(word), "{new}: {why}"),
                (found, _) => panic!("{new}: {found:?}"),
            }
        }
    }
}
