//! Ganeti's lists, the candidate map, the configuration and the users of the remote API. It compares
//! nothing.

use std::path::Path;

use super::look::Look;
use crate::node::ssconf::is_of_host;
use crate::node::{config_data, rapi};
use rules::candidates::{MAX_BYTES, MapFile, parse};
use rules::identity::Digest;
use rules::verify::observed::{Configuration, Lists, RapiUser, Seen};

/// Largest ssconf file that is read; Ganeti's own limit is 128 KiB.
const MOST: usize = 1 << 20;
/// Largest configuration that is read: a cluster of thousands of instances has some 10 MiB.
const MOST_CONFIGURATION: usize = 256 << 20;

/// Ganeti's lists of names.
pub(super) fn ssconf(look: &Look<'_>, data: &Path) -> Lists {
    let list = |name: &str| {
        let content = look.bytes(&data.join(name), MOST);
        let text = String::from_utf8_lossy(content.good()?).into_owned();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Some(lines.map(str::to_owned).collect::<Vec<_>>())
    };
    Lists {
        nodes: list("ssconf_node_list"),
        candidates: list("ssconf_master_candidates"),
        offline: list("ssconf_offline_nodes"),
        master: list("ssconf_master_node").and_then(|names| names.into_iter().next()),
    }
}

/// This node's name as Ganeti has it; else that of the host. A recorded tree says it itself.
pub(super) fn own_name(look: &Look<'_>, host: Option<&str>, lists: &Lists) -> String {
    let recorded = || {
        let content = look.bytes(Path::new("/etc/hostname"), MOST);
        let text = content
            .good()
            .map(|text| String::from_utf8_lossy(text).into_owned());
        text.unwrap_or_default().trim().to_owned()
    };
    let host = host.map_or_else(recorded, str::to_owned);
    let mut nodes = lists.nodes.iter().flatten();
    let own = nodes.find(|name| is_of_host(name, &host)).cloned();
    own.unwrap_or(host)
}

/// The candidate map.
pub(super) fn map(look: &Look<'_>, path: &Path) -> Seen<Vec<(String, Digest)>> {
    look.parsed(path, MAX_BYTES, |text| match parse(text) {
        MapFile::Listed(map) => {
            let entries = map.iter().map(|(uuid, digest)| (uuid.to_owned(), digest));
            Ok(entries.collect())
        }
        MapFile::Empty => Ok(Vec::new()),
        faulty => Err(faulty.to_string()),
    })
}

/// The configuration, on candidates.
pub(super) fn configuration(look: &Look<'_>, data: &Path) -> Seen<Configuration> {
    let path = data.join("config.data");
    look.parsed(&path, MOST_CONFIGURATION, config_data::parse)
}

/// The users of the remote API.
pub(super) fn rapi_users(look: &Look<'_>, data: &Path) -> Seen<Vec<RapiUser>> {
    let users = |text: &[u8]| Ok(rapi::users(text));
    look.parsed(&data.join("rapi/users"), MOST, users)
}
