//! `noded-proxy explain`: what would be decided about a certificate now, why, and what to do about
//! it.
//!
//! It decides by the same function as the proxy, on the same files, and never changes one of them.

mod findings;
mod remedy;

use std::net::IpAddr;
use std::process::ExitCode;

use super::admin_client;
use crate::commands::cli::ExplainArgs;
use crate::commands::exit;
use crate::config::{Config, FileArgs};
use crate::daemon::report::{Report, times};
use crate::node::files::read_named;
use crate::proxy::refusals::RefusalRecord;
use crate::tls::{certificates, first_der};
use crate::trust::{Snapshot, now, snapshot_from_files};
use rules::Named;

pub use findings::{Explanation, explain, explain_unreadable, nearest};
pub use remedy::remedy;

/// Exit status 0 when the certificate is admitted, 1 when it is refused or nothing is known of the
/// address, 64 for a wrong configuration.
pub fn main(args: &ExplainArgs) -> ExitCode {
    if args.certificate.is_none() && args.peer.is_none() {
        errln!("noded-proxy: explain needs CERT (a PEM file), or --peer ADDRESS, or both");
        return ExitCode::from(exit::USAGE);
    }
    if args.certificate.is_some() && !args.admission.admin.admin.is_empty() {
        errln!("noded-proxy: --admin is not used: a certificate is judged by the files");
    }
    let config = match Config::load(&args.admission.file, &args.overrides()) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    let snapshot = snapshot_from_files(config.paths(), config.reload_settings(), config.access());
    let done = match (&args.certificate, args.peer) {
        (Some(file), peer) => read_named(file)
            .map_err(|error| error.to_string())
            .and_then(|pem| {
                files(&args.admission.file);
                of_pem(&config, &snapshot, &pem, peer)
            })
            .map_err(|why| format!("{}: {why}", file.display())),
        (None, Some(peer)) => of_address(&config, &snapshot, peer),
        (None, None) => Ok(false), // it was said above
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => exit::failure(why),
    }
}

/// The configuration by which it is judged; nothing where there is no file.
fn files(file: &FileArgs) {
    let names = file.all().into_iter();
    let names: Vec<String> = names.map(|path| path.display().to_string()).collect();
    if !names.is_empty() {
        line("configuration", &names.join(", "));
    }
}

/// Explains the first certificate in PEM text; true if it is admitted.
fn of_pem(
    config: &Config,
    snapshot: &Snapshot,
    pem: &[u8],
    from: Option<IpAddr>,
) -> Result<bool, String> {
    let found = match (certificates(pem), first_der(pem)) {
        (Ok(list), _) => explain(snapshot, config.access(), &list[0], from),
        (Err(why), Some(der)) => explain_unreadable(snapshot, &der, &why.to_string()),
        (Err(why), None) => return Err(why.to_string()),
    };
    line("map file", &config.map_path().display().to_string());
    found.facts.iter().for_each(|(what, text)| line(what, text));
    found.remedies.iter().for_each(|text| line("to do", text));
    Ok(found.admitted)
}

/// Explains the last refusals of an address, as the running proxy remembers them.
fn of_address(config: &Config, snapshot: &Snapshot, peer: IpAddr) -> Result<bool, String> {
    let answer = admin_client::get(&config.admin_to_ask(), &config.state_dir, "/status");
    let report: Report = answer
        .and_then(|answer| answer.read())
        .map_err(|error| error.to_string())?;
    let of_peer = |refusal: &&RefusalRecord| refusal.peer.ip() == peer.to_canonical();
    let refusals: Vec<&RefusalRecord> = report.last_refusals.iter().filter(of_peer).collect();
    if refusals.is_empty() {
        return Err(format!(
            "{peer}: the running proxy remembers no refusal of this address"
        ));
    }
    let now = now();
    for refusal in refusals {
        of_refusal(snapshot, refusal, now);
        outln!();
    }
    Ok(false)
}

fn of_refusal(snapshot: &Snapshot, refusal: &RefusalRecord, now: i64) {
    let at = i64::try_from(refusal.time).unwrap_or(i64::MAX);
    line("when", &times::moment(at, now));
    line("peer", &refusal.peer.to_string());
    let (reason, why) = (refusal.reason.name(), &refusal.why);
    match why.is_empty() {
        true => line("reason", reason),
        false => line("reason", &format!("{reason}: {why}")),
    }
    if refusal.admitted_by_audit {
        let audit = "admitted in audit mode; enforce would refuse it";
        line("decision", audit);
    }
    let name = refusal.common_name.as_deref();
    if let Some(digest) = refusal.digest {
        line("certificate", &format!("CN={}", name.unwrap_or("-")));
        line("digest", &digest.to_string());
    } else {
        line("certificate", "none was shown");
    }
    for near in nearest(snapshot, refusal.digest, name) {
        line("nearest", &near);
    }
    if let Some(procedure) = &refusal.procedure {
        line("procedure", procedure);
    }
    line("to do", remedy(&refusal.reason));
}

fn line(what: &str, text: &str) {
    outln!("{:<15} {text}", format!("{what}:"));
}
