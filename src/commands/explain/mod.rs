//! `noded-proxy explain`: what would be decided about a certificate now, why, and what to do about it.

mod findings;

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use crate::commands::certs::date;
use crate::commands::cli::ExplainArgs;
use crate::commands::exit;
use crate::commands::status::get;
use crate::config::Config;
use crate::tls::{CertificateInfo, certificates};
use crate::trust::{Snapshot, look};

pub use findings::{Explanation, explain, nearest, remedy};

/// Exit status 0 when the certificate is admitted, 1 when it is refused or nothing is known of the address, 64
/// for a wrong configuration.
pub fn main(args: &ExplainArgs) -> ExitCode {
    let config = match Config::load(&args.file, &args.overrides()) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    let snapshot = look(config.paths(), config.reload_settings(), config.access());
    let done = match (&args.certificate, args.peer) {
        (Some(file), peer) => std::fs::read(file)
            .map_err(|error| error.to_string())
            .and_then(|pem| certificates(&pem).map_err(|error| error.to_string()))
            .map(|list| of_certificate(&config, &snapshot, &list[0], peer))
            .map_err(|why| format!("{}: {why}", file.display())),
        (None, Some(peer)) => of_address(&config, &snapshot, peer),
        (None, None) => Err("a certificate or --peer ADDRESS is needed".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => exit::failure(why),
    }
}

/// Explains a certificate; true if it is admitted.
fn of_certificate(
    config: &Config,
    snapshot: &Arc<Snapshot>,
    info: &CertificateInfo,
    from: Option<IpAddr>,
) -> bool {
    let found = explain(snapshot, config.access(), info, from);
    line("map file", &config.map_path().display().to_string());
    found.facts.iter().for_each(|(what, text)| line(what, text));
    found.remedies.iter().for_each(|text| line("to do", text));
    found.admitted
}

/// Explains the last refusals of an address, as the running proxy remembers them.
fn of_address(config: &Config, snapshot: &Snapshot, peer: IpAddr) -> Result<bool, String> {
    let status = get(config.admin, "/status")
        .map_err(|error| format!("{}: no answer from a running proxy: {error}", config.admin))?;
    let status: Value = serde_json::from_str(&status)
        .map_err(|_| format!("{}: the answer is not that of a noded-proxy", config.admin))?;
    let all = status["last_refusals"].as_array();
    let here = |refusal: &&Value| {
        let from = refusal["peer"].as_str().and_then(|p| p.parse().ok());
        from.map(|p: std::net::SocketAddr| p.ip()) == Some(peer.to_canonical())
    };
    let mine: Vec<&Value> = all.into_iter().flatten().filter(here).collect();
    if mine.is_empty() {
        return Err(format!(
            "{peer}: the running proxy remembers no refusal of this address"
        ));
    }
    for refusal in mine {
        let text = |key: &str| refusal[key].as_str().unwrap_or("-").to_owned();
        line("when", &date(refusal["time"].as_u64().unwrap_or_default()));
        line("peer", &text("peer"));
        line("reason", &text("reason"));
        if refusal["admitted_by_audit"] == true {
            line(
                "decision",
                "admitted in audit mode; enforce would refuse it",
            );
        }
        line("certificate", &format!("CN={}", text("common_name")));
        line("digest", &text("digest"));
        let digest = text("digest").parse().ok();
        for near in nearest(snapshot, digest, refusal["common_name"].as_str()) {
            line("nearest", &near);
        }
        line("to do", remedy(&text("reason")));
        println!();
    }
    Ok(false)
}

fn line(what: &str, text: &str) {
    println!("{:<13} {text}", format!("{what}:"));
}
