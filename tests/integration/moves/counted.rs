//! The numbers of a node's transfers: they add up, a dead one does not run, and trouble with them is no
//! trouble of a transfer.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::keys::moves;
use super::kit::{Bench, End, Ours};
use crate::support::wait_until;

/// A bench whose transfers are counted, and the flag that says where.
fn counted(metrics: &str) -> (Bench, String) {
    let mut bench = Bench::of_a_cluster();
    bench.as_noded = true;
    let config = bench.path("noded-proxy.toml");
    let path = bench.path(metrics);
    fs::write(&config, format!("moves.metrics = '{}'\n", path.display())).unwrap();
    let flag = format!("--config={}", config.display());
    (bench, flag)
}

/// Both ends.
fn both(bench: &Bench, flag: &str) -> (End, End) {
    for mode in ["import", "export"] {
        let _ = fs::remove_file(bench.status_of(mode));
    }
    let import = bench.importing(Ours, &[flag]);
    let export = bench.export(Ours, import.port(), &bench.cat(), &[flag]);
    (import, export)
}

/// Waits until the file has these lines, without the prefix that all have.
#[track_caller]
fn shows(bench: &Bench, lines: &[&str]) {
    let text = || fs::read_to_string(bench.path("moves.prom")).unwrap_or_default();
    let has = |line: &&str| {
        let line = format!("noded_proxy_moves_{line}");
        text().lines().any(|found| found == line)
    };
    wait_until(&format!("{lines:?}"), || lines.iter().all(&has));
}

fn log(bench: &Bench, mode: &str) -> String {
    fs::read_to_string(bench.status_of(mode).with_extension("log")).unwrap()
}

