//! A peer that has the right certificate and sends compressed bytes that are not whole, or want too
//! much memory: the import fails, and its command never sees the end of its input.

use std::io::Write;
use std::process::{Command, Stdio};

use super::kit::{Bench, MAGIC, Ours, noise};
use crate::support::client::{Tls, connect};

/// What a program of this machine makes of a disk with Ganeti's word in front; nothing when it is not
/// installed, which is told.
fn made(command: &[&str]) -> Option<Vec<u8>> {
    let mut program = Command::new(command[0]);
    program.args(&command[1..]).stdin(Stdio::piped());
    let Ok(mut child) = program.stdout(Stdio::piped()).spawn() else {
        eprintln!(
            "NOT TESTED: {} is not installed (tests/lab/setup)",
            command[0]
        );
        let required = std::env::var_os("NODED_PROXY_REQUIRE_LAB").is_some_and(|v| v == "1");
        assert!(!required, "{} is required", command[0]);
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let disk = [format!("M={MAGIC}").as_bytes(), &noise(300_000)].concat();
    let feeder = std::thread::spawn(move || input.write_all(&disk));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}

/// Sends it as the original would, with an orderly end of TLS. Whether the import succeeds, and what
/// it says.
fn import(tool: &str, stream: &[u8]) -> (bool, String) {
    // Nobody else can come, so that what fails before Ganeti's word has come ends the import, too.
    let bench = Bench::of_a_move();
    let mut import = bench.importing(Ours, &[&format!("--compress={tool}")]);
    let address = ([127, 0, 0, 1], import.port()).into();
    let mut peer = connect(address, Some(bench.exporter()), Tls::Any).unwrap();
    let _ = peer.write_all(stream).and_then(|()| peer.flush());
    let _ = peer.shutdown();
    let good = import.succeeds();
    assert_eq!(bench.saw_end(), good, "{}", import.output());
    assert!(!good || bench.got() == noise(300_000));
    (good, import.output())
}

#[test]
fn a_stream_that_ends_in_the_middle_of_a_frame_fails_though_tls_ends_well() {
    for tool in ["zstd", "lz4"] {
        let Some(whole) = made(&[tool]) else { continue };
        assert!(import(tool, &whole).0, "{tool}");
        for cut in [whole.len() - 1, whole.len() - 5, whole.len() / 2] {
            let (good, told) = import(tool, &whole[..cut]);
            let why = format!("{tool}: the compressed data end in the middle");
            assert!(!good && told.contains(&why), "{tool} {cut}: {told}");
            // The command did not fail: it was killed here.
            assert!(!told.contains("the import command failed"), "{told}");
        }
        let (good, told) = import(tool, &[&whole[..], b"more"].concat());
        assert!(!good && told.contains(tool), "{told}");
    }
}

#[test]
fn zstd_with_a_long_window_is_refused_with_its_reason() {
    if let Some(long) = made(&["zstd", "--long"]) {
        let (good, told) = import("zstd", &long);
        assert!(
            !good && told.contains("a window of more than 8 MiB"),
            "{told}"
        );
    }
}

/// The sandbox of the channel would call it a program that may not be run.
#[test]
fn a_tool_that_is_not_there_is_told_as_that_and_the_log_has_its_last_line() {
    let bench = Bench::of_a_cluster();
    let mut import = bench.importing(Ours, &["--compress=no-such-tool"]);
    assert!(!import.succeeds());
    let told = import.output();
    let why = "compression tool no-such-tool: no such program in PATH";
    assert!(told.contains(why), "{told}");
    let log = std::fs::read_to_string(bench.status_of("import").with_extension("log")).unwrap();
    let last = "Z: import failed: instance=unknown disk=unknown peer=nobody bytes=0 ";
    assert!(log.lines().last().unwrap().contains(last), "{log}");
}
