//! What Ganeti's other ssconf files say about the cluster: its name, the addresses of candidates and
//! nodes, who is master, and who is to become it.
//!
//! None of it ever admits anybody. The addresses decide who is served first under overload, and
//! with `bind_peer` they can refuse a peer. The master's name is for the RPC policy. If a file is
//! faulty, its last good content stays.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::files::{self, FileContent};
use super::flaw::Flaw;
use rules::master::announced;

/// Largest file that is read; Ganeti's own limit is 128 KiB.
const MAX_BYTES: usize = 1 << 20;

/// Primary addresses of the master candidates, one a line.
pub(crate) const CANDIDATES: &str = "ssconf_master_candidates_ips";
/// Primary addresses of all nodes, `NAME ADDRESS` a line.
pub(crate) const NODES: &str = "ssconf_node_primary_ips";
/// Name of the master.
pub(crate) const MASTER: &str = "ssconf_master_node";
/// The cluster's own address, which the master holds.
pub(crate) const MASTER_IP: &str = "ssconf_master_ip";
/// The tags of the cluster, one a line.
pub(crate) const TAGS: &str = "ssconf_cluster_tags";
/// Name of the cluster.
pub(crate) const CLUSTER: &str = "ssconf_cluster_name";

/// Longest name, in bytes: that of a host (RFC 1035 section 2.3.4).
const MOST_NAME: usize = 255;

/// The files' names in the ssconf directory.
pub const FILES: [&str; 6] = [CANDIDATES, NODES, MASTER, MASTER_IP, TAGS, CLUSTER];

/// What the files say. An absent file counts as empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssconf {
    pub(crate) candidate_addresses: Arc<HashSet<IpAddr>>,
    pub(crate) primary_addresses: Arc<HashMap<String, IpAddr>>,
    pub(crate) master_node: Option<Arc<str>>,
    pub(crate) master_ip: Option<IpAddr>,
    /// Those that the cluster's tags announce as the next master.
    pub(crate) announced: Arc<BTreeSet<Box<str>>>,
    pub(crate) cluster_name: Option<Arc<str>>,
}

impl Ssconf {
    /// Reads the files of this directory, except for those that are being written (`is_held`). A
    /// faulty one changes nothing; it is in the answer, by its name, with its flaw.
    pub(crate) fn read(
        &mut self,
        dir: &Path,
        is_held: impl Fn(&str) -> bool,
    ) -> Vec<(&'static str, Flaw)> {
        let mut flaws = Vec::new();
        for name in FILES.into_iter().filter(|name| !is_held(name)) {
            let taken = text(dir, name).and_then(|text| self.take(name, &text));
            flaws.extend(taken.err().map(|flaw| (name, flaw)));
        }
        flaws
    }

    /// The text of one file, by its name. A faulty one changes nothing.
    pub fn take(&mut self, name: &str, text: &str) -> Result<(), Flaw> {
        match name {
            CANDIDATES => update(&mut self.candidate_addresses, addresses(text)?),
            NODES => update(&mut self.primary_addresses, node_addresses(text)?),
            MASTER => self.master_node = one_name(text)?,
            MASTER_IP => self.master_ip = one_address(text)?,
            CLUSTER => self.cluster_name = one_name(text)?,
            _ => update(&mut self.announced, announced(text.lines().map(str::trim))), // TAGS
        }
        Ok(())
    }

    /// The names of the node with this host name, and that of the cluster: what clients may call
    /// it by.
    pub fn names_of(&self, host: &str) -> BTreeSet<String> {
        let nodes = self.primary_addresses.keys().map(String::as_str);
        let own = nodes.filter(|name| is_of_host(name, host));
        let known = own.chain(self.cluster_name.as_deref()).chain([host]);
        known.map(str::to_owned).collect()
    }
}

/// Whether a node's name is that of this host. Ganeti's names are fully qualified, the host's own
/// may be the first label.
pub(crate) fn is_of_host(name: &str, host: &str) -> bool {
    name == host || (!host.contains('.') && name.split('.').next() == Some(host))
}

/// Keeps the old allocation if nothing changed.
fn update<T: PartialEq>(old: &mut Arc<T>, new: T) {
    if **old != new {
        *old = Arc::new(new);
    }
}

fn text(dir: &Path, name: &str) -> Result<String, Flaw> {
    match files::read(&dir.join(name), MAX_BYTES) {
        FileContent::Absent => Ok(String::new()),
        FileContent::TooLarge => Err(Flaw::TooLarge { limit: MAX_BYTES }),
        FileContent::Unreadable(why) => Err(Flaw::Unreadable { why }),
        FileContent::Content(bytes) => {
            String::from_utf8(bytes.to_vec()).map_err(|_| Flaw::malformed("not text"))
        }
    }
}

/// The lines that are not blank, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate();
    numbered
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

fn address(at: usize, text: &str) -> Result<IpAddr, Flaw> {
    let parsed: Result<IpAddr, _> = text.parse();
    parsed
        .map(|address| address.to_canonical())
        .map_err(|_| Flaw::at_line(at, "not an IP address"))
}

fn one_address(text: &str) -> Result<Option<IpAddr>, Flaw> {
    let mut lines = lines(text);
    let first = lines.next().map(|(at, line)| address(at, line));
    match lines.next() {
        None => first.transpose(),
        Some(_) => Err(Flaw::malformed("not one address")),
    }
}

fn addresses(text: &str) -> Result<HashSet<IpAddr>, Flaw> {
    lines(text).map(|(at, line)| address(at, line)).collect()
}

fn node_addresses(text: &str) -> Result<HashMap<String, IpAddr>, Flaw> {
    lines(text)
        .map(|(at, line)| match line.split_once(' ') {
            Some((name, rest)) => Ok((name_at(at, name)?.to_owned(), address(at, rest.trim())?)),
            None => Err(Flaw::at_line(at, "not NAME ADDRESS")),
        })
        .collect()
}

