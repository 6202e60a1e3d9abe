//! What the process that talks to the peer can no longer do: tried from inside, by a "compression tool"
//! that runs what it gets as a program. And what is said where the kernel has no sandbox.

use std::net::TcpListener;

use noded_proxy::daemon::sandbox::offered;
use serde_json::{Value, json};

use super::kit::{Bench, Ours};

/// Tries all, and keeps in `results` what came of it.
const PROBE: &str = r#"
import json, os, socket
def tried(what):
    try:
        what()
        return 'done'
    except OSError as error:
        return os.strerror(error.errno)
def listens(port):
    with socket.socket() as own:
        own.bind(('127.0.0.1', port))
results = {
    'passwd': tried(lambda: open('/etc/passwd')),
    'names': tried(lambda: os.listdir('/etc')),
    'write': tried(lambda: open('WRITE', 'w')),
    'null': tried(lambda: open('/dev/null', 'w')),
    'start': tried(lambda: os.execv('START', ['x'])),
    'signal': tried(lambda: os.kill(PID, 0)),
    'connect': tried(lambda: socket.create_connection(('127.0.0.1', PORT))),
    'listen': tried(lambda: listens(PORT)),
}
"#;

/// What both channels may do: of the exporter's, and of the importer's.
fn tried() -> Value {
    let bench = Bench::of_a_cluster();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = bench.path("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, runs).unwrap();
    let probe = PROBE
        .replace("WRITE", &bench.path("written").display().to_string())
        .replace("START", &script.display().to_string())
        .replace("PID", &std::process::id().to_string())
        .replace("PORT", &elsewhere.local_addr().unwrap().port().to_string());
    // What the exporter's tool says is the program of the importer's.
    let program = format!(
        "probe = '''{probe}'''\nexec(probe)\nprint(probe)\n\
         print('print(json.dumps([' + repr(results) + ', results]))')\n"
    );
    std::fs::write(bench.path("disk"), program).unwrap();
    let python = ["--compress=python3"];
    let mut import = bench.importing(Ours, &python);
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &python);
    assert!(export.succeeds(), "{}", export.output());
    assert!(import.succeeds(), "{}", import.output());
    serde_json::from_slice(&bench.got()).unwrap()
}

#[test]
fn the_channel_of_either_end_reaches_nothing_else() {
    let report = offered().unwrap();
    if !report.filesystem {
        return eprintln!("SKIPPED: the kernel has no Landlock, all there is: {report}");
    }
    let tried = tried();
    let denied = json!("Permission denied");
    for end in [&tried[0], &tried[1]] {
        for what in ["passwd", "names", "write", "start"] {
            assert_eq!(end[what], denied, "{what}: {tried}");
        }
        assert_eq!(end["null"], "done", "{tried}");
        if report.network {
            for what in ["connect", "listen"] {
                assert_eq!(end[what], denied, "{what}: {tried}");
            }
        } else {
            eprintln!("SKIPPED: connect and listen elsewhere (Linux 6.7), all there is: {report}");
        }
        // Root's signals are kept out by the channel's user, others by Landlock.
        if report.signals || rustix::process::geteuid().is_root() {
            assert_eq!(end["signal"], "Operation not permitted", "{tried}");
        } else {
            eprintln!("SKIPPED: signals (Linux 6.12), all there is: {report}");
        }
    }
}

/// Starts a program for which the kernel has no Landlock: its system calls do not exist.
const WITHOUT: &str = r#"
import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x35, 0, 2, 444), (0x25, 1, 0, 446), (6, 0, 0, 0x00050026), (6, 0, 0, 0x7fff0000)]
code = b''.join(struct.pack('HBBI', *one) for one in code)
class Filter(ctypes.Structure):
    _fields_ = [('count', ctypes.c_ushort), ('code', ctypes.c_char_p)]
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.byref(Filter(5, code)), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_kernel_without_a_sandbox_is_told_in_the_job_and_the_transfer_goes_on() {
    let bench = Bench::of_a_cluster();
    bench.disk(1000);
    let through = ["python3", "-c", WITHOUT];
    let mut import = bench.importing_through(&through);
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
    assert!(
        export.succeeds() && import.succeeds(),
        "{}",
        import.output()
    );
    let told = "the channel's sandbox is not complete: no_new_privs (the kernel lacks filesystem, \
                network, signals)";
    assert!(import.output().contains(told), "{}", import.output());
    // The other end, in the same moment, has one.
    let complete = offered().unwrap().filesystem;
    assert_eq!(export.output().contains("sandbox"), !complete);
}