#[test]
fn transfers_at_once_and_one_after_the_other_add_up() {
    let (bench, flag) = counted("moves.prom");
    bench.disk(1_000_000);
    for _ in 0..3 {
        let (mut import, mut export) = both(&bench, &flag);
        assert!(
            export.succeeds() && import.succeeds(),
            "{}",
            export.output()
        );
    }
    shows(
        &bench,
        &[
            "running{role=\"import\"} 0",
            "running{role=\"export\"} 0",
            "bytes_total{role=\"import\"} 3000000",
            "bytes_total{role=\"export\"} 3000000",
            "transfers_total{result=\"whole\",role=\"import\"} 3",
            "transfers_total{result=\"whole\",role=\"export\"} 3",
            "transfers_total{result=\"killed\",role=\"export\"} 0",
            "last_end_timestamp_seconds{result=\"channel\"} 0",
        ],
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(bench.path("moves.prom"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o644);
    let told = log(&bench, "import");
    assert!(
        told.contains("import whole: instance=unknown disk=disk0 peer="),
        "{told}"
    );
}

/// Each ends while the counters of others look who is gone.
#[test]
fn many_that_end_at_the_same_time_are_each_counted_once() {
    let (bench, flag) = counted("moves.prom");
    fs::create_dir_all(bench.path("run")).unwrap();
    let config = flag.strip_prefix("--config=").unwrap();
    let short = |at: usize| {
        let status = bench.path(&format!("run/import-export/import-disk{at}-x"));
        fs::create_dir_all(&status).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
        command.arg("import-export").arg(status.join("status"));
        command.args(["import", "--ipv4", "--compress=none", "--config", config]);
        command.args(["--key=/none", "--cert=/none", "--ca=/none"]);
        command.arg("--cmd-suffix=| cat").stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let all: Vec<_> = (0..24).map(short).collect();
    for mut one in all {
        assert!(!one.wait().unwrap().success());
    }
    shows(
        &bench,
        &[
            "running{role=\"import\"} 0",
            "transfers_total{result=\"not_begun\",role=\"import\"} 24",
            "transfers_total{result=\"killed\",role=\"import\"} 0",
        ],
    );
}

#[test]
fn one_that_is_killed_does_not_run_any_more_and_the_other_end_has_failed() {
    let (bench, flag) = counted("moves.prom");
    let disk = bench.disk(2_000_000);
    let fifo = bench.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let mut import = bench.importing(Ours, &[&flag]);
    let prefix = format!("cat {} {} |", disk.display(), fifo.display());
    let mut export = bench.export(Ours, import.port(), &prefix, &[&flag]);
    wait_until("something has come", || bench.got().len() > 1_000_000);
    shows(
        &bench,
        &["running{role=\"import\"} 1", "running{role=\"export\"} 1"],
    );
    let list = moves(&bench, "list");
    let mut transfers = list.lines().filter(|line| line.starts_with("transfer"));
    let shown = transfers.any(|line| {
        let pids = line.split_once("runs (pid ").map(|(_, pids)| pids);
        let mut pids = pids.unwrap_or_default().split([',', ' ', ')']);
        pids.any(|pid| pid == export.pid().to_string())
    });
    assert!(shown, "{list}");
    export.signal(Signal::KILL);
    export.reap();
    assert!(!import.succeeds());
    shows(
        &bench,
        &[
            "running{role=\"import\"} 0",
            "running{role=\"export\"} 0",
            "transfers_total{result=\"killed\",role=\"export\"} 1",
            "transfers_total{result=\"channel\",role=\"import\"} 1",
        ],
    );
    let _ = fs::File::options().read(true).write(true).open(&fifo); // its reader ends
    fs::remove_file(bench.status_of("import")).unwrap();
    let mut import = bench.importing(Ours, &[&flag]);
    import.port();
    import.signal(Signal::TERM);
    assert!(!import.succeeds());
    shows(
        &bench,
        &["transfers_total{result=\"stopped\",role=\"import\"} 1"],
    );
}

/// Each failure by what failed, at both ends.
#[test]
fn failures_are_counted_by_their_reason() {
    let (bench, flag) = counted("moves.prom");
    bench.disk(3_000_000);
    let again = || {
        for mode in ["import", "export"] {
            let _ = fs::remove_file(bench.status_of(mode));
        }
    };
    // The export command fails.
    let fails = format!("( cat {}; exit 3 ) |", bench.path("disk").display());
    let mut import = bench.importing(Ours, &[&flag]);
    let mut export = bench.export(Ours, import.port(), &fails, &[&flag]);
    assert!(!export.succeeds() && !import.succeeds());
    shows(
        &bench,
        &[
            "transfers_total{result=\"command\",role=\"export\"} 1",
            "transfers_total{result=\"channel\",role=\"import\"} 1",
        ],
    );
    // The import command fails when it has everything, and before it does.
    for (times, suffix) in [(1, "| ( cat >/dev/null; exit 4 )"), (2, "| ( exit 4 )")] {
        again();
        let mut import = bench.import(Ours, suffix, &[&flag]);
        let mut export = bench.export(Ours, import.port(), &bench.cat(), &[&flag]);
        assert!(!export.succeeds() && !import.succeeds());
        shows(
            &bench,
            &[
                &format!("transfers_total{{result=\"command\",role=\"import\"}} {times}"),
                &format!("transfers_total{{result=\"channel\",role=\"export\"}} {times}"),
            ],
        );
    }
    // Nobody comes, and nobody is there.
    again();
    let mut import = bench.importing(Ours, &[&flag, "--connect-timeout=1"]);
    let port = import.port();
    assert!(!import.succeeds());
    let tries = [&*flag, "--connect-retries=0"];
    assert!(!bench.export(Ours, port, &bench.cat(), &tries).succeeds());
    shows(
        &bench,
        &[
            "transfers_total{result=\"not_begun\",role=\"import\"} 1",
            "transfers_total{result=\"not_begun\",role=\"export\"} 1",
            "transfers_total{result=\"stopped\",role=\"import\"} 0",
        ],
    );
}

#[test]
fn no_trouble_with_the_numbers_is_trouble_of_a_transfer() {
    let (bench, flag) = counted("nowhere/moves.prom");
    bench.disk(1000);
    let wrong = bench.path("wrong.toml");
    fs::write(&wrong, "moves.metrics = 3\n").unwrap();
    let (taken, taken_flag) = counted("moves.prom");
    taken.disk(1000);
    fs::create_dir_all(taken.path("moves.prom/x")).unwrap();
    for (bench, flag) in [
        (&bench, flag),
        (&bench, format!("--config={}", wrong.display())),
        (&taken, taken_flag),
    ] {
        let (mut import, mut export) = both(bench, &flag);
        assert!(
            export.succeeds() && import.succeeds(),
            "{}",
            export.output()
        );
    }
    assert!(log(&bench, "import").contains("moves.metrics"));
    assert!(!bench.path("nowhere").exists());
    wait_until("it is told", || {
        log(&taken, "import").contains("moves.prom: ")
    });
}
