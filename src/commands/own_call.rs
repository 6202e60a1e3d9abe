//! The RPC `version` with this node's own certificate: what shows that a proxy lets this node through,
//! and reaches its noded. It changes nothing, and judges nobody.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::commands::ssh::call::shown;
use crate::config::Config;
use crate::node::files::{FileContent, read};
use crate::proxy::upstream::call_version;
use crate::tls::{Connector, Credentials};
use rules::candidates::{MAX_BYTES, MapFile, parse};

/// Longest wait for the answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest PEM file.
const MOST: usize = 1 << 20;

/// What was answered, in a line; nothing if this node's certificate is not in the map.
pub(super) fn own_call(config: &Config, address: SocketAddr) -> Result<Option<String>, String> {
    let pem = |path: &Path| match read(path, MOST) {
        FileContent::Content(text) => Credentials::from_pem(&text).ok(),
        _ => None,
    };
    let client = pem(&config.server_pem.with_file_name("client.pem"));
    let (Some(server), Some(client)) = (pem(&config.server_pem), client) else {
        return Ok(None);
    };
    if !is_listed(config, &client) {
        return Ok(None);
    }
    let connector = Connector::of_client(&client, &server, config.tls_profile());
    let connector = connector.map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let call = async {
        let tcp = TcpStream::connect(address)
            .await
            .map_err(|error| error.to_string())?;
        let mut stream = connector.connect(tcp).await?;
        let told = call_version(&mut stream, address).await;
        told.map_err(|error| error.to_string())
    };
    let name = format!("RPC `version` at {address} with this node's certificate");
    let told = runtime.block_on(async { timeout(PATIENCE, call).await });
    let told = told.map_err(|_| format!("{name}: no answer"))?;
    let told = told.map_err(|why| format!("{name}: {why}"))?;
    judged(&name, told.status.as_u16(), &told.body).map(Some)
}

/// What another node says may be anything.
fn judged(name: &str, status: u16, body: &[u8]) -> Result<String, String> {
    match (status, shown(body)) {
        (200, body) if body.starts_with("[true") => Ok(format!("{name}: {body}")),
        (status, body) => Err(format!("{name}: {status} {body}")),
    }
}

fn is_listed(config: &Config, client: &Credentials) -> bool {
    let map = match read(&config.map_path(), MAX_BYTES) {
        FileContent::Content(text) => parse(&text),
        _ => return false,
    };
    matches!(map, MapFile::Listed(map) if map.contains(&client.info().digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_of_a_screen_whatever_is_in_it() {
        let good = judged("RPC", 200, b"\n[true, [40, 0]]\n");
        assert_eq!(good.unwrap(), "RPC: [true, [40, 0]]");
        let many = "x".repeat(60_000);
        let hostile = format!("[true, 1]\nok    done: n1, n2\u{1b}[2J\u{202e}{many}");
        for status in [200, 502] {
            let told = judged("RPC", status, hostile.as_bytes());
            assert_eq!(told.is_ok(), status == 200);
            let told = told.unwrap_or_else(|why| why);
            assert!(told.is_ascii() && told.len() < 500, "{told}");
            assert!(!told.contains(|c: char| c.is_control()), "{told}");
        }
    }
}
