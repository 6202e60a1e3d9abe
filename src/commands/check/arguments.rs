//! How noded is told to start: `NODED_ARGS` in `/etc/default/ganeti`. Pure.

use std::net::IpAddr;
use std::path::Path;

use super::finding::Finding;
use crate::config::UpstreamConfig;

/// noded's own default for `--max-clients`.
const MAX_CLIENTS: usize = 20;

/// What of `NODED_ARGS` matters here. The last of several equal options counts, as in Python's
/// optparse.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct NodedArgs {
    bind: Option<String>,
    port: Option<String>,
    no_ssl: bool,
    max_clients: Option<String>,
}

impl NodedArgs {
    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let (option, attached) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ if word.starts_with('-') && !word.starts_with("--") && word.len() > 2 => word
                    .split_at_checked(2)
                    .map_or((word, None), |(o, v)| (o, Some(v))),
                _ => (word, None),
            };
            let place = match option {
                "-b" | "--bind" => &mut parsed.bind,
                "-p" | "--port" => &mut parsed.port,
                "--max-clients" => &mut parsed.max_clients,
                "--no-ssl" => {
                    parsed.no_ssl = true;
                    continue;
                }
                _ => continue,
            };
            *place = attached.or_else(|| words.next()).map(str::to_owned);
        }
        parsed
    }
}

/// The value of a variable as the shell of Ganeti's `daemon-util` reads it: the last assignment.
fn variable(text: &str, name: &str) -> Option<String> {
    let text = text.replace("\\\n", ""); // continued lines
    let value = |line: &str| {
        let line = line.trim_start_matches([' ', '\t']);
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        Some(word(line.strip_prefix(name)?.strip_prefix('=')?))
    };
    text.split('\n').filter_map(value).next_back()
}

/// The first word of a shell's line, without its quotes.
fn word(line: &str) -> String {
    let (mut word, mut quote) = (String::new(), None);
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match (next, quote) {
            ('\'' | '"', None) => quote = Some(next),
            (next, Some(begun)) if next == begun => quote = None,
            ('\\', None) => word.extend(rest.next()),
            ('\\', Some('"')) => match rest.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                other => {
                    word.push(next);
                    word.extend(other);
                }
            },
            (' ' | '\t' | ';' | '&' | '|' | '<' | '>', None) => break,
            _ => word.push(next),
        }
    }
    word
}

/// Findings on the defaults file. `text`: its content, or why there is none.
pub(super) fn check(
    path: &Path,
    text: Result<&str, &str>,
    upstream: &UpstreamConfig,
) -> Vec<Finding> {
    let (id, name) = ("noded_args", path.display());
    let wanted = wanted(upstream);
    let text = match text {
        Ok(text) => text,
        Err(why) => {
            let text = format!("{name}: {why}: it should say NODED_ARGS=\"{wanted}\"");
            return vec![Finding::warning(id, text)];
        }
    };
    let Some(value) = variable(text, "NODED_ARGS") else {
        let text = format!("{name}: no NODED_ARGS in it: it should say NODED_ARGS=\"{wanted}\"");
        return vec![Finding::warning(id, text)];
    };
    let args = NodedArgs::parse(&value);
    let good = args.bind.as_deref().and_then(|b| b.parse::<IpAddr>().ok())
        == Some(upstream.address.ip())
        && args.port.as_deref().and_then(|p| p.parse().ok()) == Some(upstream.address.port())
        && args.no_ssl != upstream.tls;
    let text = format!("{name}: NODED_ARGS=\"{}\"", value.escape_debug());
    let first = if value.contains('\r') {
        let why = "its lines end with CR LF, and noded gets the CR: make them end with LF";
        Finding::error(id, format!("{text}: {why}"))
    } else if good {
        Finding::ok(id, text)
    } else {
        let key = format!("upstream.address = {}", upstream.address);
        let tls = format!("upstream.tls = {}", upstream.tls);
        let todo = format!("expected \"{wanted}\" for {key}, {tls}; then restart ganeti-noded");
        Finding::warning(id, format!("{text}: {todo}"))
    };
    vec![first, slots(&name.to_string(), &args, upstream.max_clients)]
}

fn wanted(upstream: &UpstreamConfig) -> String {
    let no_ssl = if upstream.tls { "" } else { " --no-ssl" };
    format!(
        "-b {} -p {}{no_ssl}",
        upstream.address.ip(),
        upstream.address.port()
    )
}

