//! What a node has read of itself, on its way to the master: one line, written by the node's own
//! program and read strictly. It is a stranger's text: whoever is root on a node writes what he likes.
//! Nothing is judged here.

use rules::verify::observed::{Authorized, Observed};
use serde::{Deserialize, Serialize};

/// What the line begins with, before its format and the document. Before the line, root's shell may
/// say what it likes.
const BEGIN: &str = "noded-proxy-observed ";
/// The format of the document. Another one is not read.
const FORMAT: u32 = 1;

/// Largest answer that is read: a node of a cluster of a thousand has some 500 KiB to say.
pub const MOST: usize = 4 << 20;

/// Most values of each kind that are judged: more than a node's own program ever reads.
const MOST_FILES: usize = 20_000;
const MOST_LINES: usize = 5000;
const MOST_KEYS: usize = 1000;
/// Most commas, which stand between values: a comma of the answer can be 24 bytes of memory.
const MOST_COMMAS: usize = 200_000;

const TOO_MUCH: &str = "it has more in it than a node has";

/// Why an answer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("no answer")]
    Nothing,
    /// It is that of another version.
    #[error("it answers in format {0}, this one reads {FORMAT}")]
    Format(String),
    /// It cannot be understood.
    #[error("{0}")]
    Garbage(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    observed: T,
}

/// The line that a node prints.
pub fn write(seen: &Observed) -> Result<String, String> {
    let document = serde_json::to_string(&Document { observed: seen });
    let document = document.map_err(|error| error.to_string())?;
    Ok(format!("{BEGIN}{FORMAT} {document}\n"))
}

/// What a node has printed.
pub fn read(text: &[u8]) -> Result<Observed, Refused> {
    let garbage = |why: &str| Refused::Garbage(why.to_owned());
    let text = std::str::from_utf8(text).map_err(|_| garbage("it is no text"))?;
    let mut lines = text.lines().skip_while(|line| !line.starts_with(BEGIN));
    let line = lines.next().ok_or_else(|| match text.trim() {
        "" => Refused::Nothing,
        _ => garbage("it does not begin as it should"),
    })?;
    if lines.next().is_some() {
        return Err(garbage("it goes on behind its end"));
    }
    let (format, document) = line[BEGIN.len()..].split_once(' ').unwrap_or_default();
    if format != FORMAT.to_string() {
        return Err(Refused::Format(format.chars().take(20).collect()));
    }
    if document.bytes().filter(|byte| *byte == b',').count() > MOST_COMMAS {
        return Err(garbage(TOO_MUCH));
    }
    let document: Document<Observed> =
        serde_json::from_str(document).map_err(|error| garbage(&error.to_string()))?;
    within_bounds(document.observed).ok_or_else(|| garbage(TOO_MUCH))
}

/// What is judged by comparing each with each must not be a hundred thousand.
fn within_bounds(seen: Observed) -> Option<Observed> {
    let ssh = &seen.ssh;
    let lines = ssh.authorized.iter().filter_map(|file| file.lines.good());
    let few_lines = lines.map(|lines| lines.keys.iter().map(options).sum::<usize>());
    let fits = seen.files.len() <= MOST_FILES
        && ssh.key_files.len() <= MOST_KEYS
        && seen.certificates.client_backups.len() <= MOST_KEYS
        && seen.certificates.services.len() <= MOST_KEYS
        && few_lines.sum::<usize>() <= MOST_LINES;
    fits.then_some(seen)
}

fn options(one: &Authorized) -> usize {
    1 + one.options.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rules::verify::observed::{File, KeyFile, Seen};

    fn line(text: &str) -> Result<Observed, Refused> {
        read(text.as_bytes())
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_shell_says_before() {
        let mut seen = Observed {
            host: "n2\u{1b}\u{202e}".into(),
            ..Observed::default()
        };
        seen.ssh.directory = "/root/.ssh".into();
        let written = write(&seen).unwrap();
        assert_eq!(written.lines().count(), 1);
        assert_eq!(line(&written), Ok(seen.clone()));
        assert_eq!(line(&format!("Welcome!\n\n{written}")), Ok(seen));
    }

    #[test]
    fn answers_that_are_not_taken_as_a_table() {
        let good = write(&Observed::default()).unwrap();
        let more = good.replace("{\"observed\"", "{\"x\": 1, \"observed\"");
        let deep = format!("{BEGIN}1 {{\"observed\": {{\"x\": {}", "[".repeat(100_000));
        let table = [
            ("", "no answer"),
            (" \n\n", "no answer"),
            ("hello\n", "does not begin"),
            (&*good.replace(" 1 ", " 2 "), "format 2, this one reads 1"),
            (&*good.replace(" 1 ", " "), "format"),
            (&*format!("{good}more\n"), "behind its end"),
            (&*format!("{good}{good}"), "behind its end"),
            (&good[..good.len() - 3], "EOF"),
            (&*more, "unknown field"),
            (&*deep, "EOF"),
        ];
        for (text, why) in table {
            let refused = line(text).unwrap_err().to_string();
            let shown: String = text.chars().take(40).collect();
            assert!(refused.contains(why), "{shown}: {refused}");
        }
        assert!(read(b"\xff").is_err());
    }

    #[test]
    fn more_than_a_node_has_is_not_judged() {
        let mut seen = Observed::default();
        let key = KeyFile {
            path: "/root/.ssh/id_rsa".into(),
            name: "id_rsa".into(),
            private: true,
            of_root: true,
            key: Seen::Absent,
        };
        seen.ssh.key_files = vec![key; MOST_KEYS];
        let written = write(&seen).unwrap();
        assert!(line(&written).is_ok() && written.len() < MOST);
        seen.ssh.key_files.push(seen.ssh.key_files[0].clone());
        assert!(line(&write(&seen).unwrap()).is_err());
        seen.ssh.key_files.clear();
        let file: File = serde_json::from_str(
            r#"{"path": "/x", "purpose": "secret", "mode": 0, "modified": 0,
                "owner": {"id": 0, "name": null, "trusted": true},
                "group": {"id": 0, "name": null, "trusted": true}}"#,
        )
        .unwrap();
        seen.files = vec![file; MOST_FILES + 1];
        assert!(line(&write(&seen).unwrap()).is_err());
        let mut seen = Observed::default();
        seen.lists.nodes = Some(vec![String::new(); MOST_COMMAS + 1]);
        assert!(line(&write(&seen).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), cut in 0usize..400, at in 0usize..400) {
            let _ = read(&bytes);
            let mut line = write(&Observed::default()).unwrap().into_bytes();
            line.truncate(line.len().saturating_sub(cut));
            let at = at.min(line.len());
            line.splice(at..at, bytes);
            let _ = read(&line);
        }
    }
}
