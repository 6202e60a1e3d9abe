//! The ports that the proxy wants: free, or held by the proxy that runs already.
//!
//! A port is tried by binding it for a moment. Nothing is accepted there, and nothing is sent to
//! whoever holds it, but for one question to the admin port.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

use serde::Deserialize;
use tokio::runtime::Runtime;

use super::finding::{Finding, is_loopback};
use crate::commands::admin_client;
use crate::config::Config;
use crate::node::sockets::{Listener, taken_by};
use crate::proxy::listener;

/// A noded-proxy that answers on the admin port: the part of its report by which any version of the
/// program is known, for `check` runs before an older proxy is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Running {
    version: String,
    /// No other program says this.
    #[serde(rename = "tls_library")]
    _tls_library: String,
    listening: Vec<String>,
}

impl Running {
    fn at(config: &Config) -> Option<Self> {
        let answer = admin_client::get(&config.admin_to_ask(), &config.state_dir, "/status");
        answer.ok()?.read().ok()
    }

    /// Whether the proxy listens on this port.
    fn has(&self, port: u16) -> bool {
        let held = self.listening.iter().filter_map(|held| held.parse().ok());
        held.map(|held: SocketAddr| held.port())
            .any(|held| held == port)
    }
}

/// Whether the one who listens on this port is of a user that the node's proxy may have: root, or
/// the owner of the state directory.
fn is_trusted(config: &Config, listeners: &Option<Vec<Listener>>, port: u16) -> bool {
    let mut all = listeners.iter().flatten();
    let uid = all.find(|l| l.address.port() == port).map(|l| l.uid);
    let owner = fs::metadata(&config.state_dir).map(|found| found.uid());
    uid == Some(0) || (uid.is_some() && uid == owner.ok())
}

/// Findings on the public and the admin port.
pub(super) fn check(
    config: &Config,
    listeners: &Option<Vec<Listener>>,
    runtime: &Runtime,
) -> Vec<Finding> {
    let _inside = runtime.enter(); // sockets register with it
    let taken = |address: SocketAddr| listener::bind(address).err();
    let as_peer = |port: u16| {
        let name = taken_by(listeners.as_deref()?, port)?;
        let ours = name.starts_with("noded-proxy ") && is_trusted(config, listeners, port);
        Some((name, ours))
    };
    let admin = taken(config.admin);
    let running = match admin {
        Some(_) => Running::at(config),
        None => None,
    };
    let mut findings: Vec<Finding> = config
        .listen
        .iter()
        .map(|address| {
            let error = taken(*address);
            let ours = running.as_ref().filter(|proxy| proxy.has(address.port()));
            judge(("listen", "listen"), *address, error.as_ref(), ours, || {
                as_peer(address.port())
            })
        })
        .collect();
    if let Some(listeners) = listeners {
        let behind = taken_by(listeners, config.upstream.address.port());
        let is_behind = behind.is_some_and(|by| by.starts_with("ganeti-noded "));
        let mut ports = config.listen.iter().map(SocketAddr::port);
        let is_held = |port| taken_by(listeners, port).is_some();
        findings.extend(nobody_serves(is_behind, ports.any(is_held)));
    }
    let held = || as_peer(config.admin.port());
    findings.push(judge(
        ("admin", "admin"),
        config.admin,
        admin.as_ref(),
        running.as_ref(),
        held,
    ));
    findings.push(exposure(config.admin));
    findings
}

