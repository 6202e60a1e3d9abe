//! Is noded's port noded's alone? Who may take it, who has it, from where it is reached, and whom
//! the guard keeps out. Pure: it is given what was seen, and connects to nobody.

use std::net::SocketAddr;

use super::finding::{Finding, is_loopback};
use crate::commands::as_nobody::Attempt;
use crate::config::{NODED_PORT, UpstreamConfig};
use crate::node::sockets::{Listener, holder};
use crate::proxy::upstream::GuardWatch;
use rules::guard::{Missing, Said};
use rules::noded::{Answers, Listening, Trusted, look};

/// What makes the guard hold, whatever state it is in.
const RESTART: &str = "systemctl enable noded-proxy-guard; systemctl reset-failed \
                       noded-proxy-guard; systemctl restart noded-proxy-guard \
                       (journalctl -u noded-proxy-guard says what is wrong)";

fn name(upstream: SocketAddr) -> String {
    format!("upstream.address = {upstream}")
}

/// Whether any local user could take the port while noded is down. `unprivileged`: the first port
/// that anybody may take.
pub(super) fn port(upstream: &UpstreamConfig, unprivileged: u16) -> Finding {
    let (id, port) = ("noded_port", upstream.address.port());
    let name = name(upstream.address);
    if port < unprivileged {
        return Finding::ok(id, format!("{name}: only root may listen on port {port}"));
    }
    let ip = upstream.address.ip();
    let text = format!(
        "{name}: while noded is down, any local user may listen on port {port} in its place, and \
         keep it from starting: move noded to a port below {unprivileged} (-p {NODED_PORT} in \
         NODED_ARGS, upstream.address = \"{ip}:{NODED_PORT}\", noded_port = {NODED_PORT} in \
         noded-proxy-guard.nft)"
    );
    Finding::warning(id, text)
}

/// Whose the socket is that noded should have; nothing while nobody listens.
pub(super) fn owner(
    upstream: SocketAddr,
    listeners: &[Listener],
    trusted: Trusted,
) -> Option<Finding> {
    let id = "noded_owner";
    let sockets: Vec<Listening> = listeners.iter().map(Listener::listening).collect();
    let name = name(upstream);
    match look(&sockets, upstream, trusted).answers {
        Answers::Noded => Some(Finding::ok(
            id,
            format!("{name}: a socket of root's, or of this user's, listens there"),
        )),
        Answers::Impostor(uid) => {
            let who = holder(listeners, upstream.port());
            let who = who.unwrap_or_else(|| "root sees which process".into());
            let text = format!(
                "{name}: noded is impersonated: a process of uid {uid} listens there ({who}), \
                 which is not root's: stop it, then start ganeti-noded"
            );
            Some(Finding::error(id, text))
        }
        Answers::Nobody | Answers::Elsewhere => None,
    }
}

/// noded must be on loopback alone: everywhere else clients could go round the proxy.
pub(super) fn exposure(
    upstream: SocketAddr,
    plain: bool,
    listeners: Option<&[Listener]>,
) -> Finding {
    let (id, name) = ("noded_exposure", name(upstream));
    if !is_loopback(upstream) {
        let text = format!("{name}: not a loopback address");
        return match plain {
            true => Finding::error(
                id,
                format!("{text}: RPCs leave in clear text: use 127.0.0.1 or upstream.tls"),
            ),
            false => Finding::warning(
                id,
                format!("{text}: only the local noded is meant to stand there"),
            ),
        };
    }
    let Some(listeners) = listeners else {
        return Finding::warning(
            id,
            format!("{name}: the kernel shows no sockets: cannot tell"),
        );
    };
    let addresses = listeners.iter().map(|listener| listener.address);
    let mut on_port = addresses.filter(|address| address.port() == upstream.port());
    match on_port.clone().find(|address| !is_loopback(*address)) {
        None if on_port.next().is_none() => {
            let text = format!("{name}: nobody listens on port {}", upstream.port());
            Finding::ok(id, format!("{text}, here or for other machines"))
        }
        None => Finding::ok(id, format!("{name}: other machines cannot reach its port")),
        Some(public) => {
            let todo = format!(
                "-b {} in NODED_ARGS, then restart ganeti-noded",
                upstream.ip()
            );
            Finding::error(
                id,
                format!("{name}: other machines reach it without the proxy, on {public}: {todo}"),
            )
        }
    }
}

/// What the guard says of itself. `said` is its word, where it has to give one.
pub(super) fn guard(
    upstream: SocketAddr,
    watch: &GuardWatch,
    said: Result<Said, Missing>,
) -> Option<Finding> {
    let (id, port) = ("guard", upstream.port());
    match watch {
        GuardWatch::NotNeeded => return None,
        GuardWatch::Off => {
            let text = format!(
                "upstream.guard = off: nobody looks whether port {port} stays closed to local users"
            );
            return Some(Finding::warning(id, text));
        }
        GuardWatch::Says(_) => {}
    }
    Some(match said {
        Ok(said) if said.owned => Finding::ok(id, format!("the guard of port {port} holds")),
        Ok(_) => {
            let text = format!(
                "the guard of port {port} holds, but nft or the kernel does not know `flags \
                 owner`: after `nft flush ruleset` the port is open for up to a second: nft 1.0 \
                 and Linux 5.12 can do better"
            );
            Finding::warning(id, text)
        }
        Err(why @ Missing::OtherPort(_)) => {
            let todo = format!(
                "noded_port = {port} in /etc/noded-proxy/noded-proxy-guard.nft, then {RESTART}"
            );
            Finding::error(
                id,
                format!("the guard of port {port} is missing: {why}: {todo}"),
            )
        }
        Err(why) => {
            let text = format!("the guard of port {port} is missing: {why}: {RESTART}");
            Finding::error(id, text)
        }
    })
}

/// Whether the user nobody is kept out.
pub(super) fn kept_out(upstream: SocketAddr, watch: &GuardWatch, attempt: &Attempt) -> Finding {
    let (id, name) = ("loopback_guard", name(upstream));
    match (attempt, watch) {
        (Attempt::Accepted, GuardWatch::Off) => {
            let text = "the user nobody can connect, so any local user can command noded";
            Finding::warning(id, format!("{name}: {text} (upstream.guard = off)"))
        }
        (Attempt::Accepted, _) => {
            let text = "the user nobody can connect, so any local user can command noded";
            Finding::error(id, format!("{name}: {text}: {RESTART}"))
        }
        (Attempt::Refused, _) => Finding::ok(id, format!("{name}: the user nobody is kept out")),
        (Attempt::NotRoot, _) => {
            let text = "whether local users are kept out can be tried by root alone";
            Finding::warning(id, format!("{name}: {text}: run this check as root"))
        }
        (Attempt::Failed(why), _) => {
            let text = "whether local users are kept out could not be tried";
            Finding::warning(id, format!("{name}: {text}: {why}"))
        }
    }
}

#[cfg(test)]
#[path = "loopback_tests.rs"]
mod tests;
