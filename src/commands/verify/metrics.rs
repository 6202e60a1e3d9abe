//! The file of `--metrics`, for node_exporter's textfile collector. Nothing else is written.

use std::path::Path;

use super::looked::Looked;
use crate::commands::textfile;
use crate::metrics::Maker;
use rules::Named;
use rules::verify::{Id, Severity};

/// Writes the numbers of a look.
pub(super) fn write(path: &Path, looked: &Looked) -> Result<(), String> {
    replace(path, &text(looked))
}

/// Writes the file.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let told = |error| format!("--metrics {}: {error}", path.display());
    textfile::replace(path, text).map_err(told)
}

fn text(looked: &Looked) -> String {
    let mut maker = Maker::default();
    let at = maker.gauge(
        "verify_timestamp_seconds",
        "When verify looked, in seconds since 1970.",
    );
    let complete = maker.gauge("verify_complete", "1 if verify could look at everything.");
    let findings = maker.gauges::<Id>("verify_findings", "Findings of verify, by id.", "id");
    let severities = maker.gauges::<Severity>(
        "verify_severity",
        "Findings of verify, by severity.",
        "severity",
    );
    at.set(looked.at);
    complete.set(i64::from(looked.unseen.is_empty()));
    for found in &looked.findings {
        findings.of(found.id).inc();
    }
    for severity in Severity::all() {
        let number = looked.count(severity);
        severities
            .of(severity)
            .set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    maker.finish_for_a_file().render()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::looked::tests::looked;
    use super::*;

    /// The metrics of a file, and those that docs/verify.md has for it.
    pub(in super::super) fn assert_told(text: &str, of: &str) {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let found: Vec<_> = types.filter_map(|line| line.split(' ').next()).collect();
        let docs = include_str!("../../../docs/verify.md").lines();
        let rows = docs.filter_map(|row| row.strip_prefix("| `noded_proxy_")?.split_once('`'));
        let rows = rows.filter(|(_, rest)| rest.contains(&format!("| {of} |")));
        let mut told: Vec<_> = rows
            .map(|(name, _)| format!("noded_proxy_{name}"))
            .collect();
        told.sort();
        assert_eq!(found, told, "{of}");
    }

    #[test]
    fn the_documentation_has_each_metric() {
        assert_told(&text(&looked(&[], &[])), "the node");
    }

    #[test]
    fn every_id_has_a_series_and_the_process_has_none() {
        let text = text(&looked(&[Id::SshStranger, Id::SshStranger], &[]));
        for line in [
            "noded_proxy_verify_findings{id=\"ssh_stranger\"} 2",
            "noded_proxy_verify_findings{id=\"client_stolen\"} 0",
            "noded_proxy_verify_severity{severity=\"warning\"} 2",
            "noded_proxy_verify_severity{severity=\"error\"} 0",
            "noded_proxy_verify_complete 1",
            "noded_proxy_verify_timestamp_seconds 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(!text.contains("process_"), "{text}");
    }

    #[test]
    fn the_file_is_replaced_and_can_be_read_by_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verify.prom");
        std::fs::write(&path, "old").unwrap();
        write(&path, &looked(&[], &["/x"])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("noded_proxy_verify_complete 0"), "{text}");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let lost = write(&dir.path().join("no/x.prom"), &looked(&[], &[]));
        assert!(lost.unwrap_err().starts_with("--metrics "));
    }
}
