//! A cluster whose nodes all have one pair, and a stand-in for ssh that lets in only whom
//! `authorized_keys` lets in.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::executable;
use crate::ssh_keys::{KEYS, PROGRAM, command, said};
use crate::verify::tree::{NODES, Recorded, SshKey};

/// `[-i IDENTITY] root@NODE COMMAND`; KILL says after which deed of the master it is killed.
pub(super) const SSH: &str = r#"#!/bin/bash
name=${@: -2:1}; name=${name#root@}; command=${@: -1}
denied() { echo "Permission denied (publickey)." >&2; exit 255; }
while [[ $# -gt 2 ]]; do [[ $1 == -i ]] && identity=$2; shift; done
: "${identity:=$CALLER/root/.ssh/id_ecdsa}"
[[ ! -e $SCENE/$name.down ]] || denied
root=$(<"$SCENE/$name.root")
key=$(ssh-keygen -y -f "$identity" 2>/dev/null | cut -d' ' -f1,2); [[ -n $key ]] || denied
grep -q "^$key" "$root/root/.ssh/authorized_keys" || denied
[[ ! -e $SCENE/$name.instead ]] || . "$SCENE/$name.instead"
[[ $command == *" look" || $command == true ]] || echo "$name $command" >> "$SCENE/deeds"
[[ ! -e $SCENE/$name.shut || $command != true ]] || denied
CALLER=$root bash -c "$command --config /dev/null --root $root"; status=$?
if [[ -n $KILL && $command != true && $(wc -l 2>/dev/null <"$SCENE/deeds") == "$KILL" ]]; then
  kill -9 $PPID
fi
exit $status
"#;
const OWN: &str = "root/.ssh/id_ecdsa";
pub(super) const LIST: &str = "var/lib/noded-proxy-ssh-keys/pairs";

/// Three nodes that all have the one pair, as Ganeti 2.12 leaves them.
pub(super) struct Scene {
    pub(super) nodes: [Recorded; 3],
    pub(super) dir: TempDir,
    pub(super) shared: SshKey,
}

impl Scene {
    pub(super) fn new() -> Self {
        let shared = SshKey::make(&["-t", "ecdsa", "-b", "384"]);
        let scene = Self {
            nodes: [0, 1, 2].map(Recorded::of),
            dir: tempfile::tempdir().unwrap(),
            shared,
        };
        let line = scene.shared.line("root@n1.example.com");
        for (at, node) in scene.nodes.iter().enumerate() {
            for name in ["root/.ssh/id_rsa", "root/.ssh/id_rsa.pub"] {
                node.remove(name);
            }
            node.remove("var/lib/ganeti/ganeti_pub_keys");
            node.ssh("id_ecdsa", &scene.shared.private, 0o600);
            node.ssh("id_ecdsa.pub", line.as_bytes(), 0o644);
            node.ssh("authorized_keys", line.as_bytes(), 0o600);
            node.data("ssconf_cluster_name", "cluster.example.com\n", 0o444);
            let root = node.path("").display().to_string();
            let file = scene.dir.path().join(format!("{}.root", NODES[at]));
            fs::write(file, root).unwrap();
        }
        scene.roles(0, &[0, 1], &[]);
        fs::create_dir(scene.dir.path().join("bin")).unwrap();
        executable(&scene.dir.path().join("bin/ssh"), SSH);
        std::os::unix::fs::symlink(PROGRAM, scene.dir.path().join("bin/noded-proxy")).unwrap();
        scene
    }

    /// As Ganeti tells all nodes that are there.
    pub(super) fn roles(&self, master: usize, candidates: &[usize], offline: &[usize]) {
        let names = |of: &[usize]| -> String {
            let names = of.iter().map(|at| format!("{}\n", NODES[*at]));
            names.collect()
        };
        for (at, node) in self.nodes.iter().enumerate() {
            if offline.contains(&at) {
                continue;
            }
            node.data("ssconf_master_candidates", &names(candidates), 0o444);
            node.data("ssconf_offline_nodes", &names(offline), 0o444);
            node.data("ssconf_master_node", &names(&[master]), 0o444);
            if candidates.contains(&at) {
                node.configured(candidates, &[], false);
            }
        }
    }

    pub(super) fn mark(&self, at: usize, what: &str, is: bool) {
        let path = self.dir.path().join(format!("{}.{what}", NODES[at]));
        match is {
            true => fs::write(path, "").unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    pub(super) fn command(&self, at: usize, arguments: &[&str]) -> Command {
        let mut command = command(self.dir.path(), &self.nodes[at], arguments);
        command.env("CALLER", self.nodes[at].path(""));
        command
    }

    pub(super) fn on(&self, at: usize, arguments: &[&str]) -> (i32, String) {
        said(&self.command(at, arguments).output().unwrap())
    }

    /// `apply` on the first node, which does all that is to be done.
    pub(super) fn apply(&self, arguments: &[&str]) -> String {
        let (status, text) = self.on(0, &[&["apply"], arguments].concat());
        assert_eq!(status, 0, "{text}");
        text
    }

    pub(super) fn has_pair(&self, at: usize) -> bool {
        self.nodes[at].path(OWN).exists()
    }

    pub(super) fn holders(&self) -> Vec<usize> {
        (0..3).filter(|at| self.has_pair(*at)).collect()
    }

    /// The public half of a node's own key.
    pub(super) fn own(&self, at: usize) -> String {
        let run = Command::new("ssh-keygen")
            .args(["-y", "-f"])
            .arg(self.nodes[at].path(OWN))
            .output()
            .unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        text.split(' ')
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
            .trim()
            .into()
    }

    pub(super) fn lines(&self, at: usize) -> BTreeSet<String> {
        let text = self.nodes[at].text(KEYS);
        text.lines().map(str::to_owned).collect()
    }

    /// Whether the first node's key opens the other's door.
    pub(super) fn gets_in(&self, from: usize, to: usize) -> bool {
        let own = self.own(from);
        !own.is_empty() && self.lines(to).iter().any(|line| line.starts_with(&own))
    }

    /// Private halves are with candidates alone, and each of these gets in everywhere.
    pub(super) fn is_whole(&self, candidates: &[usize], own_pairs: bool) {
        assert_eq!(self.holders(), candidates);
        let owns: BTreeSet<String> = candidates.iter().map(|at| self.own(*at)).collect();
        assert_eq!(owns.len(), if own_pairs { candidates.len() } else { 1 });
        for to in 0..3 {
            assert_eq!(self.lines(to).len(), owns.len(), "{:?}", self.lines(to));
            for from in candidates {
                assert!(self.gets_in(*from, to), "{from} to {to}");
            }
        }
        for node in &self.nodes {
            let kept = fs::read_dir(node.path("var/lib/noded-proxy-ssh-keys")).unwrap();
            let names = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let left: Vec<String> = names
                .filter(|name| {
                    ["key-", "staged", "pending"]
                        .iter()
                        .any(|head| name.starts_with(head))
                })
                .collect();
            assert_eq!(left, [""; 0]);
        }
    }
}
