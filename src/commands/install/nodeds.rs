//! The nodeds of this node, wherever they listen and whatever the configuration says. It only looks,
//! and calls nothing but `version`, which changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rules::noded::{Stands, astray, needs_guard};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::plan::Source;
use super::undo::starts_plain;
use super::units::Shown;
use crate::commands::noded_args::NodedArgs;
use crate::node::sockets;
use crate::proxy::upstream::call_version;

/// The name of noded's processes.
const NAME: &str = "ganeti-noded";
/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// All that listen, by their own command lines. What an ordinary user calls so is no noded.
pub(super) fn all() -> Result<Vec<Stands>, String> {
    let listeners = sockets::listeners().map_err(|error| error.to_string())?;
    let trusted = sockets::trusted();
    let held = sockets::of_program(&listeners, NAME).into_iter();
    let held = held.filter(|(listener, _)| trusted.has(listener.uid));
    let stands = held.map(|(listener, line)| Stands {
        address: listener.address,
        tls: !NodedArgs::parse(&line).no_ssl,
    });
    Ok(stands.collect())
}

/// The same, each asked without TLS.
fn asked() -> Result<Vec<Stands>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut all = all()?;
    for noded in &mut all {
        noded.tls = noded.tls && !runtime.block_on(answers(noded.address));
    }
    Ok(all)
}

/// Whether it answers without TLS.
async fn answers(address: SocketAddr) -> bool {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    let call = async {
        let mut tcp = TcpStream::connect(address).await.ok()?;
        call_version(&mut tcp, address).await.ok()
    };
    timeout(PATIENCE, call)
        .await
        .is_ok_and(|told| told.is_some())
}

/// Whether they stand as on a node without a proxy: what is there in words, or what is wrong.
pub(in crate::commands) fn alone(port: u16) -> Result<String, String> {
    let all = asked()?;
    match (astray(&all, port), all.first()) {
        (Some(noded), _) => Err(noded.to_string()),
        (None, Some(noded)) => Ok(noded.to_string()),
        (None, None) => Err(format!("no ganeti-noded listens on port {port}")),
    }
}

/// Why the guard must not go: a noded would be open to every local user, now or when it starts.
pub(super) fn guard_may_go(source: &Source, content: Option<&[u8]>) -> Result<(), String> {
    if let Some(noded) = needs_guard(&asked()?) {
        return Err(format!("{noded}: it needs the guard"));
    }
    // Whatever the file says: another drop-in may have given the unit other arguments.
    let unit = Shown::of("ganeti-noded.service")?;
    match starts_plain(source, content) || unit.command().contains("--no-s") {
        true => Err("noded would start without TLS: it needs the guard".into()),
        false => Ok(()),
    }
}
