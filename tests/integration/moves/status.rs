//! The status file and the log: what is in their way, and who talks too much.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::process::Signal;

use super::kit::{Bench, Ours};
use crate::support::wait_until;

#[test]
fn a_link_or_a_pipe_in_the_place_of_the_status_is_replaced_and_not_followed() {
    for kind in ["link", "pipe"] {
        let bench = Bench::of_a_cluster();
        bench.disk(1000);
        let (directory, victim) = (bench.path("import-status"), bench.path("victim"));
        fs::create_dir(&directory).unwrap();
        fs::write(&victim, "untouched").unwrap();
        for name in ["status", "status.new"] {
            match kind {
                "link" => symlink(&victim, directory.join(name)).unwrap(),
                _ => {
                    let made = Command::new("mkfifo").arg(directory.join(name)).status();
                    assert!(made.unwrap().success());
                }
            }
        }
        let mut import = bench.importing(Ours, &[]);
        wait_until("it is a file", || {
            fs::symlink_metadata(directory.join("status")).is_ok_and(|found| found.is_file())
        });
        let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
        assert!(export.succeeds() && import.succeeds());
        assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
        assert!(!directory.join("status.new").exists());
    }
}

#[test]
fn the_last_word_is_written_when_what_was_in_its_way_has_gone() {
    let bench = Bench::of_a_cluster();
    bench.disk(1000);
    let mut import = bench.importing(Ours, &[]);
    let port = import.port();
    let status = bench.path("import-status/status");
    fs::remove_file(&status).unwrap();
    fs::create_dir_all(status.join("in the way")).unwrap();
    let mut export = bench.export(Ours, port, &bench.cat(), &[]);
    assert!(export.succeeds(), "{}", export.output());
    let log = bench.path("import-status/status.log");
    wait_until("it could not be written at the end", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let end = log.split_once("import whole: ").map(|(_, end)| end);
        end.is_some_and(|end| end.contains("status: "))
    });
    fs::remove_dir_all(&status).unwrap();
    assert!(import.succeeds());
}

#[test]
fn a_status_that_cannot_be_written_at_the_end_goes_so_that_the_job_does_not_wait() {
    // No file can be longer than nothing: as if the disk was full.
    let full = [
        "bash",
        "-c",
        "trap '' XFSZ; ulimit -f 0; exec \"$@\"",
        "bash",
    ];
    let bench = Bench::of_a_cluster();
    bench.disk(1000);
    let mut import = bench.importing(Ours, &[]);
    fs::create_dir(bench.path("export-status")).unwrap();
    let status = bench.path("export-status/status");
    fs::write(&status, r#"{"ctime": 1, "mtime": 1, "recent_output": []}"#).unwrap();
    let mut export = bench.export_through(&full, import.port(), &bench.cat());
    export.reap();
    assert!(import.succeeds(), "{}", import.output());
    assert!(!status.exists());
}

#[test]
fn a_status_directory_that_was_removed_holds_up_no_transfer() {
    let bench = Bench::of_a_cluster();
    let disk = fs::read(bench.disk(100_000)).unwrap();
    let mut import = bench.importing(Ours, &[]);
    let port = import.port();
    fs::remove_dir_all(bench.path("import-status")).unwrap();
    let mut export = bench.export(Ours, port, &bench.cat(), &[]);
    assert!(export.succeeds(), "{}", export.output());
    import.reap();
    assert!(bench.got() == disk && bench.saw_end());
}

/// Largest memory of a process so far, in KiB.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| number.parse().unwrap())
}

