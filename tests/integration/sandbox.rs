//! What the running process can no longer do.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use noded_proxy::daemon::sandbox::{self, Plan};

use crate::support::client::admitted;
use crate::support::handing::main_pid;
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;

/// Set for [`inside`], which runs in a process of its own.
const DIRECTORY: &str = "NODED_PROXY_SANDBOX_TEST";

/// Whether the kernel has all layers; says so loudly if not.
fn complete(proxy: &Proxy) -> bool {
    let layers = &proxy.status()["sandbox"];
    assert_eq!(layers["no_new_privs"], true);
    let complete = layers["filesystem"] == true && layers["network"] == true;
    if !complete {
        eprintln!("SKIPPED: Landlock with TCP ports (Linux 6.7) is not to be had here: {layers}");
    }
    complete
}

#[test]
fn every_thread_has_no_new_privileges_and_the_state_is_shown() {
    let proxy = Proxy::with(&Pki::new()).start();
    let tasks = format!("/proc/{}/task", proxy.pid().as_raw_nonzero());
    for task in fs::read_dir(tasks).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    let layers = proxy.status()["sandbox"].clone();
    for (layer, on) in layers.as_object().unwrap() {
        let metric = proxy.metric(&format!("noded_proxy_sandbox{{layer=\"{layer}\"}}"));
        assert_eq!(metric == 1.0, on.as_bool().unwrap(), "{layer}");
    }
    let logged = if complete(&proxy) {
        "sandbox"
    } else {
        "sandbox: not complete"
    };
    assert!(proxy.logged(logged));
}

#[test]
fn the_sandbox_can_be_turned_off() {
    let proxy = Proxy::with(&Pki::new()).config("sandbox = 'off'").start();
    assert_eq!(proxy.status()["sandbox"]["filesystem"], false);
    assert_eq!(
        proxy.metric("noded_proxy_sandbox{layer=\"no_new_privs\"}"),
        0.0
    );
}

/// A file that every user may read, where the proxy has no business.
fn elsewhere(content: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), content).unwrap();
    dir
}

#[test]
fn the_running_process_reads_no_file_elsewhere() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let candidates = [("uuid-1", &node)];
    let proxy = Proxy::with(&pki).candidates(&candidates).start();
    if !complete(&proxy) {
        return;
    }
    let outside = elsewhere(&fs::read_to_string(proxy.map_path()).unwrap());
    // A fresh process may read where the link leads; the second of these is no map.
    let targets = [
        (&*outside.path().join("file"), true),
        (Path::new("/etc/shadow"), false),
    ];
    for (target, serves) in targets {
        fs::remove_file(proxy.map_path()).unwrap();
        symlink(target, proxy.map_path()).unwrap();
        proxy.wait_for("the file cannot be read", |p| {
            let (_, health) = p.health();
            health["reasons"].to_string().contains("Permission denied")
        });
        assert!(admitted(proxy.addr(), &node), "the last good map holds");
        let before = main_pid(&proxy);
        proxy.sighup();
        assert_eq!(main_pid(&proxy) != before, serves, "{}", target.display());
        let (_, health) = proxy.health();
        let denied = health["reasons"].to_string().contains("Permission denied");
        assert_eq!(denied, !serves, "{health}");
        assert!(admitted(proxy.addr(), &node));
    }
}

#[test]
fn the_running_process_writes_no_file_elsewhere() {
    let pki = Pki::new();
    let (node, other) = (
        pki.client("node1.example.com"),
        pki.client("node2.example.com"),
    );
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &node)]).start();
    if !complete(&proxy) {
        return;
    }
    let outside = elsewhere("untouched");
    let state = proxy.dir().join("state");
    fs::rename(&state, proxy.dir().join("away")).unwrap();
    symlink(outside.path(), &state).unwrap();
    proxy.write_map(&[("uuid-1", &node), ("uuid-2", &other)]);
    proxy.wait_for("the new map is in force", |_| {
        admitted(proxy.addr(), &other)
    });
    proxy.wait_for("it cannot be kept", |p| {
        p.metric("noded_proxy_faulty{file=\"state\"}") == 1.0
    });
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn directories_that_are_removed_and_made_again_are_read() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let candidates = [("uuid-1", &node)];
    let proxy = Proxy::with(&pki)
        .candidates(&candidates)
        .config("sandbox = 'auto'")
        .start();
    let listening = || proxy.lines_with("listening").len();
    let before = listening();
    fs::remove_dir_all(proxy.dir().join("ganeti")).unwrap();
    proxy.wait_for("the node left", |p| {
        p.log().contains("waiting for server.pem")
    });
    fs::create_dir(proxy.dir().join("ganeti")).unwrap();
    fs::write(proxy.server_pem_path(), pki.server_pem()).unwrap();
    proxy.write_map(&candidates);
    proxy.sighup();
    proxy.wait_for("the node joined again", |_| listening() > before);
    proxy.wait_for("and its candidates are admitted", |p| {
        admitted(p.addr(), &node)
    });
}

