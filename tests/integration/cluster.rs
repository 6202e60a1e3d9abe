//! What the master does on other nodes, with a stand-in for ssh: it runs each command here, with the
//! files of the node that is named. What it starts is the real program.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::support::pki::{Identity, Pki, map_text};
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;
use crate::support::wait_until;

const NOTHING: &str = "nothing to do: each node has what DIR/MASTER/candidates has\n";

const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");

/// `root@NODE COMMAND` are the last two arguments. Paths of the master become those of the node.
const SSH: &str = r#"#!/bin/bash
name=${@: -2:1}; name=${name#root@}; command=${@: -1}
echo "$name $command" >> "$NODES/calls"
[[ ! -e $NODES/$name/down ]] || { echo "ssh: connect to host $name port 22: No route to host" >&2; exit 255; }
export PATH=$NODES/$name/bin:/usr/bin:/bin NODE=$NODES/$name
exec bash -c "${command//"$NODES/$MASTER/"/"$NODES/$name/"}"
"#;

/// A cluster of which each node is a folder.
pub(crate) struct Cluster {
    dir: TempDir,
    pki: Pki,
    pub(crate) master: String,
    candidates: Vec<(String, Identity)>,
    answering: Option<(Proxy, StubNoded)>,
}

impl Cluster {
    /// This host is the master; `n2` is a candidate, `n3` and the offline `n4` are not.
    pub(crate) fn new() -> Self {
        let host = rustix::system::uname();
        let (master, pki) = (host.nodename().to_str().unwrap().to_owned(), Pki::new());
        let candidate = |name: &str| (name.to_owned(), pki.client(name));
        let candidates = vec![candidate(&master), candidate("n2")];
        let dir = tempfile::tempdir().unwrap();
        let cluster = Self {
            dir,
            pki,
            master,
            candidates,
            answering: None,
        };
        for name in cluster.nodes() {
            cluster.make(name);
        }
        let ssh = cluster.path("ssh/ssh");
        fs::create_dir(ssh.parent().unwrap()).unwrap();
        executable(&ssh, SSH);
        cluster.write_maps();
        cluster
    }

    /// A real proxy answers the master's RPCs to all nodes.
    pub(crate) fn answering(mut self) -> Self {
        let stub = StubNoded::usual();
        let candidates = self.candidates.iter();
        let candidates: Vec<_> = candidates.map(|(name, own)| (&**name, own)).collect();
        let proxy = Proxy::with(&self.pki).candidates(&candidates);
        let proxy = proxy.upstream(stub.address()).start();
        let config = self.path(&self.master).join("config.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("listen = [\"{}\"]\n{text}", proxy.addr())).unwrap();
        self.has_address("", "");
        self.answering = Some((proxy, stub));
        self
    }

    /// This node has that address by Ganeti's word, and all others are where they answer.
    pub(crate) fn has_address(&self, node: &str, address: &str) {
        let line = |name: &&str| {
            let at = if *name == node { address } else { "127.0.0.1" };
            format!("{name} {at}\n")
        };
        let lines: String = self.nodes().iter().map(line).collect();
        let file = self
            .path(&self.master)
            .join("ganeti/ssconf_node_primary_ips");
        fs::write(file, lines).unwrap();
    }

    fn nodes(&self) -> [&str; 4] {
        [&self.master, "n2", "n3", "n4"]
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make(&self, name: &str) {
        let node = self.path(name);
        for folder in ["ganeti", "candidates", "bin"] {
            fs::create_dir_all(node.join(folder)).unwrap();
        }
        let path = |name: &str| node.join(name).display().to_string();
        let config = format!(
            "server_pem = {:?}\nssconf_dir = {:?}\ncandidate_certs = {:?}\n",
            path("ganeti/server.pem"),
            path("ganeti"),
            path("candidates")
        );
        let own = self.candidates.iter().find(|(of, _)| of == name);
        let own = own.map_or_else(|| self.pki.client(name), |(_, own)| own.clone());
        let all = self.nodes().join("\n");
        let candidates = [&*self.master, "n2"].join("\n");
        for (file, text) in [
            ("config.toml", config),
            ("ganeti/server.pem", self.pki.server_pem()),
            ("ganeti/client.pem", own.pem),
            ("ganeti/ssconf_node_list", all),
            ("ganeti/ssconf_master_candidates", candidates),
            ("ganeti/ssconf_master_node", self.master.clone()),
            ("ganeti/ssconf_cluster_name", "cluster.example.com".into()),
            ("ganeti/ssconf_offline_nodes", "n4".into()),
        ] {
            fs::write(node.join(file), text + "\n").unwrap();
        }
        let wrapper = format!("#!/bin/sh\nexec {PROGRAM} \"$@\" --config \"$NODE/config.toml\"\n");
        executable(&node.join("bin/noded-proxy"), &wrapper);
    }

    /// Gives each online node the candidate map.
    fn write_maps(&self) {
        let listed = self.candidates.iter();
        let listed: Vec<_> = listed.map(|(name, own)| (&**name, own)).collect();
        for name in &self.nodes()[..3] {
            let map = self
                .path(name)
                .join("ganeti/ssconf_master_candidates_certs");
            fs::write(map, map_text(&listed)).unwrap();
        }
    }

    /// A new certificate for n2, in its file and in all maps.
    fn renew_n2(&mut self) {
        let new = self.pki.client("n2");
        fs::write(self.path("n2/ganeti/client.pem"), &new.pem).unwrap();
        self.candidates[1].1 = new;
        self.write_maps();
    }

    fn command(&self, node: &str, arguments: &[&str]) -> Command {
        let path = format!("{}:/usr/bin:/bin", self.path("ssh").display());
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path(node).join("config.toml"))
            .env("PATH", path)
            .env("NODES", self.dir.path())
            .env("MASTER", &self.master)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program on a node: its status and what it said.
    pub(crate) fn run(&self, node: &str, arguments: &[&str]) -> (i32, String) {
        let output = self.command(node, arguments).output().unwrap();
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8(said).unwrap();
        let said = said.replace(&self.master, "MASTER");
        let folder = self.dir.path().display().to_string();
        (output.status.code().unwrap(), said.replace(&folder, "DIR"))
    }

    fn distribute(&self, options: &[&str]) -> (i32, String) {
        self.run(&self.master, &[&["certs", "distribute"], options].concat())
    }

    /// What the node has been given, as one text.
    fn given(&self, node: &str) -> String {
        let entries = fs::read_dir(self.path(node).join("candidates")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "pem"));
        paths.sort();
        let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
        texts.collect()
    }

    #[track_caller]
    fn assert_given(&self, node: &str, expected: &[usize]) {
        let given = self.given(node);
        assert!(!given.contains("PRIVATE KEY"));
        for (at, (name, own)) in self.candidates.iter().enumerate() {
            let has = given.contains(&own.cert_pem);
            assert_eq!(has, expected.contains(&at), "{node}: {name}");
        }
        assert_eq!(given.matches("BEGIN CERT").count(), expected.len());
    }

    /// The commands that ssh was given since the last look.
    pub(crate) fn calls(&self) -> String {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls
    }
}

pub(crate) fn executable(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn each_node_is_given_the_candidates_certificates_and_no_key() {
    let cluster = Cluster::new();
    let expected = "\
ok    MASTER: 2 certificates: 2 new, 0 removed
ok    n2: 2 certificates: 2 new, 0 removed
ok    n3: 2 certificates: 2 new, 0 removed
skip  n4: offline
";
    assert_eq!(cluster.distribute(&[]), (0, expected.into()));
    for node in [&*cluster.master, "n2", "n3"] {
        cluster.assert_given(node, &[0, 1]);
    }
    assert!(cluster.given("n4").is_empty());
    let calls = cluster.calls();
    assert_eq!(calls.matches("certs accept").count(), 3, "{calls}");

    assert_eq!(cluster.distribute(&["--changed"]), (0, NOTHING.into()));
    assert_eq!(cluster.calls(), "");
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_old_one() {
    let mut cluster = Cluster::new();
    let mine = cluster.path("n3/candidates/mine.pem");
    fs::write(&mine, &cluster.pki.server().cert_pem).unwrap();
    assert_eq!(cluster.distribute(&[]).0, 0);
    cluster.renew_n2();
    let (status, said) = cluster.distribute(&["--changed", "--hook"]);
    assert_eq!(status, 0, "{said}");
    let renewed = "2 certificates: 1 new, 1 removed";
    assert_eq!(said.matches(renewed).count(), 3, "{said}");
    fs::remove_file(mine).unwrap(); // the administrator's own is left alone
    for node in [&*cluster.master, "n2", "n3"] {
        cluster.assert_given(node, &[0, 1]);
    }
}

#[test]
fn a_node_that_fails_holds_up_nobody_and_is_the_only_one_asked_again() {
    let mut cluster = Cluster::new();
    fs::write(cluster.path("n3/down"), "").unwrap();
    let down = "FAIL  n3: ssh: ssh: connect to host n3 port 22: No route to host\n";
    for options in [&[][..], &["--changed"]] {
        let (status, said) = cluster.distribute(options);
        assert_eq!(status, 1, "{said}");
        assert!(said.contains(down), "{said}");
        for node in [&*cluster.master, "n2"] {
            cluster.assert_given(node, &[0, 1]);
        }
        if options.is_empty() {
            cluster.calls();
        }
    }
    assert_eq!(cluster.calls(), "n3 noded-proxy certs accept\n");
    fs::remove_file(cluster.path("n3/down")).unwrap();
    assert_eq!(cluster.distribute(&["--changed"]).0, 0);
    assert_eq!(cluster.calls(), "n3 noded-proxy certs accept\n");
    cluster.assert_given("n3", &[0, 1]);
    assert_eq!(cluster.distribute(&["--changed"]), (0, NOTHING.into()));
    // Another certificate is news to all.
    cluster.renew_n2();
    assert_eq!(cluster.distribute(&["--changed"]).0, 0);
    assert_eq!(cluster.calls().matches("certs accept").count(), 3);
}

#[test]
fn a_node_that_was_offline_is_given_them_when_it_is_back_and_what_is_forgotten_asks_all() {
    let cluster = Cluster::new();
    assert_eq!(cluster.distribute(&[]).0, 0);
    cluster.calls();
    let certificates = fs::read_dir(cluster.path("n3/candidates")).unwrap();
    let map = cluster.path("n4/ganeti/ssconf_master_candidates_certs");
    fs::copy(
        cluster.path("n3/ganeti/ssconf_master_candidates_certs"),
        map,
    )
    .unwrap();
    let master = cluster.path(&cluster.master);
    fs::write(master.join("ganeti/ssconf_offline_nodes"), "").unwrap();
    assert_eq!(cluster.distribute(&["--changed"]).0, 0);
    assert_eq!(cluster.calls(), "n4 noded-proxy certs accept\n");
    assert_eq!(certificates.count(), 2, "no other file on a node");

    fs::write(master.join("candidates/.noded-proxy-given"), "node n2\n").unwrap();
    assert_eq!(cluster.distribute(&["--changed"]).0, 0);
    let calls = cluster.calls();
    assert_eq!(calls.matches("certs accept").count(), 3, "{calls}");
}

#[test]
fn a_node_that_had_no_program_is_asked_again_until_it_has_them() {
    let cluster = Cluster::new();
    let (program, away) = (cluster.path("n3/bin/noded-proxy"), cluster.path("away"));
    fs::rename(&program, &away).unwrap();
    assert_eq!(cluster.distribute(&[]).0, 0);
    let none = "skip  n3: it has no noded-proxy\nskip  n4: offline\n";
    let nothing = NOTHING.replace("each node", "each other node");
    let said = cluster.distribute(&["--changed"]);
    assert_eq!(said, (0, format!("{none}{nothing}")));
    cluster.calls();
    fs::rename(&away, &program).unwrap();
    assert_eq!(cluster.distribute(&["--changed"]).0, 0);
    assert_eq!(cluster.calls(), "n3 noded-proxy certs accept\n");
    cluster.assert_given("n3", &[0, 1]);
    assert_eq!(cluster.distribute(&["--changed"]), (0, NOTHING.into()));
}

#[test]
fn what_the_master_has_of_a_candidate_that_is_down_goes_to_the_others() {
    let cluster = Cluster::new();
    assert_eq!(cluster.distribute(&[]).0, 0);
    fs::write(cluster.path("n2/down"), "").unwrap();
    fs::remove_dir_all(cluster.path("n3/candidates")).unwrap();
    fs::create_dir(cluster.path("n3/candidates")).unwrap();
    let (status, said) = cluster.distribute(&[]);
    assert!(status == 1 && said.contains("FAIL  n2: ssh: "), "{said}");
    cluster.assert_given("n3", &[0, 1]);
}

#[test]
fn what_the_candidate_map_does_not_list_is_given_to_nobody() {
    let cluster = Cluster::new();
    let stranger = cluster.pki.client("n2");
    fs::write(cluster.path("n2/ganeti/client.pem"), stranger.pem).unwrap();
    let (status, said) = cluster.distribute(&[]);
    assert_eq!(status, 1, "{said}");
    for word in [
        "FAIL  n2: the certificate in its client.pem is not in the candidate map",
        "FAIL  no candidate has the certificate that the candidate map has for n2",
        "FAIL  n3: 1 certificate: 1 new, 0 removed, 1 of the map missing",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    cluster.assert_given("n3", &[0]);
}

#[test]
fn a_node_believes_its_own_map_and_not_the_master() {
    let cluster = Cluster::new();
    let own = [("uuid", &cluster.candidates[0].1)];
    let map = cluster.path("n3/ganeti/ssconf_master_candidates_certs");
    fs::write(map, map_text(&own)).unwrap();
    let (status, said) = cluster.distribute(&[]);
    let told = "FAIL  n3: 1 certificate: 1 new, 0 removed, 1 not in this node's candidate map\n";
    assert!(status == 1 && said.contains(told), "{said}");
    cluster.assert_given("n3", &[0]);
}

#[test]
fn where_it_cannot_be_done_it_says_so_and_a_hook_is_content() {
    let cluster = Cluster::new();
    let not_here = "noded-proxy: this node is not the master: run it on MASTER\n";
    let other = cluster.path("n2/ganeti/ssconf_master_node");
    fs::write(other, "n3\n").unwrap();
    let (status, said) = cluster.run("n2", &["certs", "distribute"]);
    assert_eq!((status, &*said), (1, &*not_here.replace("MASTER", "n3")));
    let (status, said) = cluster.run("n2", &["certs", "distribute", "--hook"]);
    assert_eq!(status, 0, "{said}");

    let config = cluster.path(&cluster.master).join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("candidate_certs", "#candidate_certs")).unwrap();
    let (status, said) = cluster.distribute(&[]);
    assert!(
        status == 1 && said.contains("candidate_certs is not set"),
        "{said}"
    );
    assert_eq!(cluster.distribute(&["--hook"]).0, 0);

    fs::write(&config, text).unwrap();
    fs::remove_file(cluster.path("n3/bin/noded-proxy")).unwrap();
    let (status, said) = cluster.distribute(&[]);
    assert!(
        status == 0 && said.contains("skip  n3: it has no noded-proxy"),
        "{said}"
    );
}

/// What a hostile node's `noded-proxy` does, and its line then.
#[test]
fn a_hostile_nodes_answer_is_bounded_and_forges_no_line() {
    let cluster = Cluster::new();
    let program = cluster.path("n3/bin/noded-proxy");
    for (does, expected) in [
        ("head -c 40000000 /dev/zero", "it says more than 1.0 MiB"),
        ("yes", "it says more than 1.0 MiB"),
        (
            "head -c 40000000 /dev/zero >&2; exit 1",
            "it says more than",
        ),
        (
            "printf 'x\\nok    n2: forged\\n'; exit 1",
            "x ok n2: forged",
        ),
        (
            "printf '\\033[1Aok\\rok    n2: forged' >&2; exit 1",
            "\\u{1b}[1Aok ok n2",
        ),
        ("head -c 5000 /dev/zero | tr '\\0' x; exit 1", "xxx"),
    ] {
        executable(&program, &format!("#!/bin/sh\n{does}\n"));
        let (status, said) = cluster.distribute(&[]);
        assert_eq!(status, 1, "{said}");
        let line = said.lines().nth(2).unwrap();
        assert!(
            line.starts_with("FAIL  n3: ") && line.len() < 420,
            "{does}: {line}"
        );
        assert!(line.contains(expected), "{does}: {line}");
        let lines = ["ok    MASTER", "ok    n2", "FAIL  n3", "skip  n4"];
        assert_eq!(said.lines().count(), lines.len(), "{does}: {said}");
        assert!(
            lines
                .iter()
                .zip(said.lines())
                .all(|(begin, line)| line.starts_with(begin))
        );
    }
    executable(
        &program,
        "#!/bin/sh\nprintf '1 certificate\\nok    n9: forged\\n\\r'\n",
    );
    let (status, said) = cluster.distribute(&[]);
    assert!(
        status == 0 && said.contains("ok    n3: 1 certificate\nskip"),
        "{said}"
    );
}

#[test]
fn a_change_during_a_run_leads_to_one_more_run_and_not_to_many() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.distribute(&[]).0, 0);
    let turns = cluster.path("turns").display().to_string();
    let options = ["--hook", "--changed", "--turns", &turns];
    assert_eq!(cluster.distribute(&options).0, 0);
    let lock = |name: &str| fs::File::create(cluster.path("turns").join(name)).unwrap();
    let [running, waiting, other] = ["running", "waiting-changed", "waiting-all"].map(lock);
    let take = |file: &fs::File| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
    assert!(take(&running) && take(&other), "a run is under way");
    cluster.calls();
    cluster.renew_n2();

    let cluster = &cluster;
    std::thread::scope(|scope| {
        let first = scope.spawn(move || cluster.distribute(&options));
        let inode = running.metadata().unwrap().ino();
        let waits = |line: &str| line.contains("->") && line.contains(&format!(":{inode} "));
        wait_until("one waits", || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(waits)
        });
        for _ in 0..5 {
            let nothing = "nothing to do: another run waits already, and will see the same\n";
            assert_eq!(cluster.distribute(&options), (0, nothing.into()));
        }
        assert_eq!(cluster.calls(), "");
        drop(running);
        let (status, said) = first.join().unwrap();
        assert_eq!(status, 0, "{said}");
    });
    cluster.assert_given("n3", &[0, 1]);
    // One that looks at all nodes is not kept off by one that may find nothing to do.
    drop(other);
    assert!(take(&waiting));
    let (status, said) = cluster.distribute(&["--hook", "--turns", &turns]);
    assert!(status == 0 && said.contains("ok    n3"), "{said}");
}

/// SIGTERM to `noded-proxy` alone: ssh is in a process group of its own.
#[test]
fn told_to_end_it_ends_what_it_has_begun_on_the_way() {
    let cluster = Cluster::new();
    let told = cluster.path("n3/told");
    let text = format!(
        "#!/bin/sh\necho $$ > {0}.new\nmv {0}.new {0}\nexec sleep 900\n",
        told.display()
    );
    executable(&cluster.path("n3/bin/noded-proxy"), &text);
    let child = cluster
        .command(&cluster.master, &["certs", "distribute"])
        .spawn()
        .unwrap();
    wait_until("the node is asked", || told.exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("FAIL  n3: interrupted: what it began there may still run"),
        "{said}"
    );
    let id = fs::read_to_string(told).unwrap();
    let stat = format!("/proc/{}/stat", id.trim());
    wait_until("what ssh was is gone", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
}