#[test]
fn a_command_that_talks_without_end_takes_no_memory_and_steers_no_terminal() {
    let bench = Bench::of_a_cluster();
    let go = bench.path("go");
    // Much faster than it can be written down; then odd lines.
    let prefix = format!(
        "( yes $(printf %01000d 1) | head -c 24000000 >&2 || :; printf 'a\\033[2Jb\\000c\\377 END\\n' >&2; \
         head -c 9000 /dev/zero >&2; echo >&2; while [ ! -e {} ]; do sleep 0.1; done; echo data ) |",
        go.display()
    );
    let mut import = bench.importing(Ours, &[]);
    let mut export = bench.export(Ours, import.port(), &prefix, &[]);
    wait_until("it began", || export.status()["connected"] == true);
    let before = peak(export.pid());
    wait_until("all was said", || export.output().contains("END"));
    let after = peak(export.pid());
    fs::write(go, "").unwrap();
    assert!(export.succeeds() && import.succeeds());
    assert!(after < before + 12_000, "{before} {after}");
    let output = export.output();
    assert!(
        output.chars().all(|c| !c.is_control() || c == '\n'),
        "{output:?}"
    );
    assert_eq!(
        export.status()["recent_output"].as_array().unwrap().len(),
        20
    );
}

#[test]
fn a_daemon_that_goes_on_talking_does_not_hold_up_the_end() {
    let bench = Bench::of_a_cluster();
    bench.disk(1000);
    let stop = bench.path("stop");
    let talk = format!(
        "while [ ! -e {} ]; do echo x >&2; sleep 0.01; done",
        stop.display()
    );
    let suffix = format!("| ( cat >/dev/null; setsid bash -c '{talk}' & exit 0 )");
    let mut import = bench.import(Ours, &suffix, &[]);
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
    let good = (export.succeeds(), import.succeeds());
    fs::write(stop, "").unwrap();
    assert_eq!(good, (true, true), "{}", import.output());
}

#[test]
fn nobody_holds_the_lock_of_the_pid_file_when_the_program_was_killed() {
    // noded believes that it lives while the lock is held.
    let lock = "exec 9>\"$0\"; flock 9; exec \"$@\"";
    for signal in [Signal::KILL, Signal::HUP] {
        let bench = Bench::of_a_cluster();
        let pid = bench.path("pid");
        let file = pid.display().to_string();
        // Under nohup it would not hear of a hangup.
        let heard = ["env", "--default-signal=HUP", "bash", "-c", lock, &file];
        let mut import = bench.importing_through(&heard);
        bench.disk(1_000_000);
        let prefix = format!("( cat {}; sleep 3600 ) |", bench.path("disk").display());
        let mut export = bench.export(Ours, import.port(), &prefix, &[]);
        wait_until("something has come", || !bench.got().is_empty());
        let is_free = || {
            let tried = Command::new("flock").args(["-n", &file, "true"]).status();
            tried.unwrap().success()
        };
        assert!(!is_free());
        import.signal(signal);
        import.reap();
        wait_until("the lock is free", is_free);
        assert!(!bench.saw_end());
        export.signal(Signal::TERM);
        assert!(!export.succeeds());
    }
}

#[test]
fn a_signal_at_each_phase_ends_it_with_its_number() {
    for (signal, number) in [(Signal::TERM, -15), (Signal::INT, -2)] {
        // Before anybody came, and when a verified one is silent.
        for connects in [false, true] {
            let bench = Bench::of_a_cluster();
            let mut import = bench.importing(Ours, &[]);
            let address = ([127, 0, 0, 1], import.port()).into();
            let peer = connects.then(|| {
                let tls = crate::support::client::Tls::V12;
                crate::support::client::connect(address, Some(bench.exporter()), tls).unwrap()
            });
            if connects {
                wait_until("it is verified", || import.status()["connected"] == true);
            }
            import.signal(signal);
            assert!(!import.succeeds());
            assert_eq!(import.status()["exit_status"], number);
            assert!(!bench.saw_end());
            drop(peer);
        }
        // While the exporter looks for its peer.
        let bench = Bench::of_a_cluster();
        let mut export = bench.export(Ours, 9, "echo x |", &["--connect-retries=3600"]);
        wait_until("it has tried", || export.output().contains("127.0.0.1:9"));
        export.signal(signal);
        assert!(!export.succeeds());
        assert_eq!(export.status()["exit_status"], number);
    }
}
