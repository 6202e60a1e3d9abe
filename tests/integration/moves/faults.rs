//! A transfer that goes wrong: it fails at both ends, the cause is told, and the import command
//! never sees the end of its input. The original takes some of these for a success.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use rustix::process::Signal;

use super::kit::{Bench, End, Ganetis, Kind, Ours, can_run, noise};
use crate::support::wait_until;

/// The exporter's script sends the disk, and fails.
fn failing(bench: &Bench) -> String {
    format!(
        "( cat {}; echo no more blocks >&2; exit 3 ) |",
        bench.path("disk").display()
    )
}

#[test]
fn an_export_script_that_fails_never_looks_like_a_success() {
    for (exporter, importer, honest) in [
        (Ours, Ours, true),
        (Ours, Ganetis, true),
        (Ganetis, Ganetis, false),
    ] {
        if !can_run(&[exporter, importer]) {
            continue;
        }
        for size in [10, 3_000_000] {
            let bench = Bench::of_a_cluster();
            bench.disk(size);
            let mut import = bench.importing(importer, &[]);
            let mut export = bench.export(exporter, import.port(), &failing(&bench), &[]);
            assert!(!export.succeeds());
            assert_eq!(export.status()["exit_status"], 3);
            assert!(export.output().contains("no more blocks"));
            // The original's importer exits with 0 and has the end of the data.
            assert_eq!(
                import.succeeds(),
                !honest,
                "{exporter:?} {importer:?}: {}",
                import.output()
            );
            if importer == Ours {
                assert!(!bench.saw_end());
                let told = "the other end says: the export command failed with exit status 3";
                assert!(import.output().contains(told), "{}", import.output());
            }
        }
    }
}

/// An exporter that has sent something and waits.
pub(super) fn halfway(exporter: Kind, importer: Kind) -> Option<(Bench, End, End)> {
    if !can_run(&[exporter, importer]) {
        return None;
    }
    let bench = Bench::of_a_cluster();
    let disk = bench.disk(2_000_000);
    let fifo = bench.path("fifo");
    let made = std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap();
    assert!(made.success());
    let import = bench.importing(importer, &[]);
    let prefix = format!("cat {} {} |", disk.display(), fifo.display());
    let export = bench.export(exporter, import.port(), &prefix, &[]);
    wait_until("something has come", || bench.got().len() > 1_000_000);
    Some((bench, import, export))
}

#[test]
fn an_exporter_that_is_ended_or_killed_never_looks_like_a_success() {
    for (importer, signal) in [
        (Ours, Signal::TERM),
        (Ours, Signal::KILL),
        (Ganetis, Signal::TERM),
        (Ganetis, Signal::KILL),
    ] {
        let Some((bench, mut import, mut export)) = halfway(Ours, importer) else {
            continue;
        };
        export.signal(signal);
        if signal == Signal::TERM {
            assert!(!export.succeeds());
            assert_eq!(export.status()["exit_status"], -15);
        } else {
            export.reap();
        }
        assert!(!import.succeeds(), "{signal:?} {}", import.output());
        assert!(importer != Ours || !bench.saw_end());
    }
}

#[test]
fn an_importer_that_is_killed_does_not_end_its_commands_input() {
    for signal in [Signal::KILL, Signal::TERM] {
        for exporter in [Ours, Ganetis] {
            let Some((bench, mut import, mut export)) = halfway(exporter, Ours) else {
                continue;
            };
            import.signal(signal);
            import.reap();
            // Something of it must be sent to notice.
            let fifo = bench.path("fifo");
            let feeder = thread::spawn(move || {
                fs::OpenOptions::new()
                    .write(true)
                    .open(fifo)
                    .map(|mut fifo| fifo.write_all(&noise(40_000_000)))
            });
            assert!(!export.succeeds(), "{}", export.output());
            let _ = feeder.join();
            assert!(!bench.saw_end());
        }
    }
}

