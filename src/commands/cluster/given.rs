//! Which nodes have been given which certificates, kept beside the master's own. It is a hint for the
//! next run, and never evidence: what cannot be read means that every node is asked.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::node::files::{FileContent, read, replace};

/// Hidden, so that the proxy does not take it for a certificate.
const NAME: &str = ".noded-proxy-given";

const MOST: usize = 1 << 20;

const HEAD: &str = "# Made by `noded-proxy certs distribute`: these nodes have these certificates.";

/// The certificates, by their digests, and the nodes that need not be asked again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) certificates: BTreeSet<String>,
    pub(super) nodes: BTreeSet<String>,
}

impl Given {
    /// What an earlier run left.
    pub(super) fn load(directory: &Path) -> Self {
        let text = match read(&directory.join(NAME), MOST) {
            FileContent::Content(text) => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        };
        text.and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        match Self::load(directory) == *self {
            true => Ok(()), // the proxy looks at each change there
            false => replace(&directory.join(NAME), self.text().as_bytes()),
        }
    }

    /// Nothing, unless it is whole.
    fn parse(text: &str) -> Option<Self> {
        let body = text.strip_suffix("end\n")?.strip_prefix(HEAD)?;
        let mut given = Self::default();
        for line in body.lines().filter(|line| !line.is_empty()) {
            match line.split_once(' ')? {
                ("certificate", digest) => given.certificates.insert(digest.to_owned()),
                ("node", name) => given.nodes.insert(name.to_owned()),
                _ => return None,
            };
        }
        Some(given)
    }

    fn text(&self) -> String {
        let certificates = self.certificates.iter();
        let certificates = certificates.map(|digest| format!("certificate {digest}\n"));
        let nodes = self.nodes.iter().map(|name| format!("node {name}\n"));
        let lines: String = certificates.chain(nodes).collect();
        format!("{HEAD}\n{lines}end\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_comes_back_and_half_of_it_is_nothing() {
        let set = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        let given = Given {
            certificates: set(&["AA:BB", "CC:DD"]),
            nodes: set(&["n2.x", "n3.x"]),
        };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Given::load(dir.path()), Given::default());
        given.save(dir.path()).unwrap();
        assert_eq!(Given::load(dir.path()), given);
        let text = given.text();
        for at in 0..text.len() {
            assert_eq!(Given::parse(&text[..at]), None, "{at}");
        }
        for (from, to) in [("node ", "nodes "), ("node n2.x", "node"), ("# Made", "# ")] {
            assert_eq!(Given::parse(&text.replacen(from, to, 1)), None, "{to}");
        }
    }
}
