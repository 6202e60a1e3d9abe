//! What is wrong with `server.pem` and `client.pem`. Pure.

use std::path::Path;

use rustix::io::Errno;

use super::finding::Finding;
use crate::daemon::report::times;
use crate::node::ssconf::is_of_host;
use crate::tls::CertificateInfo;

const DAY: i64 = 86_400;
/// Ganeti's own thresholds, in days (`lib/constants.py`, `SSL_CERT_EXPIRATION_WARN` and `_ERROR`).
const WARN_DAYS: i64 = 30;
const ERROR_DAYS: i64 = 7;
/// Ganeti's own allowance for clocks that differ (`lib/constants.py`, `NODE_MAX_CLOCK_SKEW`).
const CLOCK_SKEW: i64 = 150;
/// Size of the RSA keys that Ganeti makes since 2.2.
const RSA_BITS: u32 = 2048;

/// A file that should hold a key and its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pem {
    /// No such file.
    Absent,
    /// It cannot be read, or the key does not fit, and so on.
    Faulty(String),
    /// Key and certificate fit; the file's mode.
    Good(Box<CertificateInfo>, u32),
}

impl Pem {
    pub(super) fn info(&self) -> Option<&CertificateInfo> {
        match self {
            Self::Good(info, _) => Some(info),
            Self::Absent | Self::Faulty(_) => None,
        }
    }
}

/// Whether this node is a master candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// It is in `ssconf_master_candidates`.
    Candidate,
    /// It is in `ssconf_node_list` alone.
    Normal,
    /// It cannot be told, and why.
    Unknown(String),
}

/// The role of this host.
pub(super) fn role(host: &str, nodes: Option<&[String]>, candidates: Option<&[String]>) -> Role {
    let (Some(nodes), Some(candidates)) = (nodes, candidates) else {
        return Role::Unknown(
            "ssconf_node_list and ssconf_master_candidates cannot be read".into(),
        );
    };
    let is_host = |name: &String| is_of_host(name, host);
    match (nodes.iter().any(is_host), candidates.iter().any(is_host)) {
        (_, true) => Role::Candidate,
        (true, false) => Role::Normal,
        (false, false) => Role::Unknown(format!(
            "this host's name {host} is not in ssconf_node_list"
        )),
    }
}

/// A finding on what is left over while there is no `server.pem`.
pub(super) fn leftover(path: &Path) -> Finding {
    let name = path.display();
    let text = format!(
        "{name} is there and server.pem is not: gnt-cluster init refuses that (gnt-node add does \
         not): if a new cluster is to begin here, stop ganeti-noded, which leaves queue/lock, and \
         remove it"
    );
    Finding::warning("leftover", text)
}

/// What to do about a file, unless it is this user who may not read it.
fn unless_forbidden<'a>(why: &str, todo: &'a str) -> &'a str {
    let is_forbidden = why.contains(&Errno::ACCESS.to_string());
    if is_forbidden {
        "run this as root"
    } else {
        todo
    }
}

/// Findings on `server.pem`.
pub(super) fn server(path: &Path, pem: &Pem, legacy: bool, now: i64) -> Vec<Finding> {
    let id = "server_pem";
    let name = format!("server_pem = {}", path.display());
    match pem {
        Pem::Absent => vec![Finding::warning(
            id,
            format!("{name}: absent: this node is in no cluster; the proxy waits for the file"),
        )],
        Pem::Faulty(why) => {
            let restore = "restore it from the master, or gnt-cluster renew-crypto \
                           --new-cluster-certificate";
            vec![Finding::error(
                id,
                format!("{name}: {why}: {}", unless_forbidden(why, restore)),
            )]
        }
        Pem::Good(info, mode) => vec![
            Finding::ok(
                id,
                format!("{name}: the key fits the certificate {}", info.digest),
            ),
            secrecy("server_pem_mode", &name, *mode),
            expiry(
                "server_pem_expiry",
                &name,
                info,
                "--new-cluster-certificate",
                now,
            ),
            strength(&name, info, legacy),
        ],
    }
}

