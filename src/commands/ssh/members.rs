//! The nodes of the cluster, as Ganeti's ssconf files name them. It asks no node.

use std::path::Path;

use crate::node::files::{FileContent, read};
use crate::node::ssconf::{CLUSTER, MASTER, is_of_host};

/// Largest file that is read.
const MOST: usize = 1 << 20;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Port of its ssh daemon.
    pub(crate) port: u16,
    /// Ganeti leaves it out.
    pub(crate) offline: bool,
    pub(crate) candidate: bool,
}

/// All nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) master: String,
    /// Whether nodes are reached by IPv6.
    pub(crate) v6: bool,
    /// Candidates first, for they are trusted; the master is the last.
    pub(crate) members: Vec<Member>,
}

impl Cluster {
    /// As the files in this directory say.
    pub(crate) fn read(dir: &Path) -> Result<Self, String> {
        let content = |name: &str| match read(&dir.join(name), MOST) {
            FileContent::Content(text) => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        };
        Self::parse(content).map_err(|name| {
            let name = dir.join(name);
            format!(
                "{}: absent or empty: is this node in a cluster?",
                name.display()
            )
        })
    }

    /// From the text of each file; the file that is needed and says nothing.
    fn parse(content: impl Fn(&str) -> Option<String>) -> Result<Self, &'static str> {
        let lines = |name| -> Vec<String> {
            let text = content(name).unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| is_plain(line));
            lines.map(str::to_owned).collect()
        };
        let one = |name| lines(name).into_iter().next().ok_or(name);
        let (offline, candidates) = (
            lines("ssconf_offline_nodes"),
            lines("ssconf_master_candidates"),
        );
        let ports = lines("ssconf_ssh_ports");
        let port = |name: &str| {
            let mut pairs = ports.iter().filter_map(|line| line.split_once('='));
            pairs.find_map(|(of, port)| (of == name).then(|| port.parse().ok())?)
        };
        let master = one(MASTER)?;
        let mut members: Vec<Member> = lines("ssconf_node_list")
            .into_iter()
            .map(|name| Member {
                port: port(&name).unwrap_or(22),
                offline: offline.contains(&name),
                candidate: candidates.contains(&name),
                name,
            })
            .collect();
        if members.is_empty() {
            return Err("ssconf_node_list");
        }
        members.sort_by_key(|member| (member.name == master, !member.candidate));
        Ok(Self {
            name: one(CLUSTER)?,
            master,
            v6: lines("ssconf_primary_ip_family") == ["10"], // AF_INET6
            members,
        })
    }

    /// Nothing, if this host is the master.
    pub(crate) fn must_be_master(&self, host: &str) -> Result<(), String> {
        let is_master = is_of_host(&self.master, host);
        let master = &self.master;
        is_master
            .then_some(())
            .ok_or_else(|| format!("this node is not the master: run it on {master}"))
    }
}

/// Whether ssh can take it for nothing but a name.
fn is_plain(line: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || ".-_=:".contains(c);
    !line.is_empty() && !line.starts_with('-') && line.chars().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_as_ganeti_3_0_writes_them() {
        let content = |name: &str| {
            let text = match name {
                "ssconf_node_list" => "n1.x\nn3.x\nn2.x\n-oProxyCommand=x\nn4.x;reboot\n",
                "ssconf_master_node" => "n1.x\n",
                "ssconf_cluster_name" => "c.x\n",
                "ssconf_master_candidates" => "n1.x\nn2.x\n",
                "ssconf_offline_nodes" => "n3.x\n",
                "ssconf_ssh_ports" => "n1.x=22\nn2.x=2222\n",
                "ssconf_primary_ip_family" => "2\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        let cluster = Cluster::parse(content).unwrap();
        let member = |name: &str, port, offline, candidate| Member {
            name: name.into(),
            port,
            offline,
            candidate,
        };
        let expected = [
            member("n2.x", 2222, false, true),
            member("n3.x", 22, true, false),
            member("n1.x", 22, false, true),
        ];
        assert_eq!(cluster.members, expected);
        assert_eq!((&*cluster.name, cluster.v6), ("c.x", false));
        assert_eq!(cluster.must_be_master("n1"), Ok(()));
        assert!(cluster.must_be_master("n2").unwrap_err().contains("n1.x"));
        for needed in [
            "ssconf_node_list",
            "ssconf_master_node",
            "ssconf_cluster_name",
        ] {
            let without = |name: &str| content(name).filter(|_| name != needed);
            assert_eq!(Cluster::parse(without), Err(needed));
        }
    }

    proptest::proptest! {
        /// They become words of a command line.
        #[test]
        fn no_text_panics_or_makes_a_name_that_ssh_or_a_shell_understands(
            texts in proptest::collection::vec("(n1.x\n)?[ -~\n]{0,60}", 6),
        ) {
            let at = |name: &str| name.bytes().map(usize::from).sum::<usize>() % texts.len();
            if let Ok(cluster) = Cluster::parse(|name| Some(texts[at(name)].clone())) {
                for member in &cluster.members {
                    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:=".contains(c);
                    proptest::prop_assert!(member.name.chars().all(plain), "{}", member.name);
                    proptest::prop_assert!(!member.name.starts_with('-'));
                }
            }
        }
    }
}
