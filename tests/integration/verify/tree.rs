//! Recorded trees of a good cluster's nodes, as Ganeti leaves them: n1 is the master, n2 a candidate,
//! n3 a normal node. Certificates are minted and SSH keys made with `ssh-keygen` in the test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tempfile::TempDir;

use crate::support::pki::{Identity, Pki, map_text};

pub(crate) const NODES: [&str; 3] = ["n1.example.com", "n2.example.com", "n3.example.com"];
const UUIDS: [&str; 3] = ["uuid-n1", "uuid-n2", "uuid-n3"];
const DATA: &str = "var/lib/ganeti";

/// A pair of SSH keys, as files have them.
#[derive(Clone)]
pub(crate) struct SshKey {
    pub(crate) private: Vec<u8>,
    /// Type and key, without a comment.
    pub(crate) public: String,
    pub(crate) fingerprint: String,
}

impl SshKey {
    /// Makes a pair; `options` say of which type and form.
    pub(crate) fn make(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let run = |arguments: &[&str]| {
            let run = Command::new("ssh-keygen")
                .args(arguments)
                .arg("-f")
                .arg(&file)
                .output();
            let run = run.unwrap();
            assert!(run.status.success(), "ssh-keygen {arguments:?}: {run:?}");
            String::from_utf8(run.stdout).unwrap()
        };
        run(&[&["-q", "-N", "", "-C", ""], options].concat());
        let public = fs::read_to_string(file.with_extension("pub")).unwrap();
        let fingerprint = run(&["-l"]).split(' ').nth(1).unwrap().to_owned();
        Self {
            private: fs::read(&file).unwrap(),
            public: public.trim().to_owned(),
            fingerprint,
        }
    }

    /// A line of `authorized_keys`.
    pub(crate) fn line(&self, comment: &str) -> String {
        format!("{} {comment}\n", self.public)
    }
}

/// What a cluster has, and some keys that are no node's.
pub(crate) struct Cluster {
    pub(crate) pki: Pki,
    pub(crate) clients: [Identity; 3],
    pub(crate) keys: [SshKey; 3],
    /// A former key of n2.
    pub(crate) old: SshKey,
    pub(crate) stranger: SshKey,
}

/// One cluster for all tests: keys cost time.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let pki = Pki::new();
        let rsa = || SshKey::make(&["-t", "rsa", "-b", "2048"]);
        Cluster {
            clients: NODES.map(|name| pki.client(name)),
            keys: [0; 3].map(|_| rsa()),
            old: rsa(),
            stranger: SshKey::make(&["-t", "ed25519"]),
            pki,
        }
    })
}

/// The recorded tree of one node.
pub(crate) struct Recorded {
    dir: TempDir,
}

impl Recorded {
    /// A tree without a file.
    pub(crate) fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    /// As Ganeti leaves it; `at` is the node's place in [`NODES`].
    pub(crate) fn of(at: usize) -> Self {
        let cluster = cluster();
        let tree = Self::bare();
        tree.put("etc/hostname", format!("{}\n", NODES[at]), 0o644);
        tree.put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n", 0o644);
        tree.put("etc/ssh/sshd_config", "PermitRootLogin yes\n", 0o644);
        let data = |name: &str, content: &str, mode| tree.data(name, content, mode);
        data("server.pem", &cluster.pki.server_pem(), 0o440);
        data("client.pem", &cluster.clients[at].pem, 0o440);
        data("hmac.key", "secret\n", 0o440);
        data(
            "ssconf_node_list",
            &NODES.map(|n| format!("{n}\n")).concat(),
            0o444,
        );
        let candidates = format!("{}\n{}\n", NODES[0], NODES[1]);
        data("ssconf_master_candidates", &candidates, 0o444);
        data("ssconf_offline_nodes", "", 0o444);
        data("ssconf_master_node", &format!("{}\n", NODES[0]), 0o444);
        tree.map(&[0, 1]);
        tree.pub_keys("");
        let ssh = |name: &str, content: &[u8], mode| tree.ssh(name, content, mode);
        let own = &cluster.keys[at];
        ssh("id_rsa", &own.private, 0o600);
        let public = own.line(&format!("root@{}", NODES[at]));
        ssh("id_rsa.pub", public.as_bytes(), 0o644);
        tree.authorize("");
        if at < 2 {
            tree.configuration(&[0, 1], &[]);
        }
        tree.put(
            "etc/ganeti/hooks/cluster-verify-post.d/x",
            "#!/bin/sh\n",
            0o755,
        );
        tree
    }

