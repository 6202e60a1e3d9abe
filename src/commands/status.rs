//! `noded-proxy status`: what a running proxy knows, for people.
//!
//! It shows what the proxy said and asks nobody else: no file is read, nothing is judged again.

use std::process::ExitCode;

use super::admin_client::{self, Error};
use super::table::{Table, terminal_width};
use super::watch;
use crate::commands::cli::StatusArgs;
use crate::commands::exit;
use crate::config::Config;
use crate::daemon::report::words::{self, count};
use crate::daemon::report::{Phase, Report, times};
use crate::proxy::refusals::RefusalRecord;
use crate::trust::now;
use rules::Named;
use rules::authz::Mode;

/// Exit status 0 when the proxy is ready and nobody needs to look after it, 1 otherwise, 64 for a
/// wrong configuration.
pub fn main(args: &StatusArgs) -> ExitCode {
    let config = match Config::load(&args.file, &[&args.admin]) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    if args.watch {
        return watch::main(&config);
    }
    match show(&config, args.json) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            errln!("noded-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the report; true if all is well.
fn show(config: &Config, json: bool) -> Result<bool, Error> {
    let answer = admin_client::get(&config.admin_to_ask(), &config.state_dir, "/status")?;
    let report: Report = match answer.read() {
        Err(error @ Error::OtherVersion { .. }) if json => {
            out!("{}", answer.text()); // programs may understand what this one does not
            return Err(error);
        }
        read => read?,
    };
    if json {
        out!("{}", answer.text());
    } else {
        out!("{}", render(&report, now(), terminal_width()));
    }
    Ok(report.health.is_good())
}

/// The report as text, `width` columns wide if that is given.
fn render(report: &Report, now: i64, width: Option<u16>) -> String {
    let Report { version, host, .. } = report;
    let up = times::span(report.uptime_seconds);
    let mut facts = Table::new();
    health(&mut facts, report);
    admission(&mut facts, report, now);
    traffic(&mut facts, report);
    let mut refusals = Table::new();
    for refusal in &report.last_refusals {
        refused(&mut refusals, refusal, now);
    }
    let facts = facts.render(width);
    let refusals = refusals.render(None); // a digest that is broken into lines cannot be copied
    format!("noded-proxy {version} on {host}, up {up}\n{facts}{refusals}")
}

fn health(table: &mut Table, report: &Report) {
    let (health, at) = (&report.health, &report.listening);
    let at = list(at.iter().map(ToString::to_string));
    table.row(["ready:", &format!("{} (listening on {at})", health.ready)]);
    table.row(["degraded:", &health.degraded.to_string()]);
    for old in &report.handover.predecessors {
        table.row(["replaced:", &words::replaced(old)]);
    }
    if let Some(failed) = words::failed_reload(report) {
        table.row(["last reload:", &failed]);
    }
    for reason in &health.reasons {
        table.row(["reason:", reason]);
    }
}

/// Who is admitted, by which certificates, and what clients are told.
fn admission(table: &mut Table, report: &Report, now: i64) {
    let admission = &report.admission;
    let why = match admission.phase {
        Phase::Nobody { why } => format!(": {why}"),
        Phase::Listed | Phase::Bootstrap => String::new(),
    };
    let phase = format!(
        "{}{why}, {}, map file {}, read {}",
        admission.phase.name(),
        count(admission.entries, "entry"),
        admission.map_file.name(),
        times::ago(admission.map_age_seconds)
    );
    table.row(["admission:", &phase]);
    let mode = match report.mode {
        Mode::Audit => "AUDIT: every certificate of this cluster is admitted",
        Mode::Enforce => "enforce",
    };
    table.row(["mode:", mode]);
    if let Some(policy) = report.policy {
        table.row(["policy:", &policy.line()]);
    }
    if let Some(names) = &report.client_ca_list {
        let missing = count(names.certificates_not_known, "certificate");
        let text = format!("{}, {missing} of candidates not known", names.state.name());
        table.row(["CA list:", &text]);
    }
    let server = match &report.server_pem {
        None => "none in force".into(),
        Some(server) => format!(
            "{}, {}, clients are shown {}",
            server.digest,
            times::expiry(server.not_after, now),
            server.shown_to_clients.name()
        ),
    };
    table.row(["server.pem:", &server]);
    for certificate in &report.certificates_used_by_another_node {
        let nodes = list(certificate.seen.nodes.iter().map(ToString::to_string));
        let text = format!("certificate {} is used by {nodes}", certificate.digest);
        table.row(["WARNING:", &text]);
    }
}

/// Connections of clients, and those to noded.
fn traffic(table: &mut Table, report: &Report) {
    let (open, handshakes) = (report.connections.open, report.connections.handshakes);
    let clients = format!("{open} open, {handshakes} in handshake");
    table.row(["connections:", &clients]);
    let noded = &report.upstream;
    let (at, slots, waiting) = (noded.address, words::slots(report), noded.waiting);
    table.row(["noded:", &format!("{at}, {slots}, {waiting} waiting")]);
    if let Some(guard) = noded.guard {
        table.row(["guard:", guard.name()]);
    }
}

fn refused(table: &mut Table, refusal: &RefusalRecord, now: i64) {
    let digest = refusal.digest.map(|digest| digest.to_string());
    let audit = match refusal.admitted_by_audit {
        true => " (admitted in audit mode)",
        false => "",
    };
    table.row([
        "refused:",
        &times::relative(i64::try_from(refusal.time).unwrap_or(i64::MAX), now),
        &refusal.peer.to_string(),
        &format!("{}{audit}", refusal.reason.name()),
        refusal.common_name.as_deref().unwrap_or("-"),
        digest.as_deref().unwrap_or("-"),
    ]);
}

/// `a, b`, or `-` for none.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.is_empty() {
        true => "-".into(),
        false => items.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::report::example;
    use rules::admission::Nobody;

    #[test]
    fn a_report_as_text() {
        let text = "\
noded-proxy 0.1.0 on node1.example.com, up 2 days
ready:       true (listening on [::]:1811)
degraded:    true
reason:      AUDIT MODE: every certificate of this cluster is admitted
admission:   listed, 3 entries, map file listed, read 7 s ago
mode:        AUDIT: every certificate of this cluster is admitted
policy:      enforce, rules: 1 for nobody, 2 for the master alone; refused: 5
CA list:     incomplete, 1 certificate of candidates not known
server.pem:  01:01:01:01:01:01:01:01:01:01:01:01:01:01:01:01:01:01:01:01, \
expires 2031-11-25 (in 5 years), clients are shown ecdsa
connections: 4 open, 1 in handshake
noded:       127.0.0.1:298, 2 of 20 slots in use (1 warm), 0 waiting
guard:       holds
refused: 3 min ago 192.0.2.9:40000 unknown_digest node9 \
02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02
";
        assert_eq!(render(&example::report(), example::NOW, None), text);
    }

    #[test]
    fn what_is_not_there_is_said_in_words() {
        let mut report = example::report();
        report.admission.map_age_seconds = None;
        (report.server_pem, report.client_ca_list) = (None, None);
        report.listening.clear();
        let text = render(&report, example::NOW, None);
        for line in ["listening on -", "read never", "server.pem:  none in force"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(
            !text.contains("null") && !text.contains("CA list"),
            "{text}"
        );
    }

    #[test]
    fn who_admits_nobody_says_why() {
        let mut report = example::report();
        let why = Nobody::NoGoodMap;
        report.admission.phase = Phase::Nobody { why };
        report.policy = None; // an older proxy
        let text = render(&report, example::NOW, None);
        let line = "admission:   nobody: the candidate map is faulty and no good one is known, ";
        assert!(text.contains(line) && !text.contains("policy:"), "{text}");
    }

    #[test]
    fn a_terminal_gets_no_line_that_is_too_long() {
        let text = render(&example::report(), example::NOW, Some(72));
        let first = text.lines().next().unwrap();
        assert_eq!(first, "noded-proxy 0.1.0 on node1.example.com, up 2 days");
        let mut facts = text.lines().filter(|line| !line.starts_with("refused:"));
        assert!(facts.all(|line| line.chars().count() <= 72), "{text}");
    }
}
