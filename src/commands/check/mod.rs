//! `noded-proxy check`: everything that can be found wrong before a start.
//!
//! `files`, `ports` and `noded` look; what they saw goes as plain values to `certificates`, `map`,
//! `arguments` and to the small judges beside them, which are pure. The ids of the findings are an interface.

mod arguments;
mod certificates;
mod files;
mod map;
mod noded;
mod ports;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::commands::cli::CheckArgs;
use crate::commands::exit;
use crate::config::{Config, DEFAULT_FILE, Problem};
use files::Files;

pub use noded::probe;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// Something would fail, or is open to those who should be kept out.
    Error,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; stable.
    pub id: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// One line: which file or key, its value, and what to do.
    pub message: String,
}

impl Finding {
    fn new(id: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self {
            id,
            verdict,
            message: message.into().replace('\n', " "),
        }
    }

    fn ok(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, Verdict::Ok, message)
    }

    fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, Verdict::Warning, message)
    }

    fn error(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, Verdict::Error, message)
    }
}

/// `noded-proxy check`, to the exit status: 0 no error, 1 some error, 64 wrong configuration.
pub fn main(args: &CheckArgs) -> ExitCode {
    let config = match Config::load(&args.file, &args.overrides()) {
        Ok(config) => config,
        Err(problems) => return wrong_configuration(args, &problems),
    };
    let mut findings = vec![configuration(args)];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64);
    let files = Files::read(&config, &args.noded_defaults);
    findings.extend(files.judge(&config, now));
    if !args.offline {
        match online(&config, &files) {
            Ok(more) => findings.extend(more),
            Err(error) => findings.push(Finding::error("ports", format!("cannot look: {error}"))),
        }
    }
    show(args, &findings);
    let good = findings.iter().all(|f| f.verdict < Verdict::Error);
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn configuration(args: &CheckArgs) -> Finding {
    let text = match &args.file.config {
        Some(path) => path.display().to_string(),
        None if std::path::Path::new(DEFAULT_FILE).exists() => DEFAULT_FILE.into(),
        None => format!("defaults and flags ({DEFAULT_FILE} is absent)"),
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
    let listeners = crate::node::sockets::listeners();
    let mut findings = ports::check(config, &listeners, &runtime);
    findings.extend(noded::check(config, files, &listeners, &runtime));
    Ok(findings)
}

fn show(args: &CheckArgs, findings: &[Finding]) {
    let count = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let (errors, warnings) = (count(Verdict::Error), count(Verdict::Warning));
    if args.json {
        println!(
            "{:#}",
            serde_json::json!({ "ok": errors == 0, "checks": findings })
        );
        return;
    }
    for Finding {
        id,
        verdict,
        message,
    } in findings
    {
        println!("{:<8} {id}: {message}", verdict.name());
    }
    println!(
        "{} checks, {errors} errors, {warnings} warnings",
        findings.len()
    );
}

/// `ADDR:PORT is reachable from other machines`, as far as the address tells.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
