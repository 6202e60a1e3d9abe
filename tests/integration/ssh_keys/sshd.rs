//! The logins that prove a change, with the real ssh and sshd: one sshd for each node, which reads the
//! authorized keys of that node's tree.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{BACKUP, KEYS, PROGRAM, said};
use crate::cluster::executable;
use crate::support::wait_until;
use crate::verify::tree::{NODES, Recorded, SshKey, cluster};

/// n1 (the master) and n3, reached by real ssh; n2 is offline. A former key of n3's is authorized on
/// both.
struct Scene {
    nodes: [Recorded; 2],
    dir: tempfile::TempDir,
    ports: [u16; 2],
    daemons: Vec<Child>,
}

const AT: [usize; 2] = [0, 2];

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nodes = AT.map(Recorded::of);
        let free = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free
            .each_ref()
            .map(|free| free.local_addr().unwrap().port());
        drop(free);
        let mut scene = Self {
            nodes,
            dir,
            ports,
            daemons: Vec::new(),
        };
        let host_key = SshKey::make(&["-t", "ed25519"]);
        scene.private("host_key", &host_key.private);
        for at in 0..2 {
            scene.prepare(at, &host_key);
            scene.start(at);
        }
        scene
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn private(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, mode).unwrap();
    }

    /// Ganeti's files, and what sshd runs in the place of each command.
    fn prepare(&self, at: usize, host_key: &SshKey) {
        let (node, cluster) = (&self.nodes[at], cluster());
        node.authorize(&cluster.old.line("root@n3.example.com"));
        if AT[at] == 2 {
            node.ssh(BACKUP, &cluster.old.private, 0o600);
        }
        let known = format!("cluster.example.com {}\n", host_key.public);
        let ports = format!(
            "{}={}\n{}={}\n",
            NODES[0], self.ports[0], NODES[2], self.ports[1]
        );
        for (name, content) in [
            ("ssconf_cluster_name", "cluster.example.com\n"),
            ("ssconf_offline_nodes", "n2.example.com\n"),
            ("ssconf_ssh_ports", &*ports),
            ("known_hosts", &*known),
        ] {
            node.data(name, content, 0o444);
        }
        let (root, program) = (node.path("").display().to_string(), PROGRAM);
        let run = format!(
            "#!/bin/bash\nread -r first rest <<<\"$SSH_ORIGINAL_COMMAND\"\n\
             [[ $first == noded-proxy ]] || exec $first $rest\n\
             exec {program} $rest --config /dev/null --root {root}\n"
        );
        executable(&self.dir.path().join(format!("run{at}")), &run);
    }

    fn start(&mut self, at: usize) {
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nForceCommand {}\n\
             StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            self.ports[at],
            self.path("host_key"),
            self.nodes[at].path(KEYS).display(),
            self.path(&format!("run{at}")),
        );
        let path = self.path(&format!("sshd{at}"));
        fs::write(&path, config).unwrap();
        let log = fs::File::create(self.path(&format!("log{at}"))).unwrap();
        // It wants a directory in /run, which the machine may not have.
        let script =
            "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"";
        let started = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, &path])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.daemons.push(started.unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports[at]));
        wait_until("sshd listens", || TcpStream::connect(address).is_ok());
    }

    /// From now on ssh has this key and no other.
    fn identity(&self, key: &SshKey) {
        self.private("identity", &key.private);
        fs::create_dir_all(self.path("bin")).unwrap();
        let options = "-F none -oIdentitiesOnly=yes -oHostName=127.0.0.1";
        let ssh = format!(
            "#!/bin/sh\nexec /usr/bin/ssh {options} -i {} \"$@\"\n",
            self.path("identity")
        );
        executable(&self.dir.path().join("bin/ssh"), &ssh);
    }

    /// Whether this key opens the node's door.
    fn opens(&self, at: usize, key: &SshKey) -> bool {
        self.private("tried", &key.private);
        let known = self.nodes[0].path("var/lib/ganeti/known_hosts");
        let mut ssh = Command::new("/usr/bin/ssh");
        ssh.args([
            "-F",
            "none",
            "-oIdentitiesOnly=yes",
            "-oBatchMode=yes",
            "-i",
        ]);
        ssh.arg(self.path("tried"))
            .arg(format!("-oUserKnownHostsFile={}", known.display()));
        ssh.arg("-oHostKeyAlias=cluster.example.com")
            .arg(format!("-oPort={}", self.ports[at]));
        let output = ssh.args(["root@127.0.0.1", "echo", "in"]).output().unwrap();
        output.stdout == b"in\n"
    }

    fn apply(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(PROGRAM);
        command.args(["ssh-keys", "apply", "--config", "/dev/null", "--root"]);
        command.arg(self.nodes[0].path("")).args(arguments);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin")));
        said(&command.output().unwrap())
    }

    fn keys(&self) -> [String; 2] {
        self.nodes.each_ref().map(|node| node.text(KEYS))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[test]
fn a_former_key_opens_no_door_any_more_and_the_masters_does() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT TESTED: sshd lets root in only if root runs it");
    }
    let scene = Scene::new();
    let (old, own) = (&cluster().old, &cluster().keys[0]);
    scene.identity(own);
    for at in 0..2 {
        assert!(scene.opens(at, old) && scene.opens(at, own));
    }
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert_eq!(text.matches("1 line removed").count(), 2, "{text}");
    for at in 0..2 {
        assert!(!scene.opens(at, old) && scene.opens(at, own), "{text}");
    }
}

#[test]
fn where_the_old_key_was_the_way_in_all_is_put_back() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT TESTED: sshd lets root in only if root runs it");
    }
    let scene = Scene::new();
    let old = &cluster().old;
    scene.identity(old);
    let before = scene.keys();
    let (status, text) = scene.apply(&["--undo-after", "2"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("FAIL  n1.example.com: no new login after the change: ssh: "),
        "{text}"
    );
    assert!(text.contains("Permission denied"), "{text}");
    // The master does not lie: what keeps it out of itself would keep it out everywhere.
    assert!(text.contains("nothing more is done"), "{text}");
    assert_eq!(scene.keys()[1], before[1]);
    wait_until("n1 undoes it", || scene.keys() == before);
    assert!(scene.opens(0, old));
}
