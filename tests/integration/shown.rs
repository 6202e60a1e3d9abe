//! What the commands show of a running proxy, and which proxy or files they ask.

use std::process::{Command, Output};

use crate::support::client::{admitted, rpc};
use crate::support::commands::assert_ends_quietly_unread;
use crate::support::pki::{Pki, map_text};
use crate::support::proxy::{Proxy, replace};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    command.args(arguments).output().unwrap()
}

/// Exit status, and all that was said.
fn said(output: &Output) -> (Option<i32>, String) {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(all).unwrap())
}

/// A configuration file that names the admin port and the state directory of this proxy.
fn configuration(proxy: &Proxy) -> String {
    let file = proxy.dir().join("of-commands.toml");
    let (admin, state) = (proxy.admin(), proxy.dir().join("state"));
    let text = format!("admin = \"{admin}\"\nstate_dir = \"{}\"\n", state.display());
    replace(&file, text.as_bytes(), 0o644);
    file.display().to_string()
}

#[test]
fn status_finds_the_proxy_by_the_configuration() {
    let pki = Pki::new();
    let client = pki.client("node1");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &client)]).start();
    let file = configuration(&proxy);
    let (_, text) = said(&run(&["status", "--config", &file]));
    assert!(text.contains("admission:   listed, 1 entry, "), "{text}");
    let wrong = proxy.dir().join("wrong.toml");
    replace(&wrong, b"no_such_key = 1\n", 0o644);
    let (code, text) = said(&run(&["status", "--config", wrong.to_str().unwrap()]));
    assert_eq!(code, Some(64), "{text}");
}

/// As `status | head -3` does it.
#[test]
fn what_shows_a_running_proxy_ends_quietly_when_its_reader_leaves() {
    let pki = Pki::new();
    let client = pki.client("node1");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &client)]).start();
    let file = configuration(&proxy);
    assert!(!admitted(proxy.addr(), &pki.client("node2")), "to be told");
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["certs", "list"],
        &["explain", "--peer", "127.0.0.1"],
    ] {
        assert_ends_quietly_unread(&[arguments, &["--config", &file]].concat());
    }
}

#[test]
fn a_policy_in_force_is_shown_with_what_it_refused() {
    let pki = Pki::new();
    let client = pki.client("node1");
    let start = |policy: &str| {
        let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &client)]);
        proxy.config(policy).start()
    };
    for (policy, state, line) in [
        (
            "[policy]\ndeny = ['version', 'test_delay']\n",
            "enforce",
            "enforce, rules: 2 for nobody, 0 for the master alone; refused: 1",
        ),
        (
            "[policy]\ndeny = ['version']\naudit = true\n",
            "audit",
            "audit, rules: 1 for nobody, 0 for the master alone; would be refused: 1",
        ),
        ("", "none", "none: every candidate may call every procedure"),
    ] {
        let proxy = start(policy);
        let answer = rpc(proxy.addr(), &client, "version", "[]").unwrap();
        assert_eq!(answer.status == 403, state == "enforce", "{policy}");
        let (_, text) = said(&run(&["status", "--config", &configuration(&proxy)]));
        assert!(text.contains(&format!("policy:      {line}\n")), "{text}");
        assert_eq!(proxy.status()["policy"]["state"], state);
        let metric = format!("noded_proxy_policy{{state=\"{state}\"}}");
        assert_eq!(proxy.metric(&metric), 1.0);
        let told = proxy.log().contains("RPC policy: ");
        assert_eq!(told, state != "none", "{}", proxy.log());
    }
}

#[test]
fn a_flag_that_names_a_file_asks_the_files_and_not_the_proxy() {
    let pki = Pki::new();
    let (one, other) = (pki.client("node1"), pki.client("node2"));
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &one)]).start();
    assert!(admitted(proxy.addr(), &one));
    let file = configuration(&proxy);
    let (_, running) = said(&run(&["certs", "list", "--config", &file]));
    assert!(running.contains("uuid-1"), "{running}");
    let map = proxy.dir().join("another-map");
    replace(&map, map_text(&[("uuid-9", &other)]).as_bytes(), 0o644);
    let map = map.to_str().unwrap();
    let server = proxy.server_pem_path().display().to_string();
    let flags = ["--candidate-map", map, "--server-pem", &server];
    let (_, files) = said(&run(
        &[&["certs", "list", "--config", &file], &flags[..]].concat()
    ));
    assert!(
        files.contains("uuid-9") && !files.contains("uuid-1"),
        "{files}"
    );
}

#[test]
fn explain_says_what_it_needs_and_what_it_does_not_use() {
    let (code, text) = said(&run(&["explain"]));
    assert_eq!(code, Some(64), "{text}");
    assert!(
        text.contains("CERT") && text.contains("--peer ADDRESS"),
        "{text}"
    );
    let pki = Pki::new();
    let client = pki.client("node1");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &client)]).start();
    let pem = proxy.dir().join("client.pem");
    replace(&pem, client.pem.as_bytes(), 0o644);
    let (pem, file) = (pem.display().to_string(), configuration(&proxy));
    let admin = proxy.admin().to_string();
    let words = "--admin is not used: a certificate is judged by the files";
    let (_, with) = said(&run(&[
        "explain", &pem, "--config", &file, "--admin", &admin,
    ]));
    assert!(with.contains(words), "{with}");
    let (_, without) = said(&run(&["explain", &pem, "--config", &file]));
    assert!(!without.contains(words), "{without}");
}

#[test]
fn the_log_says_when_server_pem_ends_at_the_start_and_for_each_new_one() {
    let pki = Pki::new();
    let client = pki.client("node1");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &client)]).start();
    let end = proxy.status()["server_pem"]["not_after"].as_i64().unwrap();
    let lines = proxy.lines_with("server.pem in force");
    assert_eq!(lines.len(), 1, "{}", proxy.log());
    let expires = lines[0]["expires"].as_str().unwrap();
    let end = humantime::format_rfc3339_seconds(
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(end.try_into().unwrap()),
    );
    assert_eq!(expires, end.to_string());
    assert!(admitted(proxy.addr(), &client));
    let learned = "certificate learned";
    proxy.wait_for("it is learned", |p| p.lines_with(learned).len() == 1);
    let expires = &proxy.lines_with(learned)[0]["expires"];
    assert!(expires.to_string().contains('T'), "{expires}");
    let readings = || proxy.metric("noded_proxy_readings_total{cause=\"inotify\"}");
    let (path, before) = (proxy.server_pem_path(), readings());
    replace(&path, pki.server_pem().as_bytes(), 0o440);
    proxy.wait_for("the same one is read again", |_| readings() > before);
    replace(&path, Pki::new().server_pem().as_bytes(), 0o440);
    proxy.wait_for(
        "the new one is told, and the same one is not told again",
        |p| p.lines_with("server.pem in force").len() == 2,
    );
}
