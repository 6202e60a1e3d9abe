//! How noded is told to start: `NODED_ARGS` in `/etc/default/ganeti`. Pure.

use std::path::Path;

use super::finding::Finding;
use crate::commands::noded_args::{NodedArgs, wanted};
use crate::commands::shell;
use crate::config::UpstreamConfig;

/// noded's own default for `--max-clients`.
const MAX_CLIENTS: usize = 20;

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
    let Some(value) = shell::scan(text.as_bytes(), "NODED_ARGS").last else {
        let text = format!("{name}: no NODED_ARGS in it: it should say NODED_ARGS=\"{wanted}\"");
        return vec![Finding::warning(id, text)];
    };
    let value = value.value;
    let args = NodedArgs::parse(&value);
    let good = args.fit(upstream);
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