/// `what`: the finding's id and the configuration's key. `holder`: who has the port, and whether it
/// is this node's proxy.
fn judge(
    what: (&'static str, &str),
    address: SocketAddr,
    error: Option<&io::Error>,
    ours: Option<&Running>,
    holder: impl FnOnce() -> Option<(String, bool)>,
) -> Finding {
    let (id, name) = (what.0, format!("{} = {address}", what.1));
    let Some(error) = error else {
        return Finding::ok(id, format!("{name}: the port is free"));
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        let todo = "use an address and a port of this machine that this user may have";
        return Finding::error(id, format!("{name}: cannot listen there: {error}: {todo}"));
    }
    if let Some(running) = ours {
        let text = format!("held by the running noded-proxy {}", running.version);
        return Finding::ok(id, format!("{name}: {text}"));
    }
    match holder() {
        Some((holder, true)) => Finding::ok(id, format!("{name}: held by {holder}, which runs")),
        Some((holder, _)) if holder == "systemd (pid 1)" => {
            Finding::ok(id, format!("{name}: held by systemd for a socket unit"))
        }
        Some((holder, _)) if holder.starts_with("ganeti-noded ") => {
            let todo = "`noded-proxy install` moves it to loopback (by hand: NODED_ARGS, see \
                        noded_args; then restart ganeti-noded)";
            Finding::error(id, format!("{name}: taken by {holder}: {todo}"))
        }
        holder => {
            let unseen = || "another process (root sees which)".into();
            let holder = holder.map_or_else(unseen, |(holder, _)| holder);
            Finding::error(
                id,
                format!("{name}: taken by {holder}: stop it, or take another port"),
            )
        }
    }
}

/// noded stands where a proxy should be before it, and there is none.
fn nobody_serves(is_behind: bool, is_held: bool) -> Option<Finding> {
    let text = "noded is on loopback and no proxy runs, so nobody can command this node: systemctl \
                start noded-proxy";
    (is_behind && !is_held).then(|| Finding::warning("no_proxy", text))
}

fn exposure(admin: SocketAddr) -> Finding {
    let (id, name) = ("admin_exposure", format!("admin = {admin}"));
    if is_loopback(admin) {
        return Finding::ok(id, format!("{name}: on loopback"));
    }
    let text = "other machines can read metrics, candidates and refusals without authentication";
    Finding::warning(
        id,
        format!("{name}: {text}: use 127.0.0.1, or let a firewall choose who may"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{Error, Ok, Warning};
    use super::*;

    #[test]
    fn noded_behind_nobody_is_told() {
        for (is_behind, is_held, expected) in [
            (true, false, true),
            (true, true, false),
            (false, false, false),
            (false, true, false),
        ] {
            let found = nobody_serves(is_behind, is_held);
            let told =
                found.is_some_and(|found| found.verdict == Warning && found.id == "no_proxy");
            assert_eq!(told, expected, "{is_behind} {is_held}");
        }
    }

    fn running(listening: &[&str]) -> Running {
        Running {
            version: "0.1.0".into(),
            _tls_library: "x".into(),
            listening: listening.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_port_as_a_table() {
        let address: SocketAddr = "[::]:1811".parse().unwrap();
        let ours = running(&["[::]:1811"]);
        let in_use = || Some(io::Error::from(io::ErrorKind::AddrInUse));
        let denied = || Some(io::Error::from(io::ErrorKind::PermissionDenied));
        let table = [
            (None, None, None, Ok, "free"),
            (denied(), None, None, Error, "denied"),
            (in_use(), Some(&ours), None, Ok, "running noded-proxy 0.1.0"),
            (in_use(), None, Some("systemd (pid 1)"), Ok, "socket unit"),
            (
                in_use(),
                None,
                Some("ganeti-noded (pid 7)"),
                Error,
                "restart ganeti-noded",
            ),
            (
                in_use(),
                None,
                Some("noded-proxy (pid 7)"),
                Ok,
                "noded-proxy (pid 7)",
            ),
            (
                in_use(),
                None,
                Some("nginx (pid 7)"),
                Error,
                "nginx (pid 7)",
            ),
            (in_use(), None, None, Error, "another process"),
        ];
        for (error, ours, holder, expected, word) in table {
            let found = judge(("listen", "listen"), address, error.as_ref(), ours, || {
                holder.map(|name| (name.into(), name.starts_with("noded-proxy ")))
            });
            assert_eq!(found.verdict, expected, "{found:?}");
            assert!(
                found.message.starts_with("listen = [::]:1811: "),
                "{found:?}"
            );
            assert!(found.message.contains(word), "{found:?}");
        }
    }

    #[test]
    fn only_a_noded_proxys_status_counts() {
        let parse = |text: &str| serde_json::from_str::<Running>(text).ok();
        let good = r#"{"version": "0.1.0", "tls_library": "x", "listening": ["[::]:1811", "?"]}"#;
        let found = parse(good).unwrap();
        assert_eq!(found, running(&["[::]:1811", "?"]));
        assert!(found.has(1811) && !found.has(1812));
        for text in ["", "<html>", "{}", r#"{"version": "1", "listening": []}"#] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_public_admin_address_is_a_warning() {
        let table = [
            ("127.0.0.1:9811", Ok),
            ("127.8.8.8:1", Ok),
            ("[::1]:9811", Ok),
            ("0.0.0.0:9811", Warning),
            ("[::]:9811", Warning),
            ("192.0.2.1:9811", Warning),
        ];
        for (address, expected) in table {
            assert_eq!(
                exposure(address.parse().unwrap()).verdict,
                expected,
                "{address}"
            );
        }
    }
}
