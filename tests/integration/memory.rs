//! The key of `server.pem` in the memory of the running process: nobody else reads it there, and the
//! text of the file is gone.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::support::client::admitted;
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;

/// Starts what follows as the user nobody, without any right, in a directory that is given to him.
const AS_NOBODY: &str = r#"
for word in "$@"; do
  case $word in */state) chown -R 65534:65534 "${word%/state}";; esac
done
exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all "$@"
"#;

/// Tests about other users need root.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: this test needs root");
    }
    root
}

#[test]
fn the_memory_is_nobody_else_s_and_the_process_still_sees_itself() {
    if !is_root() {
        return;
    }
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    for sandbox in ["sandbox = 'auto'", "sandbox = 'off'"] {
        let proxy = Proxy::with(&pki)
            .candidates(&[("u1", &client)])
            .config(sandbox)
            .through(&["sh", "-c", AS_NOBODY, "sh"])
            .start();
        let proc = format!("/proc/{}", proxy.pid().as_raw_nonzero());
        let status = fs::read_to_string(format!("{proc}/status")).unwrap();
        assert!(status.contains("Uid:\t65534\t65534"), "{status}");
        // The kernel gives the files of a process that is not dumpable to root (proc(5)).
        let owner = fs::metadata(format!("{proc}/mem")).unwrap().uid();
        assert_eq!(owner, 0, "{sandbox}: it is dumpable");
        assert!(admitted(proxy.addr(), &client));
        for metric in [
            "process_open_fds",
            "process_max_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
        ] {
            assert!(proxy.metric(metric) > 0.0, "{metric}");
        }
    }
}

#[test]
fn no_line_of_the_text_of_the_key_is_in_the_memory() {
    if !is_root() {
        return;
    }
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki).candidates(&[("u1", &client)]).start();
    assert!(admitted(proxy.addr(), &client));
    let renewed = pki.renewed_server(365);
    fs::write(proxy.server_pem_path(), &renewed.pem).unwrap();
    proxy.wait_for("the new server.pem", |proxy| {
        proxy.status()["server_pem"]["digest"] == renewed.digest.as_str()
    });
    proxy.sighup(); // which reads it once more
    let memory = memory(proxy.pid().as_raw_nonzero().get());
    assert!(memory.len() > 100_000);
    let is_there = |text: &str| memory.windows(text.len()).any(|w| w == text.as_bytes());
    let address = proxy.server_pem_path().display().to_string();
    assert!(is_there(&address), "the search finds nothing at all");
    for pem in [&pki.server().pem, &renewed.pem] {
        let key = pem.split("-----END").next().unwrap();
        let lines: Vec<&str> = key.lines().filter(|line| line.len() == 64).collect();
        assert!(lines.len() > 20);
        let found: Vec<&str> = lines
            .iter()
            .copied()
            .filter(|line| is_there(&line[8..24]))
            .collect();
        assert!(
            found.is_empty(),
            "{} of {} lines: {found:?}",
            found.len(),
            lines.len()
        );
    }
}

#[test]
fn the_unit_writes_no_core_dump() {
    let unit = include_str!("../../systemd/noded-proxy.service");
    assert!(unit.lines().any(|line| line == "LimitCORE=0"));
}

#[test]
fn the_unit_tells_at_the_start_what_is_not_well_alone() {
    let unit = include_str!("../../systemd/noded-proxy.service");
    let checks = unit
        .lines()
        .filter(|line| line.contains("noded-proxy check"));
    let checks: Vec<_> = checks
        .filter(|line| line.starts_with("ExecStartPre="))
        .collect();
    assert!(!checks.is_empty() && checks.iter().all(|line| line.contains(" --quiet")));
}

/// What another process can write to and read of its memory.
fn memory(pid: i32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, rest) = line.split_once('-').unwrap();
        let to = rest.split(' ').next().unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        for page in (from..to).step_by(4096) {
            let mut bytes = [0; 4096];
            if file.read_exact_at(&mut bytes, page).is_ok() && bytes.iter().any(|b| *b != 0) {
                all.extend_from_slice(&bytes);
            }
        }
    }
    all
}
