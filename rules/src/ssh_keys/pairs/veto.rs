//! What a node refuses, whoever asks: its own ssconf and its own files count more than the master's
//! word. It never says what a node should do.

use std::collections::BTreeSet;

use crate::ssh_keys::Fingerprint;
use crate::ssh_keys::sight::Sight;
use crate::verify::observed::{Observed, Seen};

/// What it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// It gets a private half: the shared pair's, or its own that was made here.
    pub gets: bool,
    /// Keys whose private halves go.
    pub take: BTreeSet<Fingerprint>,
    /// Keys whose lines go.
    pub remove: BTreeSet<Fingerprint>,
}

/// Why not.
pub fn veto(
    seen: &Observed,
    here: &Sight,
    listed: &BTreeSet<String>,
    asked: &Asked,
) -> Option<&'static str> {
    if seen.ssh.pub_keys != Seen::Absent {
        return Some("this node has a ganeti_pub_keys: Ganeti manages the keys");
    }
    let Some(candidates) = &seen.lists.candidates else {
        return Some("this node's ssconf_master_candidates cannot be read");
    };
    let is_candidate = candidates.contains(&seen.host);
    let is_master = seen.lists.master.as_ref() == Some(&seen.host);
    if asked.gets && !is_candidate {
        return Some("by this node's ssconf it is no master candidate");
    }
    if !asked.take.is_empty() && (is_candidate || is_master) {
        return Some("by this node's ssconf it is the master or a candidate");
    }
    let mut remove = asked.remove.iter();
    if remove.any(|key| listed.contains(&key.to_string())) {
        return Some("this node's verify.allow_ssh_keys has it");
    }
    let mut own = here.files.iter().filter(|file| file.is_own());
    let used = own.any(|f| asked.remove.contains(&f.key) && !asked.take.contains(&f.key));
    used.then_some("this node uses it as its own key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh_keys::sight::KeyFile;
    use crate::verify::observed::PubKeys;

    fn key(letter: char) -> Fingerprint {
        let text = format!("SHA256:{}", letter.to_string().repeat(43));
        text.parse().unwrap()
    }

    fn seen() -> Observed {
        let mut seen = Observed {
            host: "n2".into(),
            ..Observed::default()
        };
        seen.lists.candidates = Some(vec!["n1".into()]);
        seen.lists.master = Some("n1".into());
        seen
    }

    #[test]
    fn what_a_node_refuses_as_a_table() {
        let candidate = |seen: &mut Observed| seen.lists.candidates = Some(vec!["n2".into()]);
        let gets = Asked {
            gets: true,
            ..Asked::default()
        };
        let take = Asked {
            take: [key('s')].into(),
            ..Asked::default()
        };
        let remove = Asked {
            remove: [key('s')].into(),
            ..Asked::default()
        };
        let both = Asked {
            take: [key('s')].into(),
            ..remove.clone()
        };
        type Change<'a> = &'a dyn Fn(&mut Observed);
        let none: Change<'_> = &|_| {};
        let as_candidate: Change<'_> = &candidate;
        let master: Change<'_> = &|seen| seen.lists.master = Some("n2".into());
        let unread: Change<'_> = &|seen| seen.lists.candidates = None;
        let managed: Change<'_> = &|seen| seen.ssh.pub_keys = Seen::Good(PubKeys::default());
        for (asked, change, own, word) in [
            (&gets, none, false, Some("no master candidate")),
            (&gets, as_candidate, false, None),
            (&take, none, true, None),
            (&take, as_candidate, true, Some("the master or a candidate")),
            (&take, master, true, Some("the master or a candidate")),
            (&take, unread, true, Some("cannot be read")),
            (&take, managed, true, Some("Ganeti manages")),
            (&remove, as_candidate, false, None),
            (&remove, as_candidate, true, Some("its own key")),
            (&both, none, true, None),
        ] {
            let mut here = Sight::default();
            here.files.extend(own.then(|| KeyFile {
                name: "id_rsa".into(),
                private: true,
                key: key('s'),
                modified: 0,
                of_root: true,
                signature: None,
                proven: true,
            }));
            let mut seen = seen();
            change(&mut seen);
            let told = veto(&seen, &here, &BTreeSet::new(), asked);
            assert_eq!(told.is_some(), word.is_some(), "{asked:?} {seen:?}");
            assert!(told.unwrap_or_default().contains(word.unwrap_or_default()));
        }
        let listed = BTreeSet::from([key('s').to_string()]);
        let told = veto(&seen(), &Sight::default(), &listed, &remove);
        assert!(told.unwrap().contains("allow_ssh_keys"));
    }
}