#[test]
fn a_directory_that_is_made_later_is_in_reach_after_a_reload() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let outside = tempfile::tempdir().unwrap();
    // Neither it nor its parent is there.
    let directory = outside.path().join("made/later");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node)])
        .config(&format!("candidate_certs = {directory:?}"))
        .start();
    if !complete(&proxy) {
        return;
    }
    let unknown = |p: &Proxy| p.status()["client_ca_list"]["certificates_not_known"].clone();
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("node1.pem"), &node.cert_pem).unwrap();
    proxy.wait_for("it is there and out of reach", |p| {
        let (_, health) = p.health();
        health["reasons"].to_string().contains("Permission denied")
    });
    assert_eq!(unknown(&proxy), 1);
    let before = main_pid(&proxy);
    proxy.sighup();
    assert_ne!(main_pid(&proxy), before);
    assert_eq!(unknown(&proxy), 0);
}

#[test]
fn inside_the_sandbox_nothing_else_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["sandbox::inside", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{told}");
    if told.contains("SKIPPED") {
        eprintln!("{told}");
    } else {
        assert!(said.contains("1 passed"), "{said}");
    }
}

#[test]
#[ignore = "runs as a child of the test above, for there is no way out of a sandbox"]
fn inside() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let dir = Path::new(&dir);
    let (good, bad) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let config = noded_proxy::config::Config {
        ssconf_dir: dir.join("ganeti/ssconf"),
        server_pem: dir.join("ganeti/server.pem"),
        state_dir: dir.join("state"),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        admin: "127.0.0.1:0".parse().unwrap(),
        upstream: noded_proxy::config::UpstreamConfig {
            address: good.local_addr().unwrap(),
            ..Default::default()
        },
        ..Default::default()
    };
    let report = sandbox::enter(&Plan::of(&config)).unwrap();
    assert!(report.no_new_privs);
    if !report.is_complete() {
        eprintln!("SKIPPED: the kernel lacks layers, all there is: {report}");
        return;
    }
    assert!(TcpStream::connect(good.local_addr().unwrap()).is_ok());
    denied(
        TcpStream::connect(bad.local_addr().unwrap()),
        "connect elsewhere",
    );
    assert!(TcpListener::bind("127.0.0.1:0").is_ok());
    denied(TcpListener::bind("127.0.0.1:18111"), "listen elsewhere");
    denied(File::open("/etc/shadow"), "read /etc/shadow");
    denied(File::open("/etc/hostname"), "read what all may read");
    denied(
        fs::write(dir.join("elsewhere"), "x"),
        "write outside of the state directory",
    );
    denied(
        fs::create_dir(dir.join("elsewhere")),
        "make a directory elsewhere",
    );
    assert!(fs::write(dir.join("state/new"), "x").is_ok());
    assert!(fs::rename(dir.join("state/new"), dir.join("state/kept")).is_ok());
    denied(Command::new("/bin/true").status(), "start a program");
}

#[track_caller]
fn denied<T>(result: std::io::Result<T>, what: &str) {
    let kind = result.err().map(|error| error.kind());
    assert_eq!(kind, Some(std::io::ErrorKind::PermissionDenied), "{what}");
}

#[test]
fn the_unit_s_exposure_is_low() {
    let analyze = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=15"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/systemd/noded-proxy.service"
        ))
        .output();
    let Ok(output) = analyze else {
        eprintln!("SKIPPED: no systemd-analyze here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{told}");
}

/// Not a fault of the files: admission is as it was, and without a policy nobody asks for the master.
#[test]
fn a_read_only_state_directory_is_no_fault_of_the_master_s_file() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can mount");
        return;
    }
    let mount = "for word; do [ \"$last\" = --state-dir ] && dir=$word; last=$word; done; \
                 mount -t tmpfs -o ro none \"$dir\" && exec \"$@\"";
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node)])
        .through(&["unshare", "--mount", "sh", "-c", mount, "sh"])
        .start();
    assert!(admitted(proxy.addr(), &node));
    let status = proxy.status();
    let reasons = status["health"]["reasons"].to_string();
    assert!(!reasons.contains("master"), "{reasons}");
}
