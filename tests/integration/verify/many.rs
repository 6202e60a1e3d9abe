//! A cluster of 200 nodes, each with a recorded tree of its own and a way that takes its time; one of
//! them is silent, one says as much as it may, and a rack of them is offline. How long it takes is no
//! test's business; what it takes of the memory is.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use noded_proxy::node::tree::Tree;
use noded_proxy::verify::{Places, answer, observe};
use serde_json::{Value, json};

use super::cluster::{found, program};
use super::tree::{Recorded, SshKey, cluster};
use crate::cluster::executable;
use crate::support::pki::{Identity, map_text};

const NODES: usize = 200;
const CANDIDATES: usize = 10;
const SILENT: usize = 150;
const TALKER: usize = 151;
const STRANGE: usize = 199;
/// A rack that was taken offline and switched off.
const DEAD: Range<usize> = 100..140;

/// Each answers after a moment of its own with what it has read before.
const SSH: &str = r#"#!/bin/bash
name=${@: -2:1}; name=${name#root@}
if [[ -e $NODES/$name/dead ]]; then
  for option; do case $option in -oConnectTimeout=*) sleep "${option#*=}"; esac; done
  echo "Connection timed out" >&2; exit 255
fi
sleep "$(cat "$NODES/$name/delay")"
[[ ! -e $NODES/$name/down ]] || { echo "No route to host" >&2; exit 255; }
exec cat "$NODES/$name/said"
"#;

/// Kibibytes that the master may take: 32 answers of up to 4 MiB, and one that is read.
const MEMORY: u64 = 400 << 10;

fn name(at: usize) -> String {
    format!("n{}.example.com", at + 1)
}

fn uuid(at: usize) -> String {
    format!("uuid-{}", at + 1)
}

struct Many {
    clients: Vec<Identity>,
    keys: Vec<SshKey>,
}

impl Many {
    fn make() -> Self {
        let pki = &cluster().pki;
        Self {
            clients: (0..NODES).map(|at| pki.client(&name(at))).collect(),
            keys: (0..NODES)
                .map(|_| SshKey::make(&["-t", "ed25519"]))
                .collect(),
        }
    }

    fn key(&self, at: usize) -> String {
        self.keys[at].line(&format!("root@{}", name(at)))
    }

    fn tree(&self, at: usize) -> Recorded {
        let tree = Recorded::bare();
        let line = |at: usize| name(at) + "\n";
        let names = |of: usize| (0..of).map(line).collect::<String>();
        let of_candidates: Vec<(String, &Identity)> = (0..CANDIDATES)
            .map(|at| (uuid(at), &self.clients[at]))
            .collect();
        let listed: Vec<(&str, &Identity)> = of_candidates
            .iter()
            .map(|(uuid, own)| (uuid.as_str(), *own))
            .collect();
        let keys: String = (0..NODES)
            .map(|at| format!("{} {}", uuid(at), self.key(at)))
            .collect();
        tree.put("etc/hostname", name(at), 0o644);
        tree.put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n", 0o644);
        for (file, text, mode) in [
            ("server.pem", cluster().pki.server_pem(), 0o440),
            ("client.pem", self.clients[at].pem.clone(), 0o440),
            ("ssconf_node_list", names(NODES), 0o444),
            ("ssconf_master_candidates", names(CANDIDATES), 0o444),
            ("ssconf_offline_nodes", DEAD.map(line).collect(), 0o444),
            ("ssconf_master_node", name(0), 0o444),
            ("ssconf_cluster_name", "many.example.com\n".into(), 0o444),
            ("ssconf_master_candidates_certs", map_text(&listed), 0o444),
            ("ganeti_pub_keys", keys, 0o600),
        ] {
            tree.data(file, &text, mode);
        }
        let authorized: String = (0..CANDIDATES).map(|at| self.key(at)).collect();
        tree.ssh("authorized_keys", authorized.as_bytes(), 0o600);
        tree.ssh("id_ecdsa", &self.keys[at].private, 0o600);
        if at < CANDIDATES {
            tree.data("config.data", &self.configuration(), 0o640);
        }
        tree
    }

