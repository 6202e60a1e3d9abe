//! An offline node: Ganeti leaves it alone, so what it has is of the day on which it went. When it
//! answers all the same, that is one kind of finding, and not as bad as on a node that is in use.

use crate::Named;
use crate::verify::finding::Finding;
use crate::verify::ids::Id;

/// The findings as they are on an offline node.
pub(super) fn on_offline(found: Vec<Finding>) -> Vec<Finding> {
    found.into_iter().filter_map(one).collect()
}

fn one(found: Finding) -> Option<Finding> {
    match found.id {
        // Ganeti does not tell a node that it is offline, and nothing hangs on it.
        Id::SsconfDiffers if found.subject == "ssconf_offline_nodes" => None,
        // What Ganeti would have brought it.
        Id::MapDiffers
        | Id::MapEntryUnknown
        | Id::MapEntryNoCandidate
        | Id::MapEntryOffline
        | Id::MapEntryMissing
        | Id::SsconfDiffers
        | Id::ConfigurationDiffers
        | Id::SshPubKeysDiffer
        | Id::SshPubKeysMissing
        | Id::SshOldKey
        | Id::SshNormalNode
        | Id::SshMissing => {
            let text = format!("{}: {}", found.id.name(), found.what);
            Some(Finding::new(Id::OfflineOutdated, &found.subject, text))
        }
        // Nobody wants to command it.
        Id::ProxyDown | Id::ProxyUnused | Id::ProxyNotReady | Id::NodedDown => None,
        _ => Some(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{candidate_pem, ids, with};
    use super::super::*;
    use crate::verify::Id::*;
    use crate::verify::tests::nodes_tests::{authorized, candidate, digest, key, key_file, normal};

    /// The beginning of each finding, after one change to n3.
    type Row = (&'static [&'static str], fn(&mut Observed));

    /// A master that has taken n3 offline.
    fn without_n3() -> Master {
        let mut master = candidate();
        if let Seen::Good(configured) = &mut master.configuration {
            let node = configured.nodes.get_mut("uuid-n3").unwrap();
            node.offline = true;
        }
        master.lists.offline = Some(vec!["n3".into()]);
        Master::of(master)
    }

    #[test]
    fn what_an_offline_node_has_of_the_past_is_a_warning_that_names_it() {
        let table: [Row; 9] = [
            // It went a moment ago: all that it does not know is that.
            (&[], |_| {}),
            (&["ssconf_differs: it lacks n2"], |seen| {
                seen.lists.candidates = Some(vec!["n1".into()]);
            }),
            (
                &["map_differs: uuid-evil=42:", "map_entry_unknown: 42:"],
                |seen| {
                    if let Seen::Good(map) = &mut seen.map {
                        map.push(("uuid-evil".into(), digest(0x42)));
                    }
                },
            ),
            (&["map_differs: uuid-n2=02:"], |seen| {
                if let Seen::Good(map) = &mut seen.map {
                    map.remove(1);
                }
            }),
            (&["configuration_differs: its serial"], |seen| {
                seen.configuration = with(|configured| configured.serial = 6);
            }),
            (&["ssh_pub_keys_differ: it has", "ssh_old_key: "], |seen| {
                if let Seen::Good(all) = &mut seen.ssh.pub_keys {
                    all.keys[1].1 = key("new", "root@n2");
                }
                seen.ssh.authorized[0] = authorized(&[
                    key("c1", "root@n1"),
                    key("new", "root@n2"),
                    key("c2", "root@n2"),
                ]);
            }),
            (&["ssh_missing: "], |seen| {
                seen.ssh.authorized[0] = authorized(&[key("c1", "root@n1")]);
            }),
            // Nobody commands it.
            (&[], |seen| {
                let proxy = seen.proxy.as_mut().unwrap();
                proxy.down = Some("connection refused".into());
                proxy.faults = vec![("noded_down".into(), "refused".into())];
            }),
            (&[], |seen| {
                seen.proxy.as_mut().unwrap().ready = false;
            }),
        ];
        for (at, (expected, change)) in table.into_iter().enumerate() {
            let mut seen = normal();
            change(&mut seen);
            let found = without_n3().judge("n3", seen, &Allowed::default()).findings;
            assert_eq!(found.len(), expected.len(), "row {at}: {found:#?}");
            for text in expected {
                let told = found.iter().find(|found| found.what.starts_with(text));
                let told = told.unwrap_or_else(|| panic!("row {at}: {text}: {found:#?}"));
                assert_eq!(told.id, OfflineOutdated);
            }
        }
    }

    #[test]
    fn what_is_no_matter_of_time_is_as_bad_on_an_offline_node() {
        let mut seen = normal();
        seen.certificates.client = candidate_pem();
        seen.ssh.key_files.push(key_file("copy", key("c2", "")));
        seen.proxy.as_mut().unwrap().past = vec!["open".into()];
        let judged = |allowed: &Allowed| without_n3().judge("n3", seen.clone(), allowed).findings;
        let expected = [ClientName, ClientStolen, NodedOpen, SshForeignKey].into();
        assert_eq!(ids(&judged(&Allowed::default())), expected);
        let mut old = seen.clone();
        old.lists.candidates = None;
        let ignored = Allowed {
            ignore: vec![OfflineOutdated],
            ..Allowed::default()
        };
        let found = without_n3().judge("n3", old, &ignored).findings;
        assert_eq!(ids(&found), expected);
    }
}
