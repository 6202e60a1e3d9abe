//! What goes wrong with Ganeti's program at both ends, and does not where one end is ours: the ends of
//! a stream that only look orderly. And what goes wrong on the disk.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::faults::{cutting, halfway};
use super::kit::{Bench, End, Ganetis, Kind, Ours, can_run};
use crate::support::pki::Pki;
use crate::support::wait_until;

/// The process below this one, at any depth, whose command line has `what`.
fn below(pid: i32, what: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let child: i32 = child.parse().ok()?;
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        match line.starts_with(what) {
            true => Some(child),
            false => below(child, what),
        }
    })
}

/// socat may lose a race of its own and break off all the same: two originals are tried so often.
const TRIES: usize = 5;

/// Two originals take it for whole, and those with one of ours never do.
#[track_caller]
fn only_originals_take(with_ours: &[(Kind, Kind)], taken: impl Fn(Kind, Kind) -> bool) {
    for &(exporter, importer) in with_ours {
        if can_run(&[exporter, importer]) {
            assert!(!taken(exporter, importer), "{exporter:?} {importer:?}");
        }
    }
    if can_run(&[Ganetis]) {
        assert!((0..TRIES).any(|_| taken(Ganetis, Ganetis)), "never");
    }
}

/// What an importer of ours says of a stream that broke off.
#[track_caller]
fn is_told(bench: &Bench, import: &End) {
    assert!(!bench.saw_end());
    let told = import.output();
    assert!(told.contains("the connection broke off: "), "{told}");
}

/// The part of the exporter that talks to the network is ended by SIGTERM, half-way. socat closes its
/// connection in good order then, which no importer can tell from an end: not so an exporter of ours.
#[test]
fn half_a_disk_is_whole_only_for_two_originals() {
    let with_ours = [(Ours, Ganetis), (Ours, Ours)];
    only_originals_take(&with_ours, |exporter, importer| {
        let (bench, mut import, mut export) = halfway(exporter, importer).unwrap();
        let program = match exporter {
            Ganetis => "/usr/bin/socat",
            Ours => "/proc/self/exe move-channel",
        };
        // In full flow socat, too, breaks off.
        wait_until("all of it has come", || bench.got().len() == 2_000_000);
        let talks = below(export.pid(), program).expect(program);
        kill_process(Pid::from_raw(talks).unwrap(), Signal::TERM).unwrap();
        drop(fs::File::options().write(true).open(bench.path("fifo")));
        assert!(!export.succeeds());
        let taken = import.succeeds();
        if importer == Ours {
            is_told(&bench, &import);
        }
        taken
    });
}

/// A stream that ends without TLS's own end: whoever can close a connection makes it. The original
/// importer believes it of any exporter, ours of none.
#[test]
fn a_cut_stream_is_whole_only_for_an_original_importer() {
    let with_ours = [(Ganetis, Ours), (Ours, Ours)];
    only_originals_take(&with_ours, |exporter, importer| {
        let bench = Bench::of_a_cluster();
        bench.disk(3_000_000);
        let mut import = bench.importing(importer, &["--connect-timeout=9"]);
        let port = cutting(import.port(), 1_000_000);
        let mut export = bench.export(exporter, port, &bench.cat(), &["--connect-retries=0"]);
        let sent = export.succeeds();
        assert!(!sent || exporter == Ganetis, "{}", export.output());
        let taken = import.succeeds();
        assert!(bench.got().len() < 1_000_000);
        if importer == Ours {
            is_told(&bench, &import);
        }
        taken
    });
}

/// Another key than the importer was told: the right peer still comes.
#[test]
fn an_exporter_with_another_key_is_refused_and_told() {
    for exporter in [Ours, Ganetis] {
        if !can_run(&[exporter]) {
            continue;
        }
        let bench = Bench::of_a_cluster();
        // More than the kernel holds: Ganeti's believes that it has sent less to the right one.
        bench.disk(40_000_000);
        let mut import = bench.importing(Ours, &[]);
        let other = bench.path("other.pem");
        fs::write(&other, &Pki::new().server().pem).unwrap();
        let more = ["key", "cert"].map(|flag| format!("--{flag}={}", other.display()));
        let [key, cert] = &more;
        let mut wrong = bench.export(
            exporter,
            import.port(),
            &bench.cat(),
            &[key, cert, "--connect-retries=0"],
        );
        assert!(!wrong.succeeds(), "{}", wrong.output());
        let told = wrong.output();
        assert!(!told.is_empty() && !told.contains(".cc:"), "{told}");
        fs::remove_file(bench.status_of("export")).unwrap();
        let mut right = bench.export(exporter, import.port(), &bench.cat(), &[]);
        assert!(right.succeeds(), "{}", right.output());
        assert!(import.succeeds(), "{}", import.output());
        let told = import.output();
        let why = "refused 127.0.0.1: its certificate is not the one that Ganeti gave for the peer";
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn a_full_disk_fails_both_ends_and_is_told() {
    for suffix in [
        "> /dev/full",
        "| dd of=/dev/full bs=1048576",
        "| cat > /dev/full",
    ] {
        for exporter in [Ours, Ganetis] {
            if !can_run(&[exporter]) {
                continue;
            }
            let bench = Bench::of_a_cluster();
            bench.disk(20_000_000);
            let mut import = bench.import(Ours, suffix, &[]);
            let mut export = bench.export(exporter, import.port(), &bench.cat(), &[]);
            assert!(!export.succeeds(), "{suffix} {}", export.output());
            assert!(!import.succeeds(), "{suffix}");
            let told = import.output();
            assert!(told.contains("No space left on device"), "{suffix} {told}");
        }
    }
}
