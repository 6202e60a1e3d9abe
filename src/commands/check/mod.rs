//! `noded-proxy check`: everything that can be found wrong before a start.
//!
//! `files`, `ports` and `noded` look; what they saw goes as plain values to `certificates`, `map`,
//! `arguments` and to the small judges beside them, which are pure. The ids of the findings are an
//! interface. Nothing here changes a file, and noded is asked for nothing but its version.

mod arguments;
mod certificates;
mod files;
mod finding;
mod issuer;
mod loopback;
mod map;
mod noded;
mod ports;
mod ssconf;
mod transfers;
mod unit;

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::table::{Table, terminal_width};
use crate::commands::as_nobody;
use crate::commands::cli::CheckArgs;
use crate::commands::exit;
use crate::config::{Config, DEFAULT_FILE, Problem};
use crate::daemon::report::words::count;
use crate::node::sockets::{self, Listener};
use crate::proxy::upstream::{GuardWatch, read_guard};
use files::Files;
use rules::guard::Missing;
use tokio::runtime::Runtime;

pub use finding::{Finding, Verdict};

/// `noded-proxy check`, to the exit status: 0 no error, 1 some error, 64 wrong configuration.
pub fn main(args: &CheckArgs) -> ExitCode {
    let config = match Config::load(&args.admission.file, &args.overrides()) {
        Ok(config) => config,
        Err(problems) => return wrong_configuration(args, &problems),
    };
    let mut findings = vec![configuration(args)];
    findings.extend(look(&config, &args.noded_defaults, args.offline));
    show(args, &findings);
    let good = findings.iter().all(|f| f.verdict < Verdict::Error);
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All findings. `offline`: no port is tried, and nobody asked.
pub(super) fn look(config: &Config, noded_defaults: &Path, offline: bool) -> Vec<Finding> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64);
    let files = Files::read(config, noded_defaults);
    let mut findings = files.judge(config, now);
    findings.extend(issuer::check(config));
    findings.extend(unit::check(config));
    findings.extend(transfers::check());
    if !offline {
        match online(config, &files) {
            Ok(more) => findings.extend(more),
            Err(error) => findings.push(Finding::error("ports", format!("cannot look: {error}"))),
        }
    }
    findings
}

fn configuration(args: &CheckArgs) -> Finding {
    let files = args.admission.file.all();
    let names: Vec<String> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let text = match names.is_empty() {
        true => format!("defaults and flags ({DEFAULT_FILE} is absent)"),
        false => names.join(", "),
    };
    Finding::ok("configuration", text)
}

/// The same lines as those of `run`.
fn wrong_configuration(args: &CheckArgs, problems: &[Problem]) -> ExitCode {
    if args.json {
        let error = |problem: &Problem| Finding::error("configuration", problem.to_string());
        show(args, &problems.iter().map(error).collect::<Vec<_>>());
        return ExitCode::from(exit::USAGE);
    }
    exit::wrong_configuration(problems)
}

/// What needs other processes: the ports, and noded.
fn online(config: &Config, files: &Files) -> std::io::Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listeners = sockets::listeners().ok();
    let mut findings = ports::check(config, &listeners, &runtime);
    findings.extend(upstream(config, files, listeners.as_deref(), &runtime));
    Ok(findings)
}

/// noded: whose its port is, whether it answers, and whom the guard keeps out.
fn upstream(
    config: &Config,
    files: &Files,
    listeners: Option<&[Listener]>,
    runtime: &Runtime,
) -> Vec<Finding> {
    let (mut findings, stranger) = noded_s_port(config, listeners);
    if stranger {
        return findings; // he is asked nothing
    }
    let (more, reached) = noded::check(config, files, runtime);
    findings.extend(more);
    findings.extend(reached.then(|| kept_out(config)).flatten());
    findings
}

/// Whether noded can be reached past the proxy, as it is seen from outside of the proxy.
pub(super) fn past_the_proxy(config: &Config) -> Vec<Finding> {
    let listeners = sockets::listeners().ok();
    let (mut findings, stranger) = noded_s_port(config, listeners.as_deref());
    if !stranger {
        findings.extend(kept_out(config));
    }
    findings
}

/// From where noded's port is reached, whose it is, and whether its guard says that it holds. And
/// whether a stranger has it.
fn noded_s_port(config: &Config, listeners: Option<&[Listener]>) -> (Vec<Finding>, bool) {
    let (address, plain) = (config.upstream.address, !config.upstream.tls);
    let watch = config.guard_watch();
    let mut findings = vec![loopback::exposure(address, plain, listeners)];
    let owner = listeners.and_then(|all| loopback::owner(address, all, sockets::trusted()));
    let stranger = owner.as_ref().is_some_and(|o| o.verdict == Verdict::Error);
    findings.extend(owner);
    let said = match &watch {
        GuardWatch::Says(path) => read_guard(path, address.port()),
        GuardWatch::NotNeeded | GuardWatch::Off => Err(Missing::Silent),
    };
    findings.extend(loopback::guard(address, &watch, said));
    (findings, stranger)
}

/// Tries noded's port as nobody, where noded speaks to whoever can connect.
fn kept_out(config: &Config) -> Option<Finding> {
    let address = config.upstream.address;
    let plain = !config.upstream.tls;
    plain.then(|| loopback::kept_out(address, &config.guard_watch(), &as_nobody::connect(address)))
}

fn show(args: &CheckArgs, findings: &[Finding]) {
    let all = findings.len();
    let of = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let (errors, warnings) = (of(Verdict::Error), of(Verdict::Warning));
    if args.json {
        outln!(
            "{:#}",
            serde_json::json!({ "ok": errors == 0, "checks": findings })
        );
        return;
    }
    let shown = |found: &&Finding| !args.quiet || found.verdict > Verdict::Ok;
    let shown: Vec<Finding> = findings.iter().filter(shown).cloned().collect();
    out!("{}", render(&shown, terminal_width()));
    if !args.quiet || !shown.is_empty() {
        let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
        outln!("{}, {errors}, {warnings}", count(all, "check"));
    }
}

/// One line for each finding; on a terminal of `width` columns, columns whose messages wrap.
fn render(findings: &[Finding], width: Option<u16>) -> String {
    let Some(width) = width else {
        let line = |found: &Finding| {
            let (id, message) = (found.id, &found.message);
            format!("{:<8} {id}: {message}\n", found.verdict.name())
        };
        return findings.iter().map(line).collect();
    };
    let mut table = Table::new();
    for Finding {
        id,
        verdict,
        message,
    } in findings
    {
        table.row([verdict.name(), id, message]);
    }
    table.render(Some(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_wraps_on_a_terminal() {
        let findings = [
            Finding::ok("listen", "listen = [::]:1811: the port is free"),
            Finding::warning("admission", "nobody is admitted"),
        ];
        let lines = "ok       listen: listen = [::]:1811: the port is free\n\
                     warning  admission: nobody is admitted\n";
        assert_eq!(render(&findings, None), lines);
        let columns = "ok      listen    listen = [::]:1811:\n                  \
                       the port is free\nwarning admission nobody is admitted\n";
        assert_eq!(render(&findings, Some(40)), columns);
    }
}