/// A host's name. Logs and terminals show it.
fn name_at(at: usize, text: &str) -> Result<&str, Flaw> {
    let is_name =
        (1..=MOST_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    is_name
        .then_some(text)
        .ok_or_else(|| Flaw::at_line(at, "not a name"))
}

fn one_name(text: &str) -> Result<Option<Arc<str>>, Flaw> {
    let mut lines = lines(text);
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some((at, name)), None) => Ok(Some(name_at(at, name)?.into())),
        _ => Err(Flaw::malformed("not one name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_read_one_a_line() {
        let table: [(&str, Result<&[&str], &str>); 5] = [
            ("", Ok(&[])),
            ("192.0.2.1\n192.0.2.2\n", Ok(&["192.0.2.1", "192.0.2.2"])),
            (
                "2001:db8::1\n\n::ffff:192.0.2.1",
                Ok(&["2001:db8::1", "192.0.2.1"]),
            ),
            ("192.0.2.1\nnode2\n", Err("line 2: not an IP address")),
            ("192.0.2.1 192.0.2.2", Err("line 1: not an IP address")),
        ];
        for (text, expected) in table {
            let expected = expected.map(|list| list.iter().map(|a| ip(a)).collect());
            let found = addresses(text).map_err(|flaw| flaw.to_string());
            assert_eq!(found, expected.map_err(String::from), "{text:?}");
        }
    }

    #[test]
    fn nodes_and_master_are_read() {
        let nodes = node_addresses("node1.example.com 192.0.2.1\nnode2 2001:db8::2\n").unwrap();
        assert_eq!(nodes["node1.example.com"], ip("192.0.2.1"));
        assert_eq!(nodes.len(), 2);
        assert!(node_addresses("node1\n").is_err());
        assert!(node_addresses("node1 x\n").is_err());
        assert_eq!(
            one_name("node1.example.com\n").unwrap().as_deref(),
            Some("node1.example.com")
        );
        assert_eq!(one_name("\n").unwrap(), None);
        assert!(one_name("a b").is_err() && one_name("a\nb").is_err());
    }

    #[test]
    fn a_node_is_called_by_its_names_and_that_of_the_cluster() {
        let nodes = node_addresses("node1.example.com 192.0.2.1\nnode10.example.com 192.0.2.2");
        let ssconf = Ssconf {
            primary_addresses: Arc::new(nodes.unwrap()),
            cluster_name: one_name("cluster.example.com\n").unwrap(),
            ..Ssconf::default()
        };
        let table = [
            ("node1", "cluster.example.com node1 node1.example.com"),
            ("node1.example.com", "cluster.example.com node1.example.com"),
            ("node2.other", "cluster.example.com node2.other"),
        ];
        for (host, expected) in table {
            let expected: BTreeSet<String> = expected.split(' ').map(str::to_owned).collect();
            assert_eq!(ssconf.names_of(host), expected);
        }
    }

    #[test]
    fn the_cluster_s_address_and_the_announced_successors_are_read() {
        assert_eq!(one_address("192.0.2.200\n"), Ok(Some(ip("192.0.2.200"))));
        assert_eq!(one_address(""), Ok(None));
        assert!(one_address("x").is_err() && one_address("192.0.2.1\n192.0.2.2").is_err());
        let dir = tempfile::tempdir().unwrap();
        let tags = "other\nnoded-proxy:successor:node2.example.com\n";
        std::fs::write(dir.path().join(TAGS), tags).unwrap();
        let mut ssconf = Ssconf::default();
        ssconf.read(dir.path(), |_| false);
        assert_eq!(*ssconf.announced, ["node2.example.com".into()].into());
    }

    #[test]
    fn a_name_has_nothing_that_a_terminal_obeys() {
        for name in ["node1 node2", "node1\x1b[2J", "n\u{f6}de", &"n".repeat(256)] {
            let mut ssconf = Ssconf::default();
            assert!(ssconf.take(MASTER, &format!("{name}\n")).is_err(), "{name}");
            assert!(ssconf.take(NODES, &format!("{name} 192.0.2.1\n")).is_err());
        }
    }

    #[test]
    fn a_faulty_file_keeps_what_it_said_and_an_absent_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let mut ssconf = Ssconf::default();
        let mut read = || {
            let flaws = ssconf.read(dir.path(), |_| false);
            (ssconf.clone(), flaws)
        };
        assert_eq!(read(), (Ssconf::default(), vec![]));
        write(CANDIDATES, "192.0.2.1\n");
        write(MASTER, "node1\n");
        let (good, faults) = read();
        assert_eq!((good.candidate_addresses.len(), faults.len()), (1, 0));
        write(CANDIDATES, "oops\n");
        let (kept, faults) = read();
        assert_eq!(
            (kept, faults),
            (
                good,
                vec![(CANDIDATES, Flaw::at_line(1, "not an IP address"))]
            )
        );
        for name in [CANDIDATES, MASTER] {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
        assert_eq!(read(), (Ssconf::default(), vec![]));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\\n0-9a-f.:]{0,80}") {
            for name in FILES {
                let _ = Ssconf::default().take(name, &text);
            }
        }

        #[test]
        fn no_address_is_lost(
            lines in proptest::collection::vec("10\\.0\\.[0-9]\\.[1-9]|2001:db8::[1-9a-f]{1,4}| ?", 0..9),
        ) {
            let written = lines.iter().filter(|line| !line.trim().is_empty());
            let written: HashSet<IpAddr> = written.map(|line| ip(line)).collect();
            proptest::prop_assert_eq!(addresses(&lines.join("\n")), Ok(written));
        }
    }
}