    /// Writes a file, whatever was there.
    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let path = self.path(path);
        let mut directory = path.parent().unwrap().to_owned();
        fs::create_dir_all(&directory).unwrap();
        while directory != self.dir.path() {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
            directory.pop();
        }
        let _ = fs::remove_file(&path);
        fs::write(&path, content).unwrap();
        self.chmod(
            path.strip_prefix(self.dir.path())
                .unwrap()
                .to_str()
                .unwrap(),
            mode,
        );
    }

    pub(crate) fn data(&self, name: &str, content: &str, mode: u32) {
        self.put(&format!("{DATA}/{name}"), content, mode);
    }

    pub(crate) fn ssh(&self, name: &str, content: &[u8], mode: u32) {
        self.put(&format!("root/.ssh/{name}"), content, mode);
    }

    /// Ganeti's keys and this line in `authorized_keys`.
    pub(crate) fn authorize(&self, more: &str) {
        let keys = &cluster().keys;
        let of = |at: usize| keys[at].line(&format!("root@{}", NODES[at]));
        let own = match self.text("etc/hostname").trim() == NODES[2] {
            true => of(2),
            false => String::new(),
        };
        let text = [of(0), of(1), own, more.to_owned()].concat();
        self.ssh("authorized_keys", text.as_bytes(), 0o600);
    }

    /// Ganeti's list of keys, and these lines.
    pub(crate) fn pub_keys(&self, more: &str) {
        let lines = (0..3).map(|at| {
            let comment = format!("root@{}", NODES[at]);
            format!("{} {}", UUIDS[at], cluster().keys[at].line(&comment))
        });
        let text: String = lines.collect();
        self.data("ganeti_pub_keys", &(text + "\n" + more), 0o600);
    }

    /// The candidate map with the certificates of these nodes.
    pub(crate) fn map(&self, listed: &[usize]) {
        let of = |at: &usize| (UUIDS[*at], &cluster().clients[*at]);
        let entries: Vec<(&str, &Identity)> = listed.iter().map(of).collect();
        self.data("ssconf_master_candidates_certs", &map_text(&entries), 0o444);
    }

    /// One more line in the candidate map.
    pub(crate) fn map_more(&self, uuid: &str, client: &Identity) {
        let name = "ssconf_master_candidates_certs";
        let text = self.text(&format!("{DATA}/{name}")) + &map_text(&[(uuid, client)]);
        self.data(name, &text, 0o444);
    }

    /// `config.data` with these candidates, and further entries of its map.
    pub(crate) fn configuration(&self, candidates: &[usize], more: &[(&str, &Identity)]) {
        self.configured(candidates, more, true);
    }

    /// The same; with whether Ganeti manages the SSH keys.
    pub(crate) fn configured(
        &self,
        candidates: &[usize],
        more: &[(&str, &Identity)],
        manages: bool,
    ) {
        let mut nodes = serde_json::Map::new();
        let mut certs = serde_json::Map::new();
        for (at, uuid) in UUIDS.into_iter().enumerate() {
            let is_candidate = candidates.contains(&at);
            let node = json!({ "name": NODES[at], "master_candidate": is_candidate,
                "offline": false, "drained": false, "primary_ip": "192.0.2.1" });
            nodes.insert(uuid.into(), node);
            if is_candidate {
                certs.insert(uuid.into(), json!(cluster().clients[at].digest));
            }
        }
        for (uuid, client) in more {
            certs.insert((*uuid).into(), json!(client.digest));
        }
        let cluster = json!({ "candidate_certs": certs, "modify_ssh_setup": manages });
        let document = json!({ "version": 3_000_000, "cluster": cluster, "nodes": nodes });
        self.data("config.data", &document.to_string(), 0o640);
    }

    pub(crate) fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    pub(crate) fn link(&self, to: &Path, path: &str) {
        symlink(to, self.path(path)).unwrap();
    }

    /// As if it had been written so long ago.
    pub(crate) fn age(&self, path: &str, age: Duration) {
        let file = fs::File::open(self.path(path)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Runs `verify` on it.
    pub(crate) fn verify(&self, arguments: &[&str]) -> std::process::Output {
        let mut verify = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
        let verify = verify.arg("verify").arg("--root").arg(self.dir.path());
        verify.args(arguments).output().unwrap()
    }
}
