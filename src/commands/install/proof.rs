//! Proves that the node works as it is meant to: with `check`, as nobody, and with an RPC of this
//! node's own. It calls nothing but `version`, which changes nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::look::needs_guard;
use super::nodeds;
use super::step::Proof;
use crate::commands::check::{self, Verdict};
use crate::commands::own_call::own_call;
use crate::commands::{admin_client, as_nobody};
use crate::config::Config;
use crate::node::sockets::{self, taken_by};
use crate::node::ssconf::Ssconf;

/// Time for all to be well.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(250);

/// Waits until it is proven; what was proven, line by line.
pub(super) fn prove(
    proof: Proof,
    config: &Config,
    defaults: &Path,
    public: u16,
) -> Result<Vec<String>, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let proven = match proof {
            // Whoever gets in has the node by the next try: all is taken back at once.
            Proof::Behind if is_open(config) => {
                return Err(format!(
                    "the user nobody reaches noded at {}",
                    config.upstream.address
                ));
            }
            Proof::Behind => behind(config, defaults, public),
            Proof::Alone(port) => nodeds::alone(port).map(|noded| vec![noded]),
        };
        match proven {
            Err(_) if Instant::now() < end => sleep(PAUSE),
            proven => return proven,
        }
    }
}

/// Waits until noded listens on this port.
pub(super) fn await_noded(port: u16) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match listens(port, |by| by.starts_with("ganeti-noded ")) {
            Err(_) if Instant::now() < end => sleep(PAUSE),
            found => return found.map(|_| ()),
        }
    }
}

fn listens(port: u16, is_right: impl Fn(&str) -> bool) -> Result<String, String> {
    let all = sockets::listeners().map_err(|error| error.to_string())?;
    match taken_by(&all, port) {
        Some(by) if is_right(&by) => Ok(by),
        Some(by) => Err(format!("port {port} is taken by {by}")),
        None => Err(format!("nobody listens on port {port}")),
    }
}

fn behind(config: &Config, defaults: &Path, public: u16) -> Result<Vec<String>, String> {
    let findings = check::look(config, defaults, false);
    if let Some(bad) = findings.iter().find(|f| f.verdict == Verdict::Error) {
        return Err(format!("{}: {}", bad.id, bad.message));
    }
    let errors = format!("`check`: {} checks, 0 errors", findings.len());
    let mut proven = vec![errors];
    if needs_guard(config) {
        let noded = config.upstream.address;
        match as_nobody::connect(noded) {
            as_nobody::Attempt::Refused => proven.push(format!("nobody is kept out of {noded}")),
            other => return Err(format!("{noded}: tried as nobody: {other:?}")),
        }
    }
    proven.push(
        match own_call(config, SocketAddr::new(own_address(config), public))? {
            Some(answer) => answer,
            None => ready(config)?,
        },
    );
    Ok(proven)
}

/// Whether any user reaches a noded that obeys him.
fn is_open(config: &Config) -> bool {
    needs_guard(config)
        && as_nobody::connect(config.upstream.address) == as_nobody::Attempt::Accepted
}

/// By the proxy's own word: for a node whose certificate is not in the map.
fn ready(config: &Config) -> Result<String, String> {
    let health = admin_client::get(&config.admin_to_ask(), &config.state_dir, "/status")
        .and_then(|answer| answer.read::<serde_json::Value>());
    let health = health.map_err(|error| error.to_string())?;
    let waits = health["server_pem"].is_null();
    match health["health"]["ready"].as_bool() {
        Some(true) => Ok(
            "this node is no candidate, so it makes no RPC: the proxy says that it \
                          is ready, and noded answered to `check`"
                .into(),
        ),
        _ if waits => Ok("this node is in no cluster yet: the proxy waits for server.pem".into()),
        _ => Err(format!("the proxy is not ready: {}", health["health"])),
    }
}

/// The address from which this node's calls come, where it is known: `bind_peer` looks at it.
fn own_address(config: &Config) -> IpAddr {
    if let Some(one) = config.listen.first().map(SocketAddr::ip)
        && !one.is_unspecified()
    {
        return one;
    }
    let mut ssconf = Ssconf::default();
    ssconf.read(&config.ssconf_dir, |_| false);
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let mut all = ssconf.primary_addresses.iter();
    let is_host = |name: &str| name == host || name.split('.').next() == Some(&*host);
    let own = all
        .find(|(name, _)| is_host(name))
        .map(|(_, address)| *address);
    own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
