//! The metrics as `docs/metrics.md`, `docs/verify.md` and `docs/moves.md` have them; that these are the
//! program's own is shown by tests of `src/daemon/metrics.rs`, `src/commands/verify/` and
//! `src/commands/moves/`. And what an expression of
//! PromQL names of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::tools::text;

/// Metrics, and the values of their labels, where these are listed.
pub(crate) struct Known {
    names: BTreeSet<String>,
    values: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Known {
    /// What the tables of the documentation have.
    pub(crate) fn read() -> Self {
        let (mut names, mut values) = (BTreeSet::new(), BTreeMap::new());
        let docs = text("docs/metrics.md");
        let (_, tables) = docs.split_once("\n## All metrics\n").unwrap();
        let (metrics, labels) = tables.split_once("\n## Label values\n").unwrap();
        for row in rows(metrics) {
            let name = row[0].to_owned();
            if row[1] == "histogram" {
                names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            }
            names.insert(name);
        }
        for file in ["docs/verify.md", "docs/moves.md"] {
            let text = text(file);
            let of_file = rows(&text).into_iter().map(|row| row[0].to_owned());
            names.extend(of_file.filter(|name| name.starts_with("noded_proxy_")));
        }
        for row in rows(labels) {
            let listed = row[2].split(", ").map(unquoted).map(str::to_owned);
            values.insert((row[0].to_owned(), row[1].to_owned()), listed.collect());
        }
        assert!(
            names.len() > 40 && values.len() > 15,
            "are the tables still there?"
        );
        Self { names, values }
    }

    /// Metrics and label values in an expression that do not exist.
    pub(crate) fn missing(&self, expression: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, matchers) in selectors(expression) {
            let builtin = name == "up" || name.starts_with("process_");
            if !builtin && !self.names.contains(name) {
                missing.push(name.to_owned());
            }
            for (label, value) in matchers {
                let Some(known) = self.values.get(&(name.to_owned(), label.to_owned())) else {
                    continue;
                };
                let wanted = value.split('|').filter(|value| !value.contains(['.', '$']));
                let unknown = wanted.filter(|value| !known.contains(*value));
                missing.extend(unknown.map(|value| format!("{name}{{{label}=\"{value}\"}}")));
            }
        }
        missing
    }
}

/// First, second and last cell of each row that begins with a name in backticks.
fn rows(text: &str) -> Vec<[&str; 3]> {
    let cells = |line| -> Option<[&str; 3]> {
        let line: &str = line;
        let row = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let cells: Vec<&str> = row.split(" | ").collect();
        Some([unquoted(cells[0]), cells[1].trim(), cells[cells.len() - 1]])
    };
    text.lines().filter_map(cells).collect()
}

fn unquoted(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// Our metrics (and `up`) in an expression, each with its matchers as label and value.
fn selectors(expression: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let mut found = Vec::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = expression;
    while let Some(start) = rest.find(word) {
        let end = rest[start..]
            .find(|c| !word(c))
            .map_or(rest.len(), |n| start + n);
        let name = &rest[start..end];
        rest = &rest[end..];
        if name != "up" && !name.starts_with("noded_proxy_") && !name.starts_with("process_") {
            continue;
        }
        let braces = rest
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let (inner, after) = braces.unwrap_or(("", rest));
        rest = after;
        let matcher = |pair| -> Option<(&str, &str)> {
            let (label, value) = str::split_at(pair, str::find(pair, ['=', '!'])?);
            let value = value.trim_start_matches(['=', '!', '~']).trim_matches('"');
            Some((label.trim(), value))
        };
        found.push((name, inner.split(',').filter_map(matcher).collect()));
    }
    found
}

#[test]
fn what_an_expression_names_is_found() {
    let known = Known::read();
    for (expression, missing) in [
        ("up{job=\"x\"} == 0 and noded_proxy_ready == 1", &[][..]),
        ("noded_proxy_redy == 1", &["noded_proxy_redy"]),
        ("rate(noded_proxy_rpc_duration_seconds_bucket[5m])", &[]),
        (
            "noded_proxy_rpc_duration_seconds_total",
            &["noded_proxy_rpc_duration_seconds_total"],
        ),
        (
            "noded_proxy_mode{mode=\"audit\",instance=~\"$instance\"}",
            &[],
        ),
        (
            "noded_proxy_mode{mode!~\"audit|off\"}",
            &["noded_proxy_mode{mode=\"off\"}"],
        ),
        (
            "sum(noded_proxy_guard{state=\"mising\"})",
            &["noded_proxy_guard{state=\"mising\"}"],
        ),
    ] {
        assert_eq!(known.missing(expression), missing, "{expression}");
    }
}
