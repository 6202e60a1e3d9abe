//! What is typed and what is printed: configuration errors, help, man page, digests, status, logs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::{Tls, connect, rpc, send, tcp};
use crate::support::lab;
use crate::support::pki::{Pki, map_text};
use crate::support::stage::Stage;
use crate::support::stub::StubNoded;

const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs with a wrong configuration: exit status 64 and one line with these words on standard error.
/// A port that is taken shows that none is tried.
#[track_caller]
fn assert_refused(config: &str, flags: &[&str], words: &[&str]) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, config).unwrap();
    let mut args = vec!["run", "--config", file.to_str().unwrap()];
    if !flags.contains(&"--admin") && !config.contains("admin =") {
        args.extend(["--admin", &address]);
    }
    args.extend(flags);
    let output = run(&args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{config} {flags:?}: {text}");
    assert_eq!(output.stdout, b"");
    assert_eq!(text.lines().count(), 1, "{config} {flags:?}: {text}");
    for word in words {
        assert!(
            text.contains(word),
            "{config} {flags:?}: {word:?} is not in {text}"
        );
    }
}

#[test]
fn a_wrong_value_in_the_file_is_one_line() {
    let table: [(&str, &[&str]); 20] = [
        (
            "lisen = ['[::]:1811']",
            &["line 1", "lisen", "is `listen` meant?"],
        ),
        ("listen = []", &["listen = []", "at least one ADDR:PORT"]),
        (
            "listen = ['localhost:1811']",
            &["line 1", "listen", "socket address"],
        ),
        ("\n\nadmin = 'x'", &["line 3", "admin", "socket address"]),
        (
            "upstream.address = '127.0.0.1:0'",
            &["upstream.address = 127.0.0.1:0", "a port other than 0"],
        ),
        (
            "upstream.max_clients = 0",
            &["upstream.max_clients = 0", "1 to 10000"],
        ),
        ("upstream.max_clients = -1", &["upstream.max_clients", "-1"]),
        (
            "upstream.max_clients = 'x'",
            &["upstream.max_clients", "invalid type"],
        ),
        (
            "upstream.fast_slots = 20",
            &["upstream.fast_slots = 20", "less than upstream.max_clients"],
        ),
        (
            "upstream.connect_timeout = 5",
            &["upstream.connect_timeout", "5", "expected a duration"],
        ),
        (
            "upstream.connect_timeout = '5 parsecs'",
            &[
                "upstream.connect_timeout",
                "5 parsecs",
                "expected a duration",
            ],
        ),
        ("upstream.tls = 'yes'", &["upstream.tls", "boolean"]),
        (
            "limits = { body = '64KiB', body_in_memory = '64KiB' }",
            &["limits.body = 65536", "at least 1 MiB"],
        ),
        (
            "limits.memory = '256KiB'",
            &["limits.memory = 262144", "at least 512 KiB"],
        ),
        (
            "limits = { memory = '7MiB', body_in_memory = '1MiB' }",
            &["limits.memory = 7340032", "8 times limits.body_in_memory"],
        ),
        (
            "limits.spool = '255MiB'",
            &["limits.spool = 267386880", "at least 2 times limits.body"],
        ),
        (
            "limits.handshake_timeout = '2days'",
            &["limits.handshake_timeout = 2days", "1ms to 1day"],
        ),
        (
            "admission.bootstrap = 'maybe'",
            &["admission.bootstrap", "maybe", "allow"],
        ),
        ("log.format = 'xml'", &["log.format", "xml", "journald"]),
        ("[log", &["line 1"]),
    ];
    for (config, words) in table {
        assert_refused(config, &[], words);
    }
}

#[test]
fn a_wrong_value_of_a_flag_is_one_line() {
    let table: [(&[&str], &[&str]); 8] = [
        (&["--max-clients", "0"], &["max_clients = 0", "1 to 10000"]),
        (&["--max-clients", "many"], &["--max-clients", "many"]),
        (&["--listen", "1811"], &["--listen", "1811"]),
        (
            &["--admin", "localhost:9811"],
            &["--admin", "localhost:9811"],
        ),
        (
            &["--log-format", "xml"],
            &["--log-format", "xml", "text", "json", "journald"],
        ),
        (
            &["--listen", "127.0.0.1:298"],
            &["upstream.address = 127.0.0.1:298", "listen"],
        ),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["stray"], &["stray"]),
    ];
    for (flags, words) in table {
        assert_refused("", flags, words);
    }
}

