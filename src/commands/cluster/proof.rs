//! Whether this node, the master, gets through to another one: by a real RPC with its own certificate,
//! as all of Ganeti's come. A node's own `install` cannot show that: from a normal node any RPC is
//! refused, and from a candidate it comes from the same machine.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::commands::own_call::own_call;
use crate::config::Config;
use crate::node::ssconf::Ssconf;

/// Time for the call to come through: a proxy that has just started is behind for a moment.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);

/// What the node has answered, in a line.
pub(super) fn call(config: &Config, node: &str) -> Result<String, String> {
    let port = config.listen.first().map_or(1811, |own| own.port()); // Ganeti has one for all
    let address = SocketAddr::new(address(config, node)?, port);
    let end = Instant::now() + PATIENCE;
    loop {
        match own_call(config, address) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {
                let own = config.server_pem.with_file_name("client.pem");
                let own = own.display();
                return Err(format!(
                    "{own}: not in the candidate map, so no RPC can be made"
                ));
            }
            Err(_) if Instant::now() < end => sleep(PAUSE),
            Err(why) => return Err(why),
        }
    }
}

/// Its primary address, as Ganeti has it.
fn address(config: &Config, node: &str) -> Result<IpAddr, String> {
    let mut ssconf = Ssconf::default();
    ssconf.read(&config.ssconf_dir, |_| false);
    let address = ssconf.primary_addresses.get(node).copied();
    address.ok_or_else(|| format!("ssconf_node_primary_ips has no address of {node}"))
}
