//! The candidates' certificates, as `/certs` and `noded-proxy certs list` show them.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::commands::cli::CertsListArgs;
use crate::commands::exit;
use crate::commands::status::get;
use crate::config::Config;
use crate::tls::CertificateInfo;
use crate::trust::sightings::Sightings;
use crate::trust::{CaList, Snapshot, look};
use rules::admission::Admission;
use rules::dn::Name;
use rules::identity::Digest;

/// Candidates in one document; Ganeti's own map ends at 1351 entries.
const MOST: usize = 4096;

/// The document: the client CA list, `server.pem`, and each candidate in the map. `sightings` is what only a
/// running proxy knows.
pub fn document(snapshot: &Snapshot, sightings: Option<&Sightings>) -> Value {
    let entries: Vec<(&str, Digest)> = match &snapshot.admission {
        Admission::Listed(map) => map.iter().take(MOST).collect(),
        Admission::Bootstrap(_) | Admission::Nobody(_) => Vec::new(),
    };
    let candidates: Vec<Value> = entries
        .into_iter()
        .map(|(key, digest)| candidate(snapshot, sightings, key, &digest))
        .collect();
    let tls = snapshot.tls.as_ref();
    json!({
        "phase": snapshot.admission.name(),
        "source": if sightings.is_some() { "running proxy" } else { "files" },
        "client_ca_list": tls.map(|tls| ca_list(&tls.client_cas)),
        "server_pem": tls.map(|tls| certificate(&tls.server)),
        "candidates": candidates,
    })
}

/// The client CA list, for `/status` too.
pub fn ca_list(list: &CaList) -> Value {
    let names: Vec<Value> = list
        .names
        .iter()
        .map(|name| json!({ "name": name.to_string(), "string_types": name.string_types() }))
        .collect();
    json!({
        "state": list.state,
        "certificates_not_known": list.missing,
        "names": names,
    })
}

/// The certificates that several nodes used, for `/status`.
pub fn used_by_several(sightings: &Sightings) -> Vec<Value> {
    let all = sightings.shared().into_iter();
    all.map(|(digest, seen)| json!({ "digest": digest.to_string(), "seen": seen }))
        .collect()
}

fn candidate(
    snapshot: &Snapshot,
    sightings: Option<&Sightings>,
    key: &str,
    digest: &Digest,
) -> Value {
    let known = snapshot.known.get(digest);
    let since = known.and_then(|known| known.since).map(seconds);
    json!({
        "key": key,
        "digest": digest.to_string(),
        "known_from": known.map(|known| known.source.name()),
        "known_since": since,
        "certificate": known.map(|known| certificate(&known.info)),
        "seen": sightings.and_then(|sightings| sightings.of(digest)),
    })
}

fn certificate(info: &CertificateInfo) -> Value {
    json!({
        "digest": info.digest.to_string(),
        "common_name": info.common_name,
        "subject": name(&info.subject),
        "issuer": name(&info.issuer),
        "self_issued": info.subject == info.issuer,
        "x509_version": info.x509_version,
        "key": format!("{} {}", if info.rsa { "RSA" } else { "other" }, info.key_bits),
        "signature": info.signature,
        "not_after": info.not_after,
    })
}

fn name(name: &Name) -> Value {
    json!({ "name": name.to_string(), "string_types": name.string_types() })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// `noded-proxy certs list`: from the running proxy if one answers, else from the files. Exit status 0 when each
/// candidate's certificate is known, 1 otherwise.
pub fn list(args: &CertsListArgs) -> ExitCode {
    let config = match Config::load(&args.file, &args.overrides()) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    let running = (!args.files)
        .then(|| get(config.admin, "/certs").ok())
        .flatten()
        .and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let document = running.unwrap_or_else(|| {
        if !args.files {
            eprintln!(
                "noded-proxy: no proxy answers at {}: this is what the files say",
                config.admin
            );
        }
        let snapshot = look(config.paths(), config.reload_settings(), config.access());
        document(&snapshot, None)
    });
    if args.json {
        println!("{document:#}");
    } else {
        print!("{}", for_people(&document));
    }
    let missing = &document["client_ca_list"]["certificates_not_known"];
    if *missing == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The document as text.
pub fn for_people(document: &Value) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        text += &format!("{what:<12} {value}\n");
    };
    line("admission:", word(&document["phase"]));
    let list = &document["client_ca_list"];
    if list.is_object() {
        let names = items(&list["names"]);
        let empty = if names.is_empty() {
            ", empty: any client may offer its certificate"
        } else {
            ""
        };
        line("CA list:", format!("{}{empty}", word(&list["state"])));
        names.iter().for_each(|n| line("", with_types(n)));
    }
    if document["server_pem"].is_object() {
        line("server.pem:", describe(&document["server_pem"]));
    }
    for candidate in items(&document["candidates"]) {
        text.push('\n');
        let mut line = |what: &str, value: String| {
            text += &format!("{what:<12} {value}\n");
        };
        line("candidate:", word(&candidate["key"]));
        line("digest:", word(&candidate["digest"]));
        let certificate = &candidate["certificate"];
        if certificate.is_object() {
            line("subject:", with_types(&certificate["subject"]));
            line("issuer:", with_types(&certificate["issuer"]));
            line("certificate:", describe(certificate));
            let since = time(&candidate["known_since"]);
            line(
                "known from:",
                format!("{}, {since}", word(&candidate["known_from"])),
            );
        } else {
            line(
                "certificate:",
                "not known yet: it becomes so with its first call".into(),
            );
        }
        let seen = &candidate["seen"];
        if seen.is_object() {
            let (when, from) = (time(&seen["last_seen"]), word(&seen["address"]));
            line(
                "last seen:",
                format!("{when} from {from}, {} connections", seen["connections"]),
            );
            let nodes: Vec<String> = items(&seen["nodes"]).iter().map(word).collect();
            if nodes.len() > 1 {
                line(
                    "WARNING:",
                    format!("used by several nodes: {}", nodes.join(", ")),
                );
            }
        }
    }
    text
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

fn with_types(name: &Value) -> String {
    let types: Vec<String> = items(&name["string_types"]).iter().map(word).collect();
    format!("{} ({})", word(&name["name"]), types.join(", "))
}

fn describe(certificate: &Value) -> String {
    format!(
        "{}, {}, X.509 version {}, until {}",
        word(&certificate["key"]),
        word(&certificate["signature"]),
        certificate["x509_version"],
        time(&certificate["not_after"])
    )
}

fn time(value: &Value) -> String {
    let seconds = value.as_i64().and_then(|s| u64::try_from(s).ok());
    seconds.map_or_else(|| "-".into(), date)
}

/// Seconds since 1970 as people read them.
pub(crate) fn date(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799; // the end of the year 9999
    let at = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(at).to_string()
}