#[test]
fn a_configuration_file_that_is_named_must_be_there() {
    let output = run(&["run", "--config", "/no/such/file.toml"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(
        text.contains("--config /no/such/file.toml: cannot be read"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn all_wrong_values_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(
        &file,
        "upstream.max_clients = 0\nlimits.connections = 0\ndrain_timeout = '1s'",
    )
    .unwrap();
    let output = run(&["run", "--config", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), text.lines().count()),
        (Some(64), 2),
        "{text}"
    );
}

#[test]
fn flags_win_over_the_file() {
    let config = "listen = ['127.0.0.1:1']\nadmin = '127.0.0.1:2'\nserver_pem = '/nowhere'\n\
                  ssconf_dir = '/nowhere'\nupstream.address = '127.0.0.1:3'\nupstream.max_clients = 3\n\
                  log = { format = 'text', level = 'error' }";
    let stage = Stage::built(StubNoded::usual(), |proxy| {
        proxy
            .config(config)
            .arg("--max-clients")
            .arg("7")
            .arg("--log-level")
            .arg("info")
    });
    assert_eq!(stage.rpc("version", "[]").status, 200);
    let status = stage.proxy.status();
    assert_eq!(status["upstream"]["slots"], 7);
    assert_eq!(
        status["upstream"]["address"],
        stage.stub.address().to_string()
    );
    assert_eq!(status["listening"][0], stage.proxy.addr().to_string());
}

#[test]
fn listen_may_be_repeated() {
    let stage = Stage::built(StubNoded::usual(), |proxy| {
        proxy.arg("--listen").arg("[::1]:0")
    });
    let listening = stage.proxy.status()["listening"].clone();
    let addresses = listening.as_array().unwrap();
    assert_eq!(addresses.len(), 2, "{listening}");
    for address in addresses {
        let address: SocketAddr = address.as_str().unwrap().parse().unwrap();
        assert_eq!(
            rpc(address, &stage.client, "version", "[]").unwrap().status,
            200
        );
    }
}

/// The long flags that a help text names at the start of a line.
fn flags(help: &str) -> Vec<String> {
    let lines = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"));
    lines
        .map(|line| {
            line.chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect()
        })
        .collect()
}

#[test]
fn every_subcommand_has_help() {
    let main = stdout(&["--help"]);
    for command in [
        "run",
        "check",
        "digest",
        "status",
        "demo",
        "man",
        "completions",
    ] {
        assert!(
            main.contains(&format!("  {command} ")),
            "{command} is not in\n{main}"
        );
        let help = stdout(&[command, "--help"]);
        assert!(
            help.contains(&format!("Usage: noded-proxy {command}")),
            "{help}"
        );
    }
    assert!(stdout(&["--version"]).starts_with("noded-proxy 0."));
}

#[test]
fn run_has_the_flags_that_scripts_use() {
    let found = flags(&stdout(&["run", "--help"]));
    for flag in [
        "config",
        "listen",
        "upstream",
        "upstream-tls",
        "server-pem",
        "ssconf-dir",
        "candidate-map",
        "candidate-certs",
        "state-dir",
        "admin",
        "max-clients",
        "log-format",
        "log-level",
    ] {
        assert!(
            found.iter().any(|f| f == flag),
            "--{flag} is not among {found:?}"
        );
    }
}

#[test]
fn man_page_and_completions_have_every_flag_of_run() {
    let wanted = flags(&stdout(&["run", "--help"]));
    assert!(wanted.len() >= 13);
    let man = stdout(&["man"]).replace("\\-", "-");
    assert!(man.contains(".TH"));
    let shells = ["bash", "zsh", "fish"].map(|shell| stdout(&["completions", shell]));
    for flag in wanted.iter().filter(|flag| *flag != "help") {
        assert!(man.contains(&format!("--{flag}")), "man: --{flag}");
        for (text, form) in shells.iter().zip([
            format!("--{flag}"),
            format!("--{flag}"),
            format!("-l {flag}"),
        ]) {
            assert!(text.contains(&form), "completions: {form}");
        }
    }
}

#[test]
fn digests_are_printed_as_the_candidate_map_has_them() {
    let pki = Pki::new();
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (pki.client("node1"), pki.client("node2"));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (a, b, c) = (path("client.pem"), path("cert only.pem"), path("none.pem"));
    fs::write(&a, &one.pem).unwrap();
    fs::write(&b, &two.cert_pem).unwrap();
    fs::write(&c, "nothing").unwrap();
    assert_eq!(stdout(&["digest", &a]), format!("{}\n", one.digest));
    assert_eq!(
        stdout(&["digest", &a, &b]),
        format!("{} {a}\n{} {b}\n", one.digest, two.digest)
    );
    let output = run(&["digest", &c, &b, "/no/such/file"]);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out, format!("{} {b}\n", two.digest));
    assert!(
        err.contains(&c) && err.contains("/no/such/file") && err.lines().count() == 2,
        "{err}"
    );
}

#[test]
fn digests_are_those_of_ganeti() {
    let Some(crypto) = lab::script("lib/crypto") else {
        return;
    };
    let pki = Pki::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("client.pem");
    fs::write(&file, pki.client("node1.example.com").pem).unwrap();
    let theirs = Command::new(crypto)
        .arg("digest")
        .arg(&file)
        .output()
        .unwrap();
    assert!(theirs.status.success(), "{theirs:?}");
    assert_eq!(
        stdout(&["digest", file.to_str().unwrap()]),
        String::from_utf8(theirs.stdout).unwrap()
    );
}

#[test]
fn status_shows_a_running_proxy() {
    let stage = Stage::new(StubNoded::usual());
    let admin = stage.proxy.admin().to_string();
    let text = stdout(&["status", "--admin", &admin]);
    assert!(
        text.contains("ready:       true") && text.contains("1 entry,"),
        "{text}"
    );
    let document: serde_json::Value =
        serde_json::from_str(&stdout(&["status", "--json", "--admin", &admin])).unwrap();
    assert_eq!(document["health"]["ready"], true);
    drop(stage);
    let output = run(&["status", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("no answer from a running proxy")
    );
}

/// What must never be in a log: bodies of requests and answers, and keys.
#[track_caller]
fn assert_discreet(log: &str, keys: &[&str]) {
    for secret in ["SECRET-REQUEST", "SECRET-ANSWER", "PRIVATE KEY", "Bearer"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
    for pem in keys {
        let lines = pem.lines().filter(|line| line.len() > 40);
        assert!(
            lines.into_iter().all(|line| !log.contains(line)),
            "part of a key is in\n{log}"
        );
    }
}

/// Many kinds of events: answered, refused and broken requests, refused and broken handshakes.
fn make_noise(stage: &Stage) {
    let other = stage.pki.client("other\nnode \"x\"");
    let address = stage.proxy.addr();
    assert_eq!(stage.rpc("upload_file", "[\"SECRET-REQUEST\"]").status, 200);
    assert_eq!(
        stage.rpc("upload_file", "[\"SECRET-REQUEST é\"]").status,
        400
    );
    let bad = "POST /x?SECRET-REQUEST HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n";
    assert_eq!(stage.talk(bad)[0].status, 404);
    let _ = stage.talk("SECRET-REQUEST\0\r\n\r\n");
    let _ = rpc(address, &other, "version", "[]");
    let _ = connect(address, None, Tls::Any).map(|mut stream| stream.ssl_read(&mut [0]).is_ok());
    send(&mut tcp(address).unwrap(), "GET / HTTP/1.0\r\n\r\n");
    stage.proxy.write_map_in_place(b"SECRET-REQUEST", 0o600);
    stage.proxy.sighup();
    stage.proxy.wait_for("refusals are counted", |p| {
        p.rejected("unknown_digest") == 1.0 && p.rejected("no_certificate") == 1.0
    });
}

#[test]
fn every_line_of_the_json_log_is_json_and_discreet() {
    let script = |call: &mut crate::support::stub::Call| call.answer(b"[true, \"SECRET-ANSWER\"]");
    let mut stage = Stage::built(StubNoded::start(script), |proxy| {
        proxy.arg("--log-level").arg("trace")
    });
    make_noise(&stage);
    stage.proxy.terminate();
    stage.proxy.wait_exit();
    let log = stage.proxy.log();
    for line in log.lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            document["level"].is_string() && document["message"].is_string(),
            "{line}"
        );
    }
    assert_discreet(&log, &[&stage.client.pem, &stage.pki.server_pem()]);
    let rpcs = stage.proxy.lines_with("rpc");
    let line = rpcs.iter().find(|line| line["status"] == 200).unwrap();
    assert_eq!(
        (&line["procedure"], &line["cn"]),
        (&"upload_file".into(), &"node1.example.com".into())
    );
    assert_eq!(
        (&line["key"], &line["digest"]),
        (&"uuid-1".into(), &stage.client.digest.clone().into())
    );
    assert_eq!(
        (&line["request_bytes"], &line["reply_bytes"]),
        (&18.into(), &23.into())
    );
    for duration in ["queue_ms", "upstream_ms", "total_ms"] {
        assert!(line[duration].is_number(), "{line}");
    }
    let refused = stage.proxy.lines_with("refused");
    let line = refused
        .iter()
        .find(|line| line["reason"] == "unknown_digest")
        .unwrap();
    assert!(
        line["digest"].is_string() && line["cn"].is_string() && line["peer"].is_string(),
        "{line}"
    );
}

#[test]
fn every_event_is_one_line_of_the_text_log() {
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let liar = pki.client("x\nERROR forged line");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::write(root.join("server.pem"), pki.server_pem()).unwrap();
    fs::write(
        root.join("ssconf_master_candidates_certs"),
        map_text(&[("uuid-1", &client)]),
    )
    .unwrap();
    let stub = StubNoded::usual();
    let path = root.to_str().unwrap();
    let pem = root.join("server.pem");
    let args = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--ssconf-dir",
        path,
        "--state-dir",
        path,
        "--server-pem",
        pem.to_str().unwrap(),
        "--upstream",
        &stub.address().to_string(),
        "--log-format",
        "text",
    ];
    let mut child = Command::new(PROGRAM)
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut log = Vec::new();
    let address = loop {
        let line = lines.next().unwrap();
        log.push(line.clone());
        if let Some((_, address)) = line.split_once(" listening address=") {
            break address.parse().unwrap();
        }
    };
    assert_eq!(rpc(address, &client, "version", "[]").unwrap().status, 200);
    let _ = rpc(address, &liar, "version", "[]");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    log.extend(lines);
    assert!(child.wait().unwrap().success());
    for line in &log {
        let level = line.split_whitespace().nth(1);
        assert!(
            ["ERROR", "WARN", "INFO"].contains(&level.unwrap_or("")),
            "{line:?}"
        );
        assert!(line.starts_with("20") && !line.contains('\x1b'), "{line:?}");
    }
    let text = log.join("\n");
    assert!(text.contains("procedure=\"version\" status=200"), "{text}");
    assert!(
        log.iter()
            .any(|l| l.contains("refused") && l.contains("unknown_digest")),
        "{text}"
    );
    assert_discreet(&text, &[&client.pem, &pki.server_pem()]);
}

#[test]
fn no_subcommand_shows_the_help() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("Usage: noded-proxy <COMMAND>")
    );
}

/// What `demo --keep` prints to paste is pasted: one call is answered, the other is refused.
#[test]
fn the_commands_that_demo_prints_work() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Command::new(PROGRAM)
        .args(["demo", "--keep"])
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let commands = lines
        .by_ref()
        .map_while(Result::ok)
        .filter(|line| line.starts_with("curl --cacert"));
    let answers: Vec<_> = commands
        .take(2)
        .map(|line| {
            Command::new("sh")
                .args(["-c", &format!("{line} -sS")])
                .output()
                .unwrap()
        })
        .collect();
    kill_process(Pid::from_child(&demo), Signal::TERM).unwrap();
    assert!(demo.wait().unwrap().success());
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "keys stay behind");
    assert_eq!(answers.len(), 2);
    let told = format!("{answers:?}");
    assert!(answers[0].stdout.starts_with(b"[true, "), "{told}");
    assert!(
        !answers[1].status.success() && answers[1].stdout.is_empty(),
        "{told}"
    );
}