    fn configuration(&self) -> String {
        let nodes = (0..NODES).map(|at| {
            let node = json!({ "name": name(at), "master_candidate": at < CANDIDATES,
                "offline": DEAD.contains(&at) });
            (uuid(at), node)
        });
        let nodes: serde_json::Map<String, Value> = nodes.collect();
        let certs = (0..CANDIDATES).map(|at| (uuid(at), json!(self.clients[at].digest)));
        let certs: serde_json::Map<String, Value> = certs.collect();
        json!({ "nodes": nodes, "cluster": { "candidate_certs": certs }, "serial_no": 5 })
            .to_string()
    }
}

/// What a node's own program would say.
fn observed(tree: &Recorded) -> String {
    let data = Path::new("/var/lib/ganeti");
    let places = Places {
        data: data.into(),
        server_pem: data.join("server.pem"),
        map: data.join("ssconf_master_candidates_certs"),
    };
    let tree = Tree::recorded(&tree.path("")).unwrap();
    answer::write(&observe(&tree, &places, None, 0)).unwrap()
}

/// As many names in a list as fit in an answer: 3 bytes of it would become 24 of memory.
fn talk() -> String {
    let names = "\"\",".repeat((answer::MOST - 200) / 3);
    format!(
        "noded-proxy-observed 1 {{\"observed\": {{\"lists\": {{\"nodes\": [{names}\"\"]}}}}}}\n"
    )
}

/// Runs it; what it said, and the most memory that it had, in KiB.
fn measured(command: &mut Command) -> (Value, u64) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let stdout = child.stdout.take().unwrap();
    let read = thread::spawn(move || std::io::read_to_string(stdout).unwrap());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
        most = size.map_or(most, |size| size.parse().unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    (serde_json::from_str(&read.join().unwrap()).unwrap(), most)
}

#[test]
fn two_hundred_nodes_are_looked_at_within_bounds() {
    let (dir, many) = (tempfile::tempdir().unwrap(), Many::make());
    fs::create_dir(dir.path().join("bin")).unwrap();
    executable(&dir.path().join("bin/ssh"), SSH);
    let master = many.tree(0);
    for at in 0..NODES {
        let folder = dir.path().join(name(at));
        let tree = many.tree(at);
        fs::create_dir(&folder).unwrap();
        if at == STRANGE {
            let line = cluster().stranger.line("intruder");
            tree.ssh("authorized_keys2", line.as_bytes(), 0o600);
        }
        let said = match at {
            TALKER => talk(),
            _ => observed(&tree),
        };
        fs::write(folder.join("said"), said).unwrap();
        fs::write(folder.join("delay"), format!("0.{}", at * 7 % 10)).unwrap();
    }
    fs::write(dir.path().join(name(SILENT)).join("down"), "").unwrap();
    for at in DEAD {
        fs::write(dir.path().join(name(at)).join("dead"), "").unwrap();
    }

    let begin = Instant::now();
    let mut command = program(&dir, &master, &["--json"]);
    let (document, memory) = measured(&mut command);
    eprintln!("{NODES} nodes: {:?}, VmHWM {memory} kB", begin.elapsed());
    let quiet = ["n200 ssh_stranger", "n151 node_unreachable"];
    let found = found(&document);
    for expected in quiet {
        assert!(found.iter().any(|found| found == expected), "{found:#?}");
    }
    let others: Vec<&String> = found
        .iter()
        .filter(|found| !quiet.contains(&found.as_str()) && !found.starts_with("n152 "))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    let nodes = document["nodes"].as_array().unwrap();
    let dead = nodes.iter().filter(|node| node["looked_at"] == "offline");
    assert_eq!((nodes.len(), dead.count()), (NODES, DEAD.len()));
    assert!((1..MEMORY).contains(&memory), "VmHWM {memory} kB");
}
