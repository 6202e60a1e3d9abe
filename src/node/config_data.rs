//! The parts of `config.data`, the cluster's configuration on master candidates, that `verify`
//! compares. Everything else in it is skipped and never kept: it holds secrets.

use std::collections::BTreeMap;

use rules::verify::observed::{Configuration, Node};
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    nodes: BTreeMap<String, NodeData>,
    cluster: ClusterData,
    #[serde(default)]
    serial_no: u64,
    #[serde(default)]
    version: u64,
}

#[derive(Deserialize)]
struct NodeData {
    name: String,
    #[serde(default)]
    master_candidate: bool,
    #[serde(default)]
    offline: bool,
    #[serde(default)]
    drained: bool,
}

#[derive(Deserialize)]
struct ClusterData {
    /// Since Ganeti 2.11.
    #[serde(default)]
    candidate_certs: Option<BTreeMap<String, String>>,
    /// Whether Ganeti manages the SSH keys; by default it does.
    #[serde(default)]
    modify_ssh_setup: Option<bool>,
}

/// Reads the text of `config.data`.
pub fn parse(text: &[u8]) -> Result<Configuration, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let nodes = document.nodes.into_iter();
    Ok(Configuration {
        nodes: nodes.map(|(uuid, data)| (uuid, node(data))).collect(),
        candidate_certs: document.cluster.candidate_certs.unwrap_or_default(),
        modify_ssh_setup: document.cluster.modify_ssh_setup.unwrap_or(true),
        serial: document.serial_no,
        version: document.version,
    })
}

fn node(data: NodeData) -> Node {
    Node {
        name: data.name,
        master_candidate: data.master_candidate,
        offline: data.offline,
        drained: data.drained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_compared_is_read_and_nothing_else() {
        let text = br#"{"nodes": {"uuid-1": {"name": "n1", "master_candidate": true, "x": [1]},
            "uuid-2": {"name": "n2", "offline": true, "drained": false, "ndparams": {}}},
            "instances": {"i": {"osparams_private": {"root_password": "secret"}}},
            "cluster": {"candidate_certs": {"uuid-1": "AA"}, "modify_ssh_setup": false},
            "serial_no": 41, "version": 2120600}"#;
        let read = parse(text).unwrap();
        assert!(read.nodes["uuid-1"].master_candidate && !read.nodes["uuid-1"].offline);
        assert!(read.nodes["uuid-2"].offline && read.nodes["uuid-2"].name == "n2");
        assert_eq!(read.candidate_certs["uuid-1"], "AA");
        assert!(!read.modify_ssh_setup);
        assert_eq!((read.serial, read.version), (41, 2_120_600));
        assert!(!read.manages_keys());
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn an_old_configuration_has_no_map_and_a_broken_one_says_where() {
        let old = parse(br#"{"nodes": {}, "cluster": {}}"#).unwrap();
        assert!(old.candidate_certs.is_empty() && old.modify_ssh_setup);
        for text in [&b""[..], b"{", b"[]", br#"{"nodes": {}}"#, b"\xff"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