#[test]
fn an_import_command_that_fails_fails_both_ends() {
    for exporter in [Ours, Ganetis] {
        if !can_run(&[exporter]) {
            continue;
        }
        let bench = Bench::of_a_cluster();
        bench.disk(40_000_000);
        let suffix = "| ( head -c 1000000 >/dev/null; echo disk full >&2; exit 28 )";
        let mut import = bench.import(Ours, suffix, &[]);
        let mut export = bench.export(exporter, import.port(), &bench.cat(), &[]);
        assert!(!export.succeeds() && !import.succeeds());
        assert_eq!(import.status()["exit_status"], 28);
        assert!(import.output().contains("disk full"), "{}", import.output());
        if exporter == Ours {
            assert!(
                export.output().contains("the other end says: "),
                "{}",
                export.output()
            );
        }
    }
}

#[test]
fn an_import_command_that_fails_at_the_end_fails_both_ends_of_ours() {
    let bench = Bench::of_a_cluster();
    bench.disk(1000);
    let mut import = bench.import(Ours, "| ( cat >/dev/null; exit 5 )", &[]);
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
    assert!(!export.succeeds() && !import.succeeds());
    assert_eq!(import.status()["exit_status"], 5);
    let told = "the other end says: the import command failed with exit status 5";
    assert!(export.output().contains(told), "{}", export.output());
}

#[test]
fn an_import_command_that_takes_not_all_is_no_success() {
    let bench = Bench::of_a_cluster();
    bench.disk(40_000_000);
    let mut import = bench.import(Ours, "| head -c 1000 >/dev/null", &[]);
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
    assert!(!export.succeeds() && !import.succeeds());
    assert!(
        import
            .output()
            .contains("the import command ended before the data did")
    );
}

/// Passes one connection on to `port`, and cuts it after so many bytes from the exporter.
pub(super) fn cutting(port: u16, after: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut from, _) = listener.accept().unwrap();
        let mut to = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut back_from, mut back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
        let back = thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        let _ = std::io::copy(&mut Read::by_ref(&mut from).take(after), &mut to);
        // A plain end of the stream, without the TLS end: the case that the original believes. A reset
        // must not overtake it.
        let _ = to.shutdown(std::net::Shutdown::Write);
        let _ = back.join();
        let _ = from.shutdown(std::net::Shutdown::Both);
    });
    own
}

#[test]
fn a_network_that_is_cut_at_any_byte_never_looks_like_a_success() {
    // Each cut is a pair of processes: the first bytes one by one would take minutes.
    let near_the_end: Vec<u64> = (0..24).map(|n| 100_000 + n * 131).collect();
    let cuts = [0, 1, 300, 2_000, 3_500, 50_000]
        .into_iter()
        .chain(near_the_end);
    for (n, cut) in cuts.enumerate() {
        for exporter in [Ours, Ganetis] {
            if !can_run(&[exporter]) || (exporter == Ganetis && n % 4 != 0) {
                continue;
            }
            let bench = Bench::of_a_cluster();
            bench.disk(100_000);
            let mut import = bench.importing(Ours, &["--connect-timeout=3"]);
            let port = cutting(import.port(), cut);
            let mut export = bench.export(exporter, port, &bench.cat(), &["--connect-retries=0"]);
            let (sent, taken) = (export.succeeds(), import.succeeds());
            let whole = bench.saw_end();
            let (told, output) = (export.output(), import.output());
            assert_eq!(whole, taken, "{exporter:?} cut at {cut}: {output}");
            assert!(
                !whole || bench.got() == noise(100_000),
                "{exporter:?} cut at {cut}"
            );
            assert!(
                exporter == Ganetis || !sent || taken,
                "cut at {cut}: {told}; {output}"
            );
        }
    }
}

#[test]
fn a_command_inherits_no_file_but_its_own() {
    // noded leaves the locked pid file open in the program that it starts.
    let bench = Bench::of_a_cluster();
    bench.disk(1000);
    let seen = bench.path("seen");
    let list = format!(
        "for fd in /proc/$$/fd/*; do readlink $fd; done > {}",
        seen.display()
    );
    let mut import = bench.importing(Ours, &[]);
    let prefix = format!("( {list}; cat {} ) |", bench.path("disk").display());
    let mut export = bench.export_with_open_file(import.port(), &prefix);
    assert!(
        export.succeeds() && import.succeeds(),
        "{}",
        export.output()
    );
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.contains("pipe:") && !seen.contains("pid"), "{seen}");
}
