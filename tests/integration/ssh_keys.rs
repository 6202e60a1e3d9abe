//! `noded-proxy ssh-keys` on the recorded trees of a cluster's nodes. A stand-in for ssh runs each
//! command here, with the files of the node that is named; in `sshd`, real ssh and sshd do.

mod broken;
mod hostile;
mod pairs;
mod sshd;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::cluster::executable;
use crate::support::wait_until;
use crate::verify::tree::{NODES, Recorded, cluster};

const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");
const BACKUP: &str = "id_rsa.backup-2026-11-27_11_07_33.gzh77dpl";
const KEYS: &str = "root/.ssh/authorized_keys";
const DAY: Duration = Duration::from_secs(86_400);

/// `root@NODE COMMAND` are the last two arguments.
const SSH: &str = r#"#!/bin/bash
name=${@: -2:1}; name=${name#root@}; command=${@: -1}
echo "$name $command" >> "$SCENE/calls"
if [[ -e $SCENE/$name.down || ( -e $SCENE/$name.shut && $command == *" keep "* ) ]]; then
  [[ ! -e $SCENE/before_shut || $command != *" keep "* ]] || . "$SCENE/before_shut"
  echo "Permission denied (publickey)." >&2; exit 255
fi
[[ ! -e $SCENE/$name.instead ]] || . "$SCENE/$name.instead"
[[ ! -e $SCENE/during || $command != *" keep "* ]] || . "$SCENE/during"
exec bash -c "$command --config /dev/null --root $(<"$SCENE/$name.root")"
"#;

/// n1 is the master, n2 a candidate, n3 a normal node; a former key of n2's is still authorized on n1
/// and n3, and n2 has its backup.
struct Scene {
    nodes: [Recorded; 3],
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let nodes = [0, 1, 2].map(Recorded::of);
        let dir = tempfile::tempdir().unwrap();
        for (node, name) in nodes.iter().zip(NODES) {
            let root = node.path("").display().to_string();
            fs::write(dir.path().join(format!("{name}.root")), root).unwrap();
            node.data("ssconf_cluster_name", "cluster.example.com\n", 0o444);
        }
        fs::create_dir(dir.path().join("bin")).unwrap();
        executable(&dir.path().join("bin/ssh"), SSH);
        let program = Path::new(PROGRAM);
        std::os::unix::fs::symlink(program, dir.path().join("bin/noded-proxy")).unwrap();
        let scene = Self { nodes, dir };
        let old = &cluster().old;
        scene.nodes[1].ssh(BACKUP, &old.private, 0o600);
        for at in [0, 2] {
            scene.nodes[at].authorize(&scene.old_line());
        }
        scene
    }

    fn old_line(&self) -> String {
        cluster().old.line("root@n2.example.com")
    }

    /// As the trees are at the beginning, with these lines more.
    fn keys(&self, at: usize) -> String {
        self.nodes[at].text(KEYS)
    }

    fn is_old_authorized(&self, at: usize) -> bool {
        self.keys(at).contains(&cluster().old.public)
    }

    fn mark(&self, at: usize, what: &str) {
        fs::write(self.dir.path().join(format!("{}.{what}", NODES[at])), "").unwrap();
    }

    fn unmark(&self, at: usize, what: &str) {
        fs::remove_file(self.dir.path().join(format!("{}.{what}", NODES[at]))).unwrap();
    }

    fn calls(&self) -> String {
        let path = self.dir.path().join("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        calls
    }

    /// Runs it on a node: exit status and all that it says.
    fn on(&self, at: usize, arguments: &[&str]) -> (i32, String) {
        said(
            &command(self.dir.path(), &self.nodes[at], arguments)
                .output()
                .unwrap(),
        )
    }

    fn apply(&self, arguments: &[&str]) -> (i32, String) {
        self.on(0, &[&["apply"], arguments].concat())
    }
}

/// The program on a node of the scene in this directory, with the scene's ssh.
fn command(dir: &Path, node: &Recorded, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("ssh-keys").args(arguments);
    command.args(["--config", "/dev/null", "--root"]);
    command.arg(node.path(""));
    let path = format!("{}:/usr/bin:/bin", dir.join("bin").display());
    command.env("PATH", path).env("SCENE", dir);
    command
}

fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

#[test]
fn a_plan_names_each_key_with_its_proof_and_changes_nothing() {
    let scene = Scene::new();
    let stranger = cluster().stranger.line("admin\u{1b}[2J@desk");
    scene.nodes[2].authorize(&(scene.old_line() + &stranger));
    let before = [0, 1, 2].map(|at| scene.keys(at));
    for arguments in [&["plan"][..], &[]] {
        let (status, text) = scene.on(0, arguments);
        assert_eq!(status, 0, "{text}");
        let old = &cluster().old.fingerprint;
        assert_eq!(
            text.matches(&format!("remove   /{KEYS} line")).count(),
            2,
            "{text}"
        );
        assert!(text.contains(old) && text.contains(BACKUP), "{text}");
        assert!(text.contains("nothing says that it was a node's"), "{text}");
        assert!(
            text.contains("2 lines to remove, 0 backups to delete"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert_eq!([0, 1, 2].map(|at| scene.keys(at)), before);
    let (status, text) = scene.on(1, &["plan"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("not the master: run it on n1.example.com"),
        "{text}"
    );
}

#[test]
fn former_keys_go_and_all_else_stays() {
    let scene = Scene::new();
    let (desk, from) = (
        cluster().stranger.line("admin@desk"),
        format!("from=\"10.0.0.1\" {}", scene.old_line()),
    );
    scene.nodes[0].authorize(&(scene.old_line() + &desk + &from));
    // On n3 the file is a link, as where one directory serves several users.
    let content = scene.keys(2);
    scene.nodes[2].put("etc/keys/root", content, 0o640);
    scene.nodes[2].remove(KEYS);
    scene.nodes[2].link(Path::new("../../etc/keys/root"), KEYS);
    let after = [0, 2].map(|at| scene.keys(at).replacen(&scene.old_line(), "", 1));

    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert_eq!(text.matches("1 line removed").count(), 2, "{text}");
    assert_eq!([0, 2].map(|at| scene.keys(at)), after);
    assert!(scene.nodes[2].path(KEYS).is_symlink());
    let calls = scene.calls();
    let logins: Vec<&str> = calls
        .lines()
        .filter(|call| call.contains("node keep"))
        .collect();
    assert_eq!(
        logins.len(),
        2,
        "each change is proven by a login of its own: {calls}"
    );

    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("0 lines to remove"), "{text}");
    assert!(!scene.calls().contains("node remove"));
}

#[test]
fn a_key_that_only_its_comment_names_goes_when_that_is_asked_for() {
    let scene = Scene::new();
    scene.nodes[1].remove(&format!("root/.ssh/{BACKUP}"));
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(
        text.contains("(--by-comment)") && scene.is_old_authorized(2),
        "{text}"
    );
    let (status, text) = scene.apply(&["--by-comment"]);
    assert_eq!(status, 0, "{text}");
    assert!(
        !scene.is_old_authorized(0) && !scene.is_old_authorized(2),
        "{text}"
    );
}

#[test]
fn a_node_that_cannot_be_logged_in_to_afterwards_puts_all_back() {
    let scene = Scene::new();
    let before = scene.keys(2);
    scene.mark(2, "shut");
    let (status, text) = scene.apply(&["--undo-after", "1"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("FAIL  n3.example.com: no new login after the change: ssh: Perm"),
        "{text}"
    );
    wait_until("n3 undoes it", || scene.keys(2) == before);
    assert!(!scene.is_old_authorized(0), "the others are done");
    scene.unmark(2, "shut");
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(!scene.is_old_authorized(0) && !scene.is_old_authorized(2));
}

#[test]
fn old_backups_are_deleted_when_no_line_needs_them() {
    let scene = Scene::new();
    let backup = format!("root/.ssh/{BACKUP}");
    scene.nodes[1].age(&backup, 40 * DAY);
    scene.mark(2, "down");
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "n3 was not reached: {text}");
    assert!(
        scene.nodes[1].path(&backup).exists() && !scene.is_old_authorized(0),
        "{text}"
    );
    scene.unmark(2, "down");
    let (status, text) = scene.apply(&["--older-than", "41"]);
    assert_eq!(status, 0, "{text}");
    assert!(
        scene.nodes[1].path(&backup).exists() && !scene.is_old_authorized(2),
        "{text}"
    );
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(
        text.contains("ok    n2.example.com: 1 backup deleted"),
        "{text}"
    );
    assert!(!scene.nodes[1].path(&backup).exists());
}

#[test]
fn while_a_job_of_ganeti_changes_keys_nothing_is_done() {
    let scene = Scene::new();
    let job = |status: &str| {
        let operation =
            format!(r#"{{"input":{{"OP_ID":"OP_NODE_SET_PARAMS"}},"status":"{status}"}}"#);
        scene.nodes[0].data(
            "queue/job-7",
            &format!(r#"{{"id":7,"ops":[{operation}]}}"#),
            0o640,
        );
    };
    job("running");
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("job 7 of Ganeti changes keys"), "{text}");
    assert_eq!(scene.calls(), "");
    job("success");
    let (status, text) = scene.apply(&["--hook"]);
    assert_eq!(status, 0, "{text}");
    assert!(!scene.is_old_authorized(2));
}

#[test]
fn a_job_or_a_failover_in_the_middle_ends_it() {
    let job = r#"{"id":7,"ops":[{"input":{"OP_ID":"OP_NODE_ADD"},"status":"queued"}]}"#;
    for (file, content, told) in [
        ("queue/job-7", job, "job 7 of Ganeti changes keys"),
        ("ssconf_master_node", "n2.example.com", "not the master"),
    ] {
        let scene = Scene::new();
        let path = scene.nodes[0].path(&format!("var/lib/ganeti/{file}"));
        let path = path.display();
        let during =
            format!("mkdir -p \"$(dirname {path})\"; rm -f {path}; echo '{content}' > {path}");
        fs::write(scene.dir.path().join("during"), during).unwrap();
        let (status, text) = scene.apply(&[]);
        assert_eq!(status, 1, "{text}");
        assert!(text.contains("ok    n1.example.com: 1 line"), "{text}");
        assert!(
            text.contains("FAIL  n3.example.com: ") && text.contains(told),
            "{text}"
        );
        assert!(text.contains("1 node not done: n3.example.com"), "{text}");
        assert!(!scene.is_old_authorized(0) && scene.is_old_authorized(2));
    }
}

#[test]
fn what_hinders_an_undo_for_a_while_only_delays_it() {
    let scene = Scene::new();
    let before = scene.keys(2);
    scene.mark(2, "shut");
    // Nothing is put back into a directory in which others may write.
    let folder = scene.nodes[2].path("root/.ssh");
    let mode = |mode| fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
    let during = format!("chmod 777 {}", folder.display());
    fs::write(scene.dir.path().join("before_shut"), during).unwrap();
    let (status, text) = scene.apply(&["--undo-after", "1"]);
    assert_eq!(status, 1, "{text}");
    let pending = scene.nodes[2].path("var/lib/noded-proxy-ssh-keys/pending");
    std::thread::sleep(Duration::from_secs(3)); // its time is over: it has tried
    assert!(pending.exists() && scene.keys(2) != before);
    mode(0o700);
    wait_until("n3 undoes it", || {
        scene.keys(2) == before && !pending.exists()
    });
}

#[test]
fn a_node_whose_own_list_cannot_be_read_refuses() {
    let scene = Scene::new();
    let listed = scene.nodes[2].text("var/lib/ganeti/ganeti_pub_keys");
    scene.nodes[2].data("ganeti_pub_keys", &(listed + "uuid-n9 ssh-rsa AAAA"), 0o600);
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    let why = "this node's ganeti_pub_keys cannot be read";
    assert!(text.contains(why) && scene.is_old_authorized(2), "{text}");
}

#[test]
fn a_node_that_was_away_is_done_when_it_is_back() {
    let scene = Scene::new();
    let offline = |names: &str| scene.nodes[0].data("ssconf_offline_nodes", names, 0o444);
    offline("n3.example.com\n");
    let (status, text) = scene.apply(&["--hook"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("offline: done when it is back"), "{text}");
    assert!(!scene.is_old_authorized(0) && scene.is_old_authorized(2));
    scene.calls();
    let (status, text) = scene.apply(&["--hook"]);
    assert_eq!((status, &*scene.calls()), (0, ""), "{text}");
    // Back, but not reached yet: each hook tries again.
    offline("");
    scene.mark(2, "down");
    for _ in 0..2 {
        assert_eq!(scene.apply(&["--hook"]).0, 1);
        assert!(scene.calls().contains("n3.example.com"));
    }
    scene.unmark(2, "down");
    let (status, text) = scene.apply(&["--hook"]);
    assert_eq!(status, 0, "{text}");
    assert!(!scene.is_old_authorized(2));
    let (status, text) = scene.on(1, &["apply", "--hook"]);
    assert!(status == 0 && text.contains("nothing to do"), "{text}");
}

#[test]
fn a_node_says_no_to_what_its_own_files_say_counts() {
    let scene = Scene::new();
    // The master's list has lost n3's key, and somebody has put a copy aside on n3.
    let own = &cluster().keys[2];
    let listed = scene.nodes[0].text("var/lib/ganeti/ganeti_pub_keys");
    let listed = listed.replace(&own.line("root@n3.example.com"), "");
    let listed: String = listed
        .lines()
        .filter(|line| *line != "uuid-n3 ")
        .map(|line| format!("{line}\n"))
        .collect();
    scene.nodes[0].data("ganeti_pub_keys", &listed, 0o600);
    scene.nodes[2].remove("root/.ssh/id_rsa");
    scene.nodes[2].ssh(BACKUP, &own.private, 0o600);
    let before = scene.keys(2);
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("stays: this node's ganeti_pub_keys has it"),
        "{text}"
    );
    assert_eq!(scene.keys(2), before);
}

/// In a namespace whose only Ganeti is an upstream one.
#[test]
fn hooks_go_where_an_upstream_ganeti_looks_for_them() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can mount");
        return;
    }
    let script = r#"set -eu
        for dir in /etc /usr/local /usr/lib/ganeti /usr/lib64/ganeti; do
            [ ! -d $dir ] || mount -t tmpfs none $dir
        done
        mkdir -p /usr/local/lib/ganeti
        echo 'readonly SYSCONFDIR=${SYSCONFDIR:-${GANETI_ROOTDIR:-}/usr/local/etc}' > /usr/local/lib/ganeti/daemon-util
        "$1" ssh-keys hooks --hooks-from "$2"
        find /etc /usr/local/etc -type l | sort
        "$1" ssh-keys hooks --hooks-from "$2" --remove
        find /etc /usr/local/etc -type l"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", PROGRAM]);
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
    let (status, text) = said(&command.arg(hooks).output().unwrap());
    assert_eq!(status, 0, "{text}");
    let links = ["config-update", "node-add", "node-modify"]
        .map(|name| format!("/usr/local/etc/ganeti/hooks/{name}-post.d/noded-proxy-ssh-keys\n"));
    assert!(text.contains(&links.concat()), "{text}");
    assert!(text.ends_with(": removed\n"), "{text}");
}

#[test]
fn hooks_are_links_and_nothing_of_others_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (hooks, from) = (
        dir.path().join("hooks"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks"),
    );
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .args(["ssh-keys", "hooks", "--hooks-dir"])
            .arg(&hooks);
        said(
            &command
                .arg("--hooks-from")
                .arg(&from)
                .args(more)
                .output()
                .unwrap(),
        )
    };
    let (status, text) = run(&[]);
    assert_eq!(status, 0, "{text}");
    let names = ["config-update", "node-add", "node-modify"];
    let paths = names.map(|name| hooks.join(format!("{name}-post.d/noded-proxy-ssh-keys")));
    for path in &paths {
        assert_eq!(fs::read_link(path).unwrap(), from.join("ssh-keys"));
    }
    assert_eq!(run(&["--remove"]).0, 0);
    assert!(!hooks.exists());
    fs::create_dir_all(paths[0].parent().unwrap()).unwrap();
    fs::write(&paths[0], "mine").unwrap();
    for more in [&[][..], &["--remove"]] {
        let (status, text) = run(more);
        assert!(status == 1 && text.contains("somebody"), "{text}");
    }
    assert_eq!(fs::read(&paths[0]).unwrap(), b"mine");
}