/// Findings on the node's own `client.pem`, except for those that need the map.
pub(super) fn client(
    path: &Path,
    pem: &Pem,
    server: &CertificateInfo,
    signed: bool,
    now: i64,
) -> Vec<Finding> {
    let name = path.display().to_string();
    let renew = "gnt-cluster renew-crypto --new-node-certificates";
    match pem {
        Pem::Absent => Vec::new(), // what that means depends on the map
        Pem::Faulty(why) => vec![Finding::error(
            "client_pem",
            format!("{name}: {why}: {}", unless_forbidden(why, renew)),
        )],
        Pem::Good(info, mode) => {
            let cn = info.common_name.as_deref().unwrap_or("-");
            let found = format!(
                "{name}: the key fits the certificate of {cn}, {}",
                info.digest
            );
            vec![
                Finding::ok("client_pem", found),
                secrecy("client_pem_mode", &name, *mode),
                expiry(
                    "client_pem_expiry",
                    &name,
                    info,
                    "--new-node-certificates",
                    now,
                ),
                issuer(&name, info, server, signed),
            ]
        }
    }
}

fn secrecy(id: &'static str, name: &str, mode: u32) -> Finding {
    let mode = mode & 0o7777;
    if mode & 0o007 == 0 {
        return Finding::ok(id, format!("{name}: mode {mode:04o}"));
    }
    let open = "every local user can use the key";
    Finding::error(
        id,
        format!("{name}: mode {mode:04o}: {open}: chmod o= FILE, then renew it"),
    )
}

fn expiry(id: &'static str, name: &str, info: &CertificateInfo, option: &str, now: i64) -> Finding {
    let renew = format!("gnt-cluster renew-crypto {option}");
    let days = (info.not_after - now).div_euclid(DAY);
    let ends = times::expiry(info.not_after, now);
    if info.not_before > now + CLOCK_SKEW {
        let begins = times::moment(info.not_before, now);
        let text = format!("{name}: not valid before {begins}: set the clock");
        Finding::error(id, text)
    } else if days < ERROR_DAYS {
        Finding::error(id, format!("{name}: {ends}: {renew}"))
    } else if days < WARN_DAYS {
        Finding::warning(id, format!("{name}: {ends}: {renew}"))
    } else {
        Finding::ok(id, format!("{name}: {ends}"))
    }
}

fn strength(name: &str, info: &CertificateInfo, legacy: bool) -> Finding {
    let id = "server_pem_key";
    let kind = if info.rsa { "RSA" } else { "other than RSA" };
    let what = format!(
        "{name}: key of {} bits ({kind}), {}",
        info.key_bits, info.signature
    );
    let renew = "gnt-cluster renew-crypto --new-cluster-certificate";
    if info.rsa && info.key_bits < RSA_BITS && legacy {
        Finding::warning(id, format!("{what}: weak, and taken because of tls.legacy"))
    } else if info.rsa && info.key_bits < RSA_BITS {
        Finding::error(
            id,
            format!("{what}: less than {RSA_BITS}, clients refuse it: {renew}"),
        )
    } else if info.signature.to_ascii_lowercase().contains("sha1") {
        Finding::warning(
            id,
            format!("{what}: a SHA-1 signature, new clients refuse it: {renew}"),
        )
    } else {
        Finding::ok(id, what)
    }
}

/// noded does not look at the issuer (up to 3.1), later versions do, and `gnt-cluster verify` does.
fn issuer(name: &str, info: &CertificateInfo, server: &CertificateInfo, signed: bool) -> Finding {
    let id = "client_pem_issuer";
    let renew = "gnt-cluster renew-crypto --new-node-certificates";
    if info.digest == server.digest {
        let text = "it is server.pem's own certificate, which every node holds";
        Finding::error(id, format!("{name}: {text}: {renew}"))
    } else if info.subject == info.issuer {
        Finding::warning(
            id,
            format!("{name}: self-signed, as of Ganeti 2.11: {renew}"),
        )
    } else if info.issuer != server.subject {
        let text = "its issuer is not the subject of server.pem, byte for byte";
        Finding::warning(id, format!("{name}: {text}: {renew}"))
    } else if !signed {
        let text = "not signed by the present server.pem but by one of the same name: either this \
                    node's server.pem is not the cluster's, and callers do not trust it (compare \
                    it with the master's: sha256sum), or it was renewed";
        Finding::warning(id, format!("{name}: {text}: {renew}"))
    } else {
        Finding::ok(id, format!("{name}: issued by server.pem"))
    }
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
pub(super) mod tests;
