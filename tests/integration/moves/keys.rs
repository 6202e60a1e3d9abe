//! The throw-away keys that Ganeti leaves: which are destroyed, and which are not.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::kit::{Bench, MAGIC, Ours};
use crate::support::pki::Pki;
use crate::support::wait_until;

pub(super) fn moves(bench: &Bench, command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
        .args(["moves", command, "--run-dir"])
        .arg(bench.path("run"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A key as Ganeti leaves it.
fn key(bench: &Bench, name: &str, cert: &str, key: &str) -> PathBuf {
    let directory = bench.path("run/crypto").join(name);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("cert"), cert).unwrap();
    fs::write(directory.join("key"), key).unwrap();
    directory
}

/// Says that it was used so long ago.
fn used(bench: &Bench, name: &str, ago: &str) {
    let mark = bench.path("run/noded-proxy-moves").join(name);
    fs::create_dir_all(mark.parent().unwrap()).unwrap();
    fs::write(&mark, "").unwrap();
    let touched = Command::new("touch").arg("-d").arg(ago).arg(mark).status();
    assert!(touched.unwrap().success());
}

#[test]
fn keys_of_finished_and_dead_moves_go_and_all_others_stay() {
    let bench = Bench::of_a_move();
    let pki = Pki::new();
    let (good, dead) = (pki.self_signed("n1"), pki.expired("n1"));
    let finished = key(&bench, "x509-finished", &good.cert_pem, &good.pem);
    let expired = key(&bench, "x509-expired", &dead.cert_pem, &dead.pem);
    let fresh = key(&bench, "x509-fresh", &good.cert_pem, &good.pem);
    let just = key(&bench, "x509-just", &good.cert_pem, &good.pem);
    let busy = key(&bench, "x509-busy", &dead.cert_pem, &dead.pem);
    let other = key(&bench, "something", &dead.cert_pem, &dead.pem);
    symlink(&other, bench.path("run/crypto/x509-link")).unwrap();
    used(&bench, "x509-finished", "-11 min");
    used(&bench, "x509-just", "-9 min");
    let mut user = Command::new("tail")
        .args(["-f", "/dev/null", "--"])
        .arg(busy.join("key"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let list = moves(&bench, "list");
    for (name, fate) in [
        ("x509-finished", "finished"),
        ("x509-expired", "expired"),
        ("x509-fresh", "not used by an export"),
        ("x509-just", "used a moment ago"),
        ("x509-busy", "in use (pid "),
    ] {
        let line = list
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_default();
        assert!(line.contains(fate), "{name}: {list}");
    }
    let told = moves(&bench, "clean");
    let _ = user.kill();
    let _ = user.wait();
    assert_eq!(
        told,
        "key x509-expired is destroyed\nkey x509-finished is destroyed\n"
    );
    assert!(!finished.exists() && !expired.exists());
    for stays in [fresh, just, busy, other] {
        assert!(stays.join("key").exists(), "{}", stays.display());
    }
    assert!(!bench.path("run/noded-proxy-moves/x509-finished").exists());
}

#[test]
fn an_export_says_which_key_it_used_and_an_import_does_not() {
    let bench = Bench::of_a_move();
    bench.disk(1000);
    let export_key = key(
        &bench,
        "x509-export",
        &bench.exporter().cert_pem,
        &bench.exporter().pem,
    );
    let import_key = key(
        &bench,
        "x509-import",
        &bench.importer().cert_pem,
        &bench.importer().pem,
    );
    let of = |key: &PathBuf| format!("--key={}", key.join("key").display());
    let mut import = bench.importing(Ours, &[&of(&import_key)]);
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[&of(&export_key)]);
    assert!(
        export.succeeds() && import.succeeds(),
        "{}",
        export.output()
    );
    let marks = bench.path("run/noded-proxy-moves");
    wait_until("a cleaner waits", || marks.join("cleaner").exists());
    assert!(marks.join("x509-export").exists() && !marks.join("x509-import").exists());
    assert!(
        export_key.join("key").exists(),
        "there may be further disks"
    );
    end_cleaner(&bench);
}

/// Ends the cleaner that waits for this bench.
fn end_cleaner(bench: &Bench) {
    let run = bench.path("run").display().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if line.contains("moves\0clean\0--wait") && line.contains(&run) {
            let pid = rustix::process::Pid::from_raw(pid.unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    }
}

#[test]
fn a_cleaner_waits_though_the_program_was_replaced_in_the_middle() {
    let bench = Bench::of_a_move();
    bench.disk(1000);
    let (cert, pem) = (&bench.exporter().cert_pem, &bench.exporter().pem);
    let key = key(&bench, "x509-export", cert, pem);
    let [program, newer] = ["program", "newer"].map(|name| bench.path(name));
    fs::copy(env!("CARGO_BIN_EXE_noded-proxy"), &program).unwrap();
    symlink(env!("CARGO_BIN_EXE_noded-proxy"), &newer).unwrap();
    let cleaner = bench.path("run/noded-proxy-moves/cleaner");
    // The one that waits from the start on has another place then.
    let first = cleaner.display();
    let first = format!("until [ -e {first} ]; do sleep 0.01; done; rm {first};");
    let replaced = format!("{first} mv {} {};", newer.display(), program.display());
    let mut import = bench.importing(Ours, &[]);
    let mut export = Command::new(&program);
    export.arg("import-export").arg(bench.path("status")).args([
        "export",
        "--ipv4",
        "--host=127.0.0.1",
        "--compress=none",
    ]);
    export.arg(format!("--magic={MAGIC}"));
    export.arg(format!("--port={}", import.port()));
    export.arg(format!("--key={}", key.join("key").display()));
    export.arg(format!("--cert={}", key.join("cert").display()));
    export.arg(format!("--ca={}", bench.path("importer.crt").display()));
    export.arg(format!("--cmd-prefix={replaced} {}", bench.cat()));
    assert!(export.stderr(Stdio::null()).status().unwrap().success());
    assert!(import.succeeds() && program.is_symlink());
    wait_until("a cleaner waits", || cleaner.exists());
    end_cleaner(&bench);
}

/// Nothing else would ever destroy it before its certificate ends.
#[test]
fn the_key_of_an_export_that_could_not_begin_goes_like_any_other() {
    let bench = Bench::of_a_move();
    let exporter = bench.exporter();
    let key = key(&bench, "x509-not-begun", &exporter.cert_pem, &exporter.pem);
    let more = format!("--key={}", key.join("key").display());
    let missing = ["--compress=no-such-tool", &more];
    let mut export = bench.export(Ours, 1, &bench.cat(), &missing);
    assert!(!export.succeeds());
    let told = export.output();
    assert!(told.contains("no such program in PATH"), "{told}");
    let marks = bench.path("run/noded-proxy-moves");
    wait_until("a cleaner waits", || marks.join("cleaner").exists());
    let list = moves(&bench, "list");
    assert!(list.contains("x509-not-begun used a moment ago"), "{list}");
    end_cleaner(&bench);
}

/// It cannot say so at its end.
#[test]
fn the_key_of_an_export_that_was_killed_goes_like_any_other() {
    let bench = Bench::of_a_move();
    bench.disk(1000);
    let exporter = bench.exporter();
    let key = key(&bench, "x509-killed", &exporter.cert_pem, &exporter.pem);
    let import = bench.importing(Ours, &[]);
    let more = format!("--key={}", key.join("key").display());
    let prefix = format!("{} sleep 60 |", bench.cat().replace('|', ";"));
    let mut export = bench.export(Ours, import.port(), &prefix, &[&more]);
    let marks = bench.path("run/noded-proxy-moves");
    wait_until("it runs", || bench.got().len() == 1000);
    assert!(moves(&bench, "list").contains("in use"));
    export.signal(Signal::KILL);
    export.reap();
    wait_until("a cleaner waits", || marks.join("cleaner").exists());
    wait_until("nothing uses it", || {
        moves(&bench, "list").contains("key x509-killed used a moment ago")
    });
    used(&bench, "x509-killed", "-11 min");
    assert_eq!(moves(&bench, "clean"), "key x509-killed is destroyed\n");
    end_cleaner(&bench);
}

#[test]
fn another_user_s_process_keeps_no_key() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT TESTED: only root can run a process of another user");
    }
    let bench = Bench::of_a_move();
    let (cert, pem) = (&bench.exporter().cert_pem, &bench.exporter().pem);
    // A name of its own: other tests run beside this one, as root.
    let key = key(&bench, "x509-strange", cert, pem);
    used(&bench, "x509-strange", "-11 min");
    let mut stranger = Command::new("tail");
    stranger.args(["-f", "/dev/null", "--retry", "x509-strange"]);
    stranger.uid(65_534).gid(65_534).current_dir("/");
    stranger.stdout(Stdio::null()).stderr(Stdio::null());
    let mut stranger = stranger.spawn().unwrap();
    let told = moves(&bench, "clean");
    let _ = stranger.kill();
    let _ = stranger.wait();
    assert_eq!(told, "key x509-strange is destroyed\n");
    assert!(!key.exists());
}

#[test]
fn what_dead_transfers_left_goes_after_a_day() {
    let bench = Bench::of_a_move();
    for (name, ago, status) in [
        ("import-disk0-old", "-25 hours", "{}"),
        (
            "export-disk0-new",
            "-1 hour",
            "{\"connected\": true, \"exit_status\": null}",
        ),
        ("export-disk1-new", "-1 hour", "{\"exit_status\": 0}"),
        ("export-disk2-new", "-1 hour", "{\"exit_status\": 0}"),
    ] {
        let directory = bench.path("run/import-export").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("status"), status).unwrap();
        if name == "export-disk2-new" {
            // One that also has a name elsewhere is not read.
            fs::hard_link(directory.join("status"), bench.path("elsewhere")).unwrap();
        }
        let touched = Command::new("touch")
            .arg("-d")
            .arg(ago)
            .arg(directory)
            .status();
        assert!(touched.unwrap().success());
    }
    assert_eq!(
        moves(&bench, "list"),
        "transfer export-disk0-new killed: a job may wait for it\n\
         transfer export-disk1-new ended\n\
         transfer export-disk2-new does not run: its status cannot be read\n\
         transfer import-disk0-old left by a dead transfer\n"
    );
    assert_eq!(
        moves(&bench, "clean"),
        "transfer import-disk0-old is destroyed\n"
    );
    assert!(
        bench
            .path("run/import-export/export-disk0-new/status")
            .exists()
    );
}
