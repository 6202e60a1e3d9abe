//! What a node never removes, whoever asks: its own files count more than the master's word.

use std::collections::BTreeSet;

use super::Fingerprint;
use super::sight::Sight;

/// Why this key stays on this node. `current` is what its own `ganeti_pub_keys` has.
pub fn veto(
    here: &Sight,
    current: &BTreeSet<Fingerprint>,
    listed: &BTreeSet<String>,
    key: &Fingerprint,
) -> Option<&'static str> {
    let mut files = here.files.iter();
    if listed.contains(&key.to_string()) {
        return Some("this node's verify.allow_ssh_keys has it");
    }
    if current.contains(key) {
        return Some("this node's ganeti_pub_keys has it");
    }
    let used = files.any(|file| file.private && !file.is_backup() && file.key == *key);
    used.then_some("a private key of this node fits it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh_keys::sight::KeyFile;

    #[test]
    fn what_a_node_refuses_as_a_table() {
        let key: Fingerprint = format!("SHA256:{}", "k".repeat(43)).parse().unwrap();
        let with = |name: &str, private| Sight {
            files: vec![KeyFile {
                name: name.into(),
                private,
                key: key.clone(),
                modified: 0,
                of_root: true,
                signature: None,
                proven: true,
            }],
            ..Sight::default()
        };
        let (none, one) = (BTreeSet::new(), BTreeSet::from([key.clone()]));
        let (unlisted, listed) = (BTreeSet::new(), BTreeSet::from([key.to_string()]));
        for (here, current, listed, word) in [
            (Sight::default(), &none, &unlisted, None),
            (Sight::default(), &none, &listed, Some("allow_ssh_keys")),
            (Sight::default(), &one, &unlisted, Some("ganeti_pub_keys")),
            (with("id_rsa", true), &none, &unlisted, Some("private key")),
            (with("other", true), &none, &unlisted, Some("private key")),
            (with("other.pub", false), &none, &unlisted, None),
            (with("id_rsa.backup-1", true), &none, &unlisted, None),
        ] {
            let told = veto(&here, current, listed, &key);
            assert_eq!(told.is_some(), word.is_some(), "{here:?}");
            assert!(told.unwrap_or_default().contains(word.unwrap_or_default()));
        }
    }
}
