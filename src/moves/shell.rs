//! The commands that Ganeti puts around a transfer, taken out of the pipeline that they are made
//! for. Pure. Only the forms that Ganeti makes are understood, and nothing is run here.
//!
//! | form | what it is |
//! | --- | --- |
//! | `COMMAND \|` | prefix of an export: its output is sent |
//! | `< FILE` | suffix of an export: the file is sent |
//! | `\| COMMAND` | suffix of an import: it reads what comes |
//! | `> FILE` | suffix of an import: what comes is written there |

use std::path::PathBuf;

/// Where an export's data come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A command of the shell.
    Command(String),
    /// A file.
    File(PathBuf),
}

/// Where an import's data go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A command of the shell.
    Command(String),
    /// A file.
    File(PathBuf),
}

/// Why a text is none of the forms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A prefix ends with one `|`.
    #[error("a prefix is a command and \"|\"")]
    NoPipe,
    /// A suffix begins with a sign.
    #[error("a suffix begins with {0}")]
    NoSign(&'static str),
    /// There is no command.
    #[error("the command is empty")]
    Empty,
    /// The file is not one word of the shell.
    #[error("the file is not one quoted word")]
    Word,
    /// Data can come from one place.
    #[error("there is a prefix already")]
    Twice,
}

impl Source {
    /// Of prefix and suffix of an export; an error with the flag that is wrong.
    pub fn parse(
        prefix: Option<&str>,
        suffix: Option<&str>,
    ) -> Result<Self, (&'static str, Unfit)> {
        match (prefix, suffix) {
            (None, None) => Ok(Self::Stdin),
            (Some(prefix), None) => before(prefix).map_err(|why| ("cmd-prefix", why)),
            (None, Some(suffix)) => from(suffix).map_err(|why| ("cmd-suffix", why)),
            (Some(_), Some(_)) => Err(("cmd-suffix", Unfit::Twice)),
        }
    }
}

impl Sink {
    /// Of the suffix of an import.
    pub fn parse(suffix: Option<&str>) -> Result<Self, Unfit> {
        let Some(suffix) = suffix.map(str::trim) else {
            return Ok(Self::Stdout);
        };
        match suffix.split_at_checked(1) {
            Some((">", file)) => Ok(Self::File(word(file)?)),
            Some(("|", rest)) => Ok(Self::Command(command(rest)?)),
            _ => Err(Unfit::NoSign("\"|\" or \">\"")),
        }
    }
}

fn before(prefix: &str) -> Result<Source, Unfit> {
    let rest = prefix.trim().strip_suffix('|').ok_or(Unfit::NoPipe)?;
    Ok(Source::Command(command(rest)?))
}

fn from(suffix: &str) -> Result<Source, Unfit> {
    let file = suffix.trim().strip_prefix('<');
    let file = file.ok_or(Unfit::NoSign("\"<\""))?;
    Ok(Source::File(word(file)?))
}

/// A command without the sign that joined it to the pipeline; `||`, `|&` are no such sign.
fn command(text: &str) -> Result<String, Unfit> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Unfit::Empty);
    }
    if text.starts_with(['|', '&']) || text.ends_with('|') {
        return Err(Unfit::NoPipe);
    }
    Ok(text.to_owned())
}

/// One word, as Ganeti's `ShellQuote` makes it: plain, or in single quotes, where `'\''` is a quote.
fn word(text: &str) -> Result<PathBuf, Unfit> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.,=:/_+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.into());
    }
    let quoted = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
    let path = quoted.ok_or(Unfit::Word)?.replace("'\\''", "\u{0}");
    if path.is_empty() || path.contains('\'') {
        return Err(Unfit::Word);
    }
    Ok(path.replace('\u{0}', "'").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(text: &str) -> Sink {
        Sink::Command(text.into())
    }

    #[test]
    fn the_suffix_of_an_import_as_a_table() {
        let dd = "dd of=/dev/xenvg/d bs=1048576 oflag=direct conv=notrunc";
        let script = "( cd /srv/os/debian && /srv/os/debian/import; )";
        for (suffix, sink) in [
            (None, Ok(Sink::Stdout)),
            (Some(&*format!("| {dd}")), Ok(to(dd))),
            (Some(&*format!("| {script}")), Ok(to(script))),
            (Some("> /exp/d0"), Ok(Sink::File("/exp/d0".into()))),
            (
                Some("> '/exp/it'\\''s'"),
                Ok(Sink::File("/exp/it's".into())),
            ),
            (Some("> /exp/a b"), Err(Unfit::Word)),
            (Some("> $HOME"), Err(Unfit::Word)),
            (Some("> 'a' 'b'"), Err(Unfit::Word)),
            (Some(">> /exp/d0"), Err(Unfit::Word)),
            (Some("> "), Err(Unfit::Word)),
            (Some("|"), Err(Unfit::Empty)),
            (Some("|| cat"), Err(Unfit::NoPipe)),
            (Some("|& cat"), Err(Unfit::NoPipe)),
            (Some("cat"), Err(Unfit::NoSign("\"|\" or \">\""))),
            (Some(""), Err(Unfit::NoSign("\"|\" or \">\""))),
        ] {
            assert_eq!(Sink::parse(suffix), sink, "{suffix:?}");
        }
    }

    #[test]
    fn the_commands_of_an_export_as_a_table() {
        let of = |text: &str| Source::Command(text.into());
        let bad = |flag, why| Err((flag, why));
        for (prefix, suffix, source) in [
            (None, None, Ok(Source::Stdin)),
            (
                Some("dd if=/dev/d count=1 |"),
                None,
                Ok(of("dd if=/dev/d count=1")),
            ),
            (Some("a | b |"), None, Ok(of("a | b"))),
            (None, Some("< /exp/d0"), Ok(Source::File("/exp/d0".into()))),
            (Some("cat"), None, bad("cmd-prefix", Unfit::NoPipe)),
            (Some("cat ||"), None, bad("cmd-prefix", Unfit::NoPipe)),
            (Some(" |"), None, bad("cmd-prefix", Unfit::Empty)),
            (
                None,
                Some("| cat"),
                bad("cmd-suffix", Unfit::NoSign("\"<\"")),
            ),
            (Some("cat |"), Some("< f"), bad("cmd-suffix", Unfit::Twice)),
        ] {
            assert_eq!(
                Source::parse(prefix, suffix),
                source,
                "{prefix:?} {suffix:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_file_that_ganeti_quotes_comes_back(name in "[^\0]{1,40}") {
            prop_assume!(name.trim() == name);
            let quoted = format!("'{}'", name.replace('\'', "'\\''"));
            prop_assert_eq!(word(&quoted), Ok(name.into()));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Sink::parse(Some(&text));
            let _ = Source::parse(Some(&text), None);
            let _ = Source::parse(None, Some(&text));
        }
    }
}