/// Beyond its own limit noded stops accepting altogether.
fn slots(name: &str, args: &NodedArgs, ours: usize) -> Finding {
    let id = "noded_max_clients";
    let theirs = match args.max_clients.as_deref().map(str::parse::<usize>) {
        None => MAX_CLIENTS,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            return Finding::warning(id, format!("{name}: --max-clients is not a number"));
        }
    };
    let text = format!("upstream.max_clients = {ours}, noded's --max-clients is {theirs}");
    if ours <= theirs {
        Finding::ok(id, text)
    } else {
        let todo = format!("noded stalls: at most {theirs}, or --max-clients {ours} in {name}");
        Finding::error(id, format!("{text}: {todo}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Error, Ok as Good, Warning};
    use super::*;

    fn verdicts(text: &str, tls: bool, max_clients: usize) -> Vec<(&'static str, Verdict)> {
        let upstream = UpstreamConfig {
            tls,
            max_clients,
            ..UpstreamConfig::default()
        };
        let found = check("f".as_ref(), Ok(text), &upstream);
        found.iter().map(|f| (f.id, f.verdict)).collect()
    }

    #[test]
    fn noded_args_as_a_table() {
        let table = [
            ("NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"", false, Good),
            (
                "NODED_ARGS='--no-ssl -p 298 -b 127.0.0.1 -d'  # moved",
                false,
                Good,
            ),
            ("NODED_ARGS=\"-b127.0.0.1 -p298 --no-ssl\"", false, Good),
            (
                "NODED_ARGS=\"--bind=127.0.0.1 --port 298 --no-ssl\"",
                false,
                Good,
            ),
            (
                "NODED_ARGS=\"\"\nNODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"",
                false,
                Good,
            ),
            ("NODED_ARGS=\"-b 127.0.0.1 -p 298\"", true, Good),
            ("NODED_ARGS=\"-b 127.0.0.1 -p 298\"", false, Warning),
            ("NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"", true, Warning),
            ("NODED_ARGS=\"-b 0.0.0.0 -p 298 --no-ssl\"", false, Warning),
            ("NODED_ARGS=\"-p 298 --no-ssl\"", false, Warning),
            (
                "NODED_ARGS=\"-b 127.0.0.1 -p 1812 --no-ssl\"",
                false,
                Warning,
            ),
            ("NODED_ARGS=\"-b 127.0.0.1 --no-ssl -p\"", false, Warning),
            ("NODED_ARGS=\"\"", false, Warning),
            ("NODED_ARGS=", false, Warning),
            (
                "export NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"",
                false,
                Good,
            ),
            (
                "NODED_ARGS=\"-b 127.0.0.1 \\\n -p 298 --no-ssl\"",
                false,
                Good,
            ),
            (
                "NODED_ARGS=-b\\ 127.0.0.1' -p 298 '--no-ssl; true",
                false,
                Good,
            ),
            // The shell takes the first word, and the rest for a command.
            ("NODED_ARGS=-b 127.0.0.1 -p 298 --no-ssl", false, Warning),
            (
                "NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"\r\n",
                false,
                Error,
            ),
            (
                "# NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"\nRAPI_ARGS=\"\"",
                false,
                Warning,
            ),
            (
                "EXTRA_NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"",
                false,
                Warning,
            ),
        ];
        for (text, tls, expected) in table {
            assert_eq!(
                verdicts(text, tls, 20)[0],
                ("noded_args", expected),
                "{text} tls={tls}"
            );
        }
    }

    #[test]
    fn more_slots_than_noded_has_are_an_error() {
        let line = |more: &str| format!("NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl {more}\"");
        let table = [
            ("", 20, Good),
            ("", 21, Error),
            ("--max-clients 40", 40, Good),
            ("--max-clients=10", 20, Error),
            ("--max-clients x", 20, Warning),
        ];
        for (more, ours, expected) in table {
            let found = verdicts(&line(more), false, ours);
            assert_eq!(found[1], ("noded_max_clients", expected), "{more} {ours}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_warning_that_says_what_it_should_say() {
        let found = check(
            "/f".as_ref(),
            Err("Permission denied"),
            &UpstreamConfig::default(),
        );
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .message
                .contains("NODED_ARGS=\"-b 127.0.0.1 -p 298 --no-ssl\"")
        );
    }
}
