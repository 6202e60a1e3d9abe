//! `noded-proxy certs list`: what is known of the candidates' certificates.
//!
//! It reads and shows. It must never write: nothing is learned or forgotten by looking.

use std::process::ExitCode;

use super::admin_client::{self, Error};
use super::table::{Table, terminal_width};
use crate::commands::cli::CertsListArgs;
use crate::commands::exit;
use crate::config::Config;
use crate::daemon::report::words::count;
use crate::daemon::report::{Certificate, Certificates, KnownCandidate, Name, Phase, times};
use crate::trust::sightings::Sighting;
use crate::trust::{now, snapshot_from_files};
use rules::Named;

/// `noded-proxy certs list`: from the running proxy if one answers, else from the files. Exit
/// status 0 when each candidate's certificate is known, 1 when some is not, or when another user's
/// process is where the proxy should be.
pub fn list(args: &CertsListArgs) -> ExitCode {
    let config = match Config::load(&args.admission.file, &args.overrides()) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    let mut stranger = false;
    let certificates = match args.of_files() {
        true => of_files(&config),
        false => of_proxy(&config).unwrap_or_else(|error| {
            errln!("noded-proxy: {}", why_files(&config, &error));
            stranger = matches!(error, Error::Stranger { .. });
            of_files(&config)
        }),
    };
    if args.json {
        match serde_json::to_string_pretty(&certificates) {
            Ok(json) => outln!("{json}"),
            Err(error) => errln!("noded-proxy: {error}"),
        }
    } else {
        out!("{}", render(&certificates, now(), terminal_width()));
    }
    match certificates.is_complete() && !stranger {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn of_proxy(config: &Config) -> Result<Certificates, Error> {
    admin_client::get(&config.admin_to_ask(), &config.state_dir, "/certs")?.read()
}

fn of_files(config: &Config) -> Certificates {
    Certificates::of(
        &snapshot_from_files(config.paths(), config.reload_settings(), config.access()),
        None,
    )
}

/// Why the running proxy does not tell.
fn why_files(config: &Config, error: &Error) -> String {
    let files = "this is what the files say";
    match error {
        Error::NoAnswer { .. } | Error::NotAProxy { .. } => {
            format!("no proxy answers at {}: {files}", config.admin_to_ask())
        }
        Error::Stranger { .. } | Error::OtherVersion { .. } => format!("{error}: {files}"),
    }
}

/// The document as text, `width` columns wide if that is given.
fn render(certificates: &Certificates, now: i64, width: Option<u16>) -> String {
    let mut table = Table::new();
    let phase = certificates.phase.name();
    match certificates.phase {
        Phase::Nobody { why } => table.row(["admission:", &format!("{phase}: {why}")]),
        Phase::Listed | Phase::Bootstrap => table.row(["admission:", phase]),
    }
    if let Some(list) = &certificates.client_ca_list {
        let empty = match list.names.is_empty() {
            true => ", empty: any client may offer its certificate",
            false => "",
        };
        table.row(["CA list:", &format!("{}{empty}", list.state.name())]);
        for name in &list.names {
            table.row(["", &with_types(name)]);
        }
    }
    if let Some(server) = &certificates.server_pem {
        table.row(["server.pem:", &describe(server, now)]);
    }
    for candidate in &certificates.candidates {
        table.row([]);
        add(&mut table, candidate, now);
    }
    table.render(width)
}

fn add(table: &mut Table, candidate: &KnownCandidate, now: i64) {
    table.row(["candidate:", &candidate.key]);
    table.row(["digest:", &candidate.digest.to_string()]);
    match &candidate.certificate {
        Some(certificate) => {
            table.row(["subject:", &with_types(&certificate.subject)]);
            table.row(["issuer:", &with_types(&certificate.issuer)]);
            table.row(["certificate:", &describe(certificate, now)]);
            table.row(["known from:", &known_from(candidate, now)]);
        }
        None => {
            let unknown = "not known yet: it becomes so with its first call";
            table.row(["certificate:", unknown]);
        }
    }
    if let Some(seen) = &candidate.seen {
        calls(table, seen, now);
    }
}

fn calls(table: &mut Table, seen: &Sighting, now: i64) {
    let (when, from) = (moment(seen.last_seen, now), seen.address);
    let connections = count(
        usize::try_from(seen.connections).unwrap_or(usize::MAX),
        "connection",
    );
    let text = format!("{when} from {from}, {connections}");
    table.row(["last seen:", &text]);
    if seen.nodes.len() > 1 {
        let nodes: Vec<&str> = seen.nodes.iter().map(|node| &**node).collect();
        let text = format!("used by several nodes: {}", nodes.join(", "));
        table.row(["WARNING:", &text]);
    }
}

fn known_from(candidate: &KnownCandidate, now: i64) -> String {
    let source = candidate.known_from.map_or("unknown", |from| from.name());
    let since = candidate.known_since;
    let since = since.map_or_else(|| "since when is unknown".into(), |at| moment(at, now));
    format!("{source}, {since}")
}

fn with_types(name: &Name) -> String {
    format!("{} ({})", name.name, name.string_types.join(", "))
}

fn describe(certificate: &Certificate, now: i64) -> String {
    format!(
        "{}, {}, X.509 version {}, {}",
        certificate.key,
        certificate.signature,
        certificate.x509_version,
        times::expiry(certificate.not_after, now)
    )
}

fn moment(at: u64, now: i64) -> String {
    times::moment(i64::try_from(at).unwrap_or(i64::MAX), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::report::example;

    #[test]
    fn certificates_as_text() {
        let text = "\
admission:   listed
CA list:     incomplete, empty: any client may offer its certificate
server.pem:  RSA 2048, sha256WithRSAEncryption, X.509 version 1, expires 2031-11-25 (in 5 years)

candidate:   uuid-1
digest:      02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02:02
subject:     CN=n (UTF8String)
issuer:      CN=n (UTF8String)
certificate: RSA 2048, sha256WithRSAEncryption, X.509 version 1, expires 2031-11-25 (in 5 years)
known from:  learned, 2026-11-26T10:26:40Z (3 min ago)
last seen:   2026-11-26T10:28:20Z (100 s ago) from 192.0.2.1, 2 connections
WARNING:     used by several nodes: n1, n2

candidate:   uuid-2
digest:      03:03:03:03:03:03:03:03:03:03:03:03:03:03:03:03:03:03:03:03
certificate: not known yet: it becomes so with its first call
";
        assert_eq!(render(&example::certificates(), example::NOW, None), text);
    }
}
