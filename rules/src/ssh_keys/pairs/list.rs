//! What was decided for the whole cluster, as every node keeps it: who has which pair. On a candidate
//! it says what to go on with, should that become master; `verify` knows the keys by it. No private half
//! is ever in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ssh_keys::Fingerprint;

/// The form of the document.
pub const VERSION: u32 = 1;
/// Nodes that are believed in one list.
const MOST: usize = 10_000;
/// Bytes of a public half: an RSA key of 16384 bits.
const MOST_PUBLIC: usize = 4096;
/// What the comment of a line begins and ends with.
const COMMENT: (&str, &str) = ("root@", " noded-proxy");

/// A pair, by its public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The key.
    pub key: Fingerprint,
    /// The public half: type and base64.
    pub public: String,
}

impl Pair {
    /// The line of `authorized_keys` for the pair of this node.
    pub fn line(&self, node: &str) -> String {
        format!("{} {}\n", self.public, comment(node))
    }

    /// Whether nothing but a key can be made of the text; whether it is this key says nobody here.
    pub fn is_plain(&self) -> bool {
        let inert = |b: u8| b.is_ascii_alphanumeric() || b"+/=-@.".contains(&b);
        let words: Vec<&str> = self.public.split(' ').collect();
        let is_word = |word: &&str| !word.is_empty() && word.bytes().all(inert);
        self.public.len() <= MOST_PUBLIC && words.len() == 2 && words.iter().all(is_word)
    }
}

/// The comment behind the key of this node's pair.
pub fn comment(node: &str) -> String {
    format!("{}{node}{}", COMMENT.0, COMMENT.1)
}

/// The node whose pair a line's comment names, if such a line was written for [`Pair::line`].
pub fn node_of(comment: &str) -> Option<&str> {
    comment.strip_prefix(COMMENT.0)?.strip_suffix(COMMENT.1)
}

/// Who has which pair.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// [`VERSION`].
    pub version: u32,
    /// Whether each candidate has a pair of its own, or is to get one.
    pub own_pairs: bool,
    /// The pair that candidates share, or shared.
    pub shared: Option<Fingerprint>,
    /// The pair of each node that has one of its own.
    pub own: BTreeMap<String, Pair>,
}

impl List {
    /// Why it cannot be believed, if it cannot.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self { version, .. } if *version != VERSION => Some("it has another version"),
            Self { own, .. } if own.len() > MOST => Some("it has too many nodes"),
            Self { own, .. } if !own.values().all(Pair::is_plain) => Some("a key of it is none"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_halves_as_a_table() {
        let key: Fingerprint = format!("SHA256:{}", "k".repeat(43)).parse().unwrap();
        let long = format!("ssh-rsa {}", "A".repeat(5000));
        for (public, good) in [
            ("ssh-rsa AAAA/+==", true),
            ("ecdsa-sha2-nistp256 AAAA", true),
            ("ssh-rsa", false),
            ("ssh-rsa  AAAA", false),
            ("ssh-rsa AAAA more", false),
            ("command=\"x\" AAAA", false),
            ("ssh-rsa AAAA\nssh-rsa", false),
            (&*long, false),
        ] {
            let (key, public) = (key.clone(), public.to_owned());
            let pair = Pair { key, public };
            assert_eq!(pair.is_plain(), good, "{pair:?}");
            let list = List {
                version: VERSION,
                own: [("n1".into(), pair)].into(),
                ..List::default()
            };
            assert_eq!(list.fault().is_none(), good);
        }
        assert!(List::default().fault().is_some());
    }

    #[test]
    fn comments_as_a_table() {
        for (comment, node) in [
            ("root@n2.x noded-proxy", Some("n2.x")),
            ("root@n2.x", None),
            ("n2.x noded-proxy", None),
            ("root@ noded-proxy", Some("")),
            ("", None),
        ] {
            assert_eq!(node_of(comment), node, "{comment}");
        }
    }
}
