//! `noded-proxy hook`: what this node has to say to `gnt-cluster verify`, in one line.
//!
//! What a running proxy knows comes from the proxy. Whether noded can be reached past it is seen
//! from outside, as any user of the node would try it: a proxy cannot vouch for that. Nothing here
//! changes a file.

use std::process::ExitCode;

use super::admin_client;
use super::check::{self, Finding, Verdict};
use crate::commands::proxy_args::ProxyArgs;
use crate::config::Config;
use crate::daemon::report::{Health, Kind, Report};
use rules::shown::ascii_line;

/// Exit status 0 when all is well, 1 otherwise. The line goes to standard output in any case, for
/// Ganeti appends standard error to it without a line break.
pub fn main(args: &ProxyArgs) -> ExitCode {
    let problems = match Config::load(&args.file, &args.overrides()) {
        Ok(config) => {
            let asked = admin_client::get(&config.admin_to_ask(), &config.state_dir, "/status");
            let asked = asked.and_then(|answer| answer.read::<Report>());
            let health = asked.map(|report| report.health);
            let health = health.map_err(|error| error.to_string());
            problems(&health, &check::past_the_proxy(&config))
        }
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    let host = rustix::system::uname();
    outln!("{}", line(&host.nodename().to_string_lossy(), &problems));
    match problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// All that is wrong, each only once: what the proxy says of itself, then what was seen beside it.
fn problems(health: &Result<Health, String>, seen: &[Finding]) -> Vec<String> {
    let mut problems = match health {
        Err(why) => vec![format!("the proxy is down: {why}")],
        Ok(health) if health.ready => Vec::new(),
        Ok(_) => vec!["the RPC port is closed".into()],
    };
    problems.extend(health.iter().flat_map(|health| health.reasons.clone()));
    let told: Vec<Kind> = health.iter().flat_map(Health::kinds).collect();
    problems.extend(unsaid(&told, seen).map(|found| found.message.clone()));
    problems
}

/// What is wrong past the proxy and that it has not told itself.
pub(super) fn unsaid<'a>(
    told: &'a [Kind],
    seen: &'a [Finding],
) -> impl Iterator<Item = &'a Finding> {
    let new = |found: &&Finding| kind(found.id).is_none_or(|kind| !told.contains(&kind));
    seen.iter().filter(|found| is_wrong(found)).filter(new)
}

/// Whoever said that nobody needs to look at the guard still wants nobody to be let in.
fn is_wrong(found: &Finding) -> bool {
    let open = found.id == "loopback_guard" && found.verdict > Verdict::Ok;
    open || found.verdict == Verdict::Error
}

/// By what the proxy itself says the same.
pub(super) fn kind(id: &str) -> Option<Kind> {
    match id {
        "noded_exposure" => Some(Kind::NodedExposed),
        "noded_owner" => Some(Kind::NodedImpersonated),
        "guard" => Some(Kind::GuardMissing),
        _ => None,
    }
}

/// One line of printable ASCII: Ganeti writes line breaks as `\n` and other characters as `\xe9`.
/// It names the node by its UUID alone, so the line begins with the host.
fn line(host: &str, problems: &[String]) -> String {
    let text = match problems {
        [] => format!("{host}: noded-proxy is well"),
        _ => format!("{host}: noded-proxy: {}", problems.join("; ")),
    };
    ascii_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::report::Degraded;

    fn healthy(ready: bool, faults: Vec<Degraded>) -> Result<Health, String> {
        Ok(Health {
            live: true,
            ready,
            degraded: !faults.is_empty(),
            reasons: faults.iter().map(ToString::to_string).collect(),
            faults,
        })
    }

    fn guard_missing() -> Degraded {
        let why = "it does not run".into();
        Degraded::GuardMissing { why }
    }

    #[test]
    fn what_is_wrong_as_a_table() {
        let (open, closed) = ("loopback_guard", Verdict::Ok);
        let found = |id, verdict| Finding {
            id,
            verdict,
            message: format!("[{id}]"),
        };
        let well = [found("noded_exposure", Verdict::Ok), found(open, closed)];
        let off = [found("guard", Verdict::Warning), found(open, closed)];
        let reached = [
            found("guard", Verdict::Warning),
            found(open, Verdict::Warning),
        ];
        let unguarded = [found("guard", Verdict::Error), found(open, Verdict::Error)];
        let exposed = [found("noded_exposure", Verdict::Error)];
        let stranger = [found("noded_owner", Verdict::Error)];
        let audit = || healthy(true, vec![Degraded::AuditMode]);
        let unguarded_by_its_word = || healthy(true, vec![guard_missing()]);
        let down = || Err("nobody answers".into());
        for (health, seen, expected) in [
            (healthy(true, vec![]), &well[..], &[][..]),
            (healthy(true, vec![]), &off, &[]),
            (healthy(true, vec![]), &reached, &["[loopback_guard]"]),
            (healthy(true, vec![]), &exposed, &["[noded_exposure]"]),
            (healthy(true, vec![]), &stranger, &["[noded_owner]"]),
            (healthy(false, vec![]), &well, &["the RPC port is closed"]),
            (audit(), &well, &["AUDIT MODE"]),
            (
                unguarded_by_its_word(),
                &unguarded,
                &["port is missing", "[loopback_guard]"],
            ),
            (down(), &well, &["the proxy is down: nobody"]),
            (
                down(),
                &unguarded,
                &["the proxy is down", "[guard]", "[loopback_guard]"],
            ),
        ] {
            let found = problems(&health, seen);
            let fits = found.iter().zip(expected).all(|(f, e)| f.contains(e));
            assert!(
                fits && found.len() == expected.len(),
                "{found:?}, not {expected:?}"
            );
        }
    }

    #[test]
    fn it_is_one_line_of_ascii_that_begins_with_the_host() {
        assert_eq!(line("n1", &[]), "n1: noded-proxy is well");
        let problems = ["a\nb\u{e9}\u{1b}".into(), "c".into()];
        assert_eq!(line("n1", &problems), "n1: noded-proxy: a b??; c");
    }
}
