//! `noded-proxy status`: what the admin listener of a running proxy says, for people.
//!
//! It asks and prints; it changes nothing, and reads no file.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::commands::cli::StatusArgs;

/// `noded-proxy status`: what the admin listener of a running proxy says, for people. Exit status 0 when it is
/// ready and not degraded, 1 otherwise.
pub fn status(args: &StatusArgs) -> ExitCode {
    let document = match get(args.admin, "/status") {
        Ok(document) => document,
        Err(error) => {
            eprintln!(
                "noded-proxy: {}: no answer from a running proxy: {error}",
                args.admin
            );
            return ExitCode::FAILURE;
        }
    };
    let Ok(status) = serde_json::from_str::<serde_json::Value>(&document) else {
        eprintln!(
            "noded-proxy: {}: the answer is not that of a noded-proxy",
            args.admin
        );
        return ExitCode::FAILURE;
    };
    if args.json {
        print!("{document}");
    } else {
        println!("{}", for_people(&status));
    }
    let health = &status["health"];
    let good = health["ready"] == true && health["degraded"] == false;
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn for_people(status: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let list = |value: &serde_json::Value| {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        let items: Vec<String> = items.iter().map(text).collect();
        if items.is_empty() {
            "-".into()
        } else {
            items.join(", ")
        }
    };
    let (health, admission) = (&status["health"], &status["admission"]);
    let upstream = &status["upstream"];
    let mut lines = vec![
        format!(
            "noded-proxy {} on {}, up {} s",
            text(&status["version"]),
            text(&status["host"]),
            status["uptime_seconds"]
        ),
        format!(
            "ready:       {} (listening on {})",
            health["ready"],
            list(&status["listening"])
        ),
        format!(
            "degraded:    {} ({})",
            health["degraded"],
            list(&health["reasons"])
        ),
        format!(
            "admission:   {}, {} entries, map file {}, read {} s ago",
            text(&admission["phase"]),
            admission["entries"],
            text(&admission["map_file"]),
            admission["map_age_seconds"]
        ),
        format!(
            "mode:        {}",
            match status["mode"].as_str() {
                Some("audit") => "AUDIT: every certificate of this cluster is admitted",
                Some(other) => other,
                None => "-",
            }
        ),
        format!(
            "CA list:     {}, {} candidates' certificates not known",
            text(&status["client_ca_list"]["state"]),
            text(&status["client_ca_list"]["certificates_not_known"])
        ),
        format!(
            "server.pem:  {}, expires in {} s, clients are shown {}",
            text(&status["server_pem"]["digest"]),
            status["server_pem"]["expires_in_seconds"],
            text(&status["server_pem"]["shown_to_clients"]),
        ),
        format!(
            "connections: {} open, {} in handshake",
            status["connections"]["open"], status["connections"]["handshakes"]
        ),
        format!(
            "noded:       {}, {} of {} slots in use ({} warm), {} waiting",
            text(&upstream["address"]),
            upstream["slots_in_use"],
            upstream["slots"],
            upstream["warm"],
            upstream["waiting"]
        ),
    ];
    for certificate in status["certificates_used_by_another_node"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    {
        lines.push(format!(
            "WARNING:     certificate {} is used by {}",
            text(&certificate["digest"]),
            list(&certificate["seen"]["nodes"])
        ));
    }
    for refusal in status["last_refusals"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    {
        let name = refusal["common_name"].as_str().unwrap_or("-");
        let digest = refusal["digest"].as_str().unwrap_or("-");
        lines.push(format!(
            "refused:     {} {} {name} {digest}",
            text(&refusal["peer"]),
            text(&refusal["reason"])
        ));
    }
    lines.join("\n")
}

/// One GET on the admin listener; the body of the answer.
pub(crate) fn get(admin: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}
