//! `noded-proxy install` and `uninstall` with stand-ins for systemctl, daemon-util and noded, the
//! real guard and the real proxy: what they say and do, and that whatever fails leaves all as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::pki::{Pki, map_text};

mod left;
mod moves;

/// A node's files, of a master candidate or of another node.
fn node(dir: &Path, candidate: bool) {
    let pki = Pki::new();
    let host = rustix::system::uname()
        .nodename()
        .to_str()
        .unwrap()
        .to_owned();
    let own = pki.client(&host);
    let other = pki.client("other.example.com");
    let listed = if candidate { &own } else { &other };
    let candidates = if candidate {
        &*host
    } else {
        "other.example.com"
    };
    let path = |name: &str| dir.join(name).display().to_string();
    let config = format!(
        "listen = [\"127.0.0.1:1811\"]\nserver_pem = {:?}\nssconf_dir = {:?}\nstate_dir = {:?}\n\
         [upstream]\nguard = {:?}\n",
        path("ganeti/server.pem"),
        path("ganeti"),
        path("state"),
        path("stand/run/state"),
    );
    for folder in ["ganeti", "state"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    for (name, text) in [
        ("config.toml", config),
        ("ganeti/server.pem", pki.server_pem()),
        ("ganeti/client.pem", own.pem.clone()),
        (
            "ganeti/ssconf_master_candidates_certs",
            map_text(&[("uuid-1", listed)]),
        ),
        (
            "ganeti/ssconf_node_list",
            format!("{host}\nother.example.com\n"),
        ),
        ("ganeti/ssconf_master_candidates", format!("{candidates}\n")),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Runs a part of the script in namespaces of its own; nothing where that cannot be.
fn part(name: &str, candidate: bool) -> Option<String> {
    const OWN: [&str; 6] = [
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let possible = Command::new("unshare")
        .args(OWN)
        .args(["nft", "list", "ruleset"])
        .output();
    if !possible
        .as_ref()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("SKIPPED: it needs root, namespaces and nft: {possible:?}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    node(dir.path(), candidate);
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("timeout")
        .args(["300", "unshare"])
        .args(OWN)
        .arg(format!("{root}/tests/integration/install.sh"))
        .args([name, env!("CARGO_BIN_EXE_noded-proxy"), root])
        .arg(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    Some(said)
}

const PLAN: &str = "\
systemctl enable noded-proxy-guard.service
systemctl start noded-proxy-guard.service
keep NODE/defaults as it is, for `uninstall`
NODE/defaults: NODED_ARGS=\"-d\" becomes \"-d -b 127.0.0.1 -p 298 --no-ssl\", all else stays
systemctl enable noded-proxy.service
NODE/stand/bin/daemon-util stop ganeti-noded; NODE/stand/bin/daemon-util start ganeti-noded; wait for noded on port 298
systemctl start noded-proxy.service
prove it: `check` finds no error, nobody is kept out, an RPC comes through
";

const BACK: &str = "\
systemctl stop noded-proxy.service
NODE/defaults: as it was before `install`, byte for byte
systemctl disable noded-proxy.service
NODE/stand/bin/daemon-util stop ganeti-noded; NODE/stand/bin/daemon-util start ganeti-noded; wait for noded on port 1811
";

const PROVE: &str =
    "prove it: noded has the RPC port again, with TLS, and none listens elsewhere\n";

const END: &str = "\
systemctl stop noded-proxy-guard.service
systemctl disable noded-proxy-guard.service
drop what was kept of NODE/defaults
";

/// Each line with this word before it.
fn each(word: &str, lines: &str) -> String {
    lines
        .lines()
        .map(|line| format!("{word:<5} {line}\n"))
        .collect()
}

/// What the whole says; `rpc`: how the way through is proven.
fn whole(rpc: &str) -> String {
    let (nothing, done) = (
        "note  nothing was done: --apply does it\n",
        "ok    nothing to do: all is as it should be\n",
    );
    [
        "install: status 0\n",
        &each("would", PLAN),
        nothing,
        "as before\ninstall --apply: status 0\n",
        &each("ok", PLAN),
        "      `check`: N checks, 0 errors\n      nobody is kept out of 127.0.0.1:298\n",
        &format!("      {rpc}\n"),
        "enabled: noded-proxy-guard.service noded-proxy.service\n",
        "units: ganeti-noded noded-proxy-guard.service noded-proxy.service\n",
        "port 1811: noded-proxy\nport 298: ganeti-noded\nguarded\nkept: ",
    ]
    .concat()
        + "@\nnobody: kept out\n"
        + &["install --apply: status 0\n", done, "uninstall: status 0\n"].concat()
        + &each("would", &[BACK, PROVE, END].concat())
        + nothing
        + "uninstall --apply: status 0\n"
        + &each("ok", &[BACK, PROVE].concat())
        + "      ganeti-noded listens at HERE\n"
        + &each("ok", END)
        + "as before\nuninstall --apply: status 0\n"
        + done
}

#[track_caller]
fn assert_whole(said: &str, rpc: &str) {
    let digest = |line: &str| line.starts_with("kept: ");
    let shown: Vec<&str> = said
        .lines()
        .map(|line| if digest(line) { "kept: @" } else { line })
        .collect();
    assert_eq!(shown.join("\n") + "\n", whole(rpc));
}

#[test]
fn the_guard_stays_while_a_drop_in_starts_noded_without_tls() {
    let Some(said) = part("drop-in", true) else {
        return;
    };
    let expected = "\
install --apply: status 0
uninstall --apply: status 1
noded-proxy: uninstall: noded would start without TLS: it needs the guard. All is back as it was
as before
uninstall --apply: status 0
as before
";
    assert_eq!(said, expected);
}

#[test]
fn what_never_answers_is_named_and_nothing_is_done() {
    let Some(said) = part("silent", true) else {
        return;
    };
    let expected = "\
install --apply: status 1
noded-proxy: `systemctl show noded-proxy-guard.service` did not end within 10s, and was killed
as before
install --apply: status 1
`bash` did not end within 10s, and was killed. Change it by hand
as before
";
    assert_eq!(said, expected);
}

/// It would have waited for it behind a closed port.
#[test]
fn a_node_whose_server_pem_is_elsewhere_is_refused() {
    let Some(said) = part("no-cluster", true) else {
        return;
    };
    let refused = "\
noded-proxy: NODE/ganeti/server.pem is not there, though noded runs: set server_pem, ssconf_dir and \
candidate_map in the configuration to where this node's Ganeti has them (/var/lib/ganeti, or \
/usr/local/var/lib/ganeti)
";
    let expected = format!(
        "\
install: status 1
{refused}install --apply: status 1
{refused}as before
install: status 0
note  noded does not run, and is not started
note  NODE/ganeti/server.pem is not there: this node is in no cluster yet, and the proxy will wait for it
note  nothing was done: --apply does it
as before
"
    );
    assert_eq!(said, expected);
}

#[test]
fn it_is_shown_done_and_undone_byte_for_byte() {
    let Some(said) = part("whole", true) else {
        return;
    };
    let rpc = "RPC `version` at HERE with this node's certificate: [true, 3000000]";
    assert_whole(&said, rpc);
}

#[test]
fn a_node_that_is_no_candidate_says_how_far_it_is_proven() {
    let Some(said) = part("whole", false) else {
        return;
    };
    let rpc = "this node is no candidate, so it makes no RPC: the proxy says that it is ready, and \
               noded answered to `check`";
    assert_whole(&said, rpc);
}

#[test]
fn whichever_step_fails_all_is_as_before() {
    let Some(said) = part("fails", true) else {
        return;
    };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        said.matches("install --apply: status 1\n").count(),
        12,
        "{said}"
    );
    assert_eq!(said.matches(": as before\n").count(), 12, "{said}");
    assert!(!said.contains("NOT") && !said.contains("LEFT"), "{said}");
    // The last one, line by line.
    let last = lines[24..].join("\n");
    let back = [
        "back  systemctl stop noded-proxy.service",
        "back  NODE/defaults: as it was",
        "back  NODE/stand/bin/daemon-util stop ganeti-noded;",
        "back  systemctl disable noded-proxy.service",
        "back  drop what was kept",
        "back  systemctl stop noded-proxy-guard.service",
        "back  systemctl disable noded-proxy-guard.service",
        "noded-proxy: install: ",
    ];
    let at: Vec<Option<usize>> = back.iter().map(|line| last.find(line)).collect();
    assert!(at.is_sorted() && at.iter().all(Option::is_some), "{last}");
    assert!(
        last.contains("FAIL  systemctl start noded-proxy.service: ")
            && last.contains("told to fail"),
        "{last}"
    );
    assert!(last.ends_with("All is back as it was"), "{last}");
}

#[test]
fn what_is_not_proven_is_taken_back() {
    let Some(said) = part("unproven", true) else {
        return;
    };
    assert!(
        said.starts_with("install --apply: status 1\nas before\n"),
        "{said}"
    );
    assert!(said.contains("noded_answers: "), "{said}");
}

#[test]
fn an_uninstall_that_fails_leaves_the_proxy_at_work() {
    let Some(said) = part("uninstall_fails", true) else {
        return;
    };
    assert_eq!(
        said.matches("uninstall --apply: status 1\n").count(),
        12,
        "{said}"
    );
    assert_eq!(said.matches("as before\n").count(), 13, "{said}");
    assert!(!said.contains("NOT"), "{said}");
}

#[test]
fn running_rpcs_are_waited_for_or_it_is_refused() {
    let Some(said) = part("running", true) else {
        return;
    };
    let expected = "\
install: status 0
note  now running: 1 RPC; --apply then needs --wait or --now
note  nothing was done: --apply does it
install --apply: status 1
noded-proxy: now running on this node: 1 RPC. Later calls of the same job would fail for a moment: \
try again later, or with --wait (until none runs), or with --now. Nothing was done
as before
unread: status 1
noded-proxy: nobody reads what this says any more. Nothing was done
as before
as before
[true, 3000000]
install --apply --wait: status 0
wait  1 RPC still running (Ctrl-C: nothing was done yet)
uninstall --apply --now: status 0
as before
";
    assert_eq!(said, expected);
}

#[test]
fn a_signal_in_the_middle_has_all_taken_back() {
    let Some(said) = part("interrupted", true) else {
        return;
    };
    let fail = "FAIL  systemctl start noded-proxy.service: a signal asked to end\n";
    let end = "noded-proxy: install: a signal asked to end. All is back as it was\nas before\n";
    assert_eq!(said, format!("status 1\n{fail}{end}"));
}

#[test]
fn what_was_edited_since_is_kept() {
    let Some(said) = part("edited", true) else {
        return;
    };
    let expected = "\
install --apply: status 0
uninstall --apply: status 0
note  NODE/defaults was edited since `install`: NODED_ARGS alone is changed back
NODED_ARGS='-d'   # loud
export X=\"M-^?\"
# mine
NODED_ARGS='-d'   # loud
install --apply: status 0
uninstall --apply: status 0
note  nothing was kept of NODE/defaults: the proxy's options are taken out of NODED_ARGS
NODED_ARGS=\"-d\"   # loud
install --apply: status 0
uninstall --apply: status 1
noded-proxy: `install` has changed NODE/defaults, and noded's arguments are looked for in NODE/other \
now: give --noded-defaults NODE/defaults, or change it back by hand and remove what --undo-dir keeps \
of it
uninstall --apply: status 0
NODED_ARGS=\"-d\"   # loud
";
    assert_eq!(said, expected);
}

#[test]
fn the_socket_unit_comes_before_the_service() {
    let Some(said) = part("socket", true) else {
        return;
    };
    let units =
        "units: ganeti-noded noded-proxy-guard.service noded-proxy.service noded-proxy.socket\n";
    let expected = [
        "install --apply --socket: status 0\n",
        units,
        "uninstall --apply: status 0\nas before\n",
        "install --apply: status 0\ninstall --apply --socket: status 0\n",
        units,
        "install --apply: status 0\nok    nothing to do: all is as it should be\n",
        "uninstall --apply: status 0\nas before\n",
    ];
    assert_eq!(said, expected.concat());
}

#[test]
fn hooks_come_and_go_with_the_rest() {
    let Some(said) = part("hooks", true) else {
        return;
    };
    let link = "NODE/hooks/cluster-verify-post.d/noded-proxy";
    let certs = ["config-update", "node-add", "node-modify"]
        .map(|name| format!("NODE/hooks/{name}-post.d/noded-proxy"));
    let links: String = certs
        .iter()
        .map(|link| format!("ok    {link}: a link to REPO/hooks/certs-distribute\n"))
        .collect();
    let removed: String = certs
        .iter()
        .map(|link| format!("ok    {link}: removed\n"))
        .collect();
    let expected = [
        "install --apply --hooks: status 0\n",
        &format!("ok    {link}: a link to REPO/hooks/cluster-verify-post.d/noded-proxy\n"),
        &links,
        "hooks: ./cluster-verify-post.d/noded-proxy ./config-update-post.d/noded-proxy \
         ./node-add-post.d/noded-proxy ./node-modify-post.d/noded-proxy\ninstall --apply --hooks: status 0\n",
        "ok    nothing to do: all is as it should be\nuninstall --apply: status 0\n",
        &format!("ok    {link}: removed\n{removed}as before\n"),
        "install --apply --hooks: status 1\nas before\ninstall --apply --hooks: status 1\n",
        &format!(
            "noded-proxy: {link} is there and is not of `install`: remove it, then try again\n"
        ),
        "as before\n",
    ];
    assert_eq!(said, expected.concat());
}

#[test]
fn keys_of_the_configuration_are_set_and_taken_back_if_it_fails() {
    let Some(said) = part("settings", true) else {
        return;
    };
    let (audit, enforce) = (
        "noded_proxy_mode{mode=\"audit\"} 1\n",
        "noded_proxy_mode{mode=\"enforce\"} 1\n",
    );
    let expected = [
        "ok    NODE/candidates: made\nok    NODE/config.d: made\n",
        "ok    NODE/config.d/install.toml: admission.mode = \"audit\", candidate_certs = \"N\n",
        "ok    systemctl enable noded-proxy-guard.service\n",
        audit,
        "ok    nothing to do: all is as it should be\n",
        &"install --apply --mode enforce: status 1\nas before\n".repeat(2),
        "back  NODE/config.d/install.toml: as it was\nback  systemctl reload noded-proxy.service\n",
        audit,
        "install --apply --mode enforce: status 0\n",
        "ok    NODE/config.d/install.toml: admission.mode = \"enforce\"\n",
        "ok    systemctl reload noded-proxy.service\n",
        enforce,
        "as before\n",
        "ok       configuration: NODE/config.toml, NODE/config.d/install.toml\n",
        "uninstall --apply: status 0\n",
        "ok    NODE/config.d/install.toml: removed\nok    NODE/config.d: removed\n",
        "as before\nas before\n",
        "install --apply --mode enforce: status 0\n",
        "ok    NODE/config.toml: admission.mode = \"enforce\"\n",
        enforce,
        "uninstall --apply: status 0\nas before\n[admission]\nmode = \"enforce\"\n",
    ];
    assert_eq!(said, expected.concat());
}

#[test]
fn what_is_missing_or_not_safe_is_named() {
    let Some(said) = part("refused", true) else {
        return;
    };
    for word in [
        "noded-proxy: systemd knows no noded-proxy.service: install the package",
        "noded-proxy: systemd knows no noded-proxy.socket: install the package",
        "guard.nft is missing: install the package",
        "guard.nft must say `define noded_port = 298`",
        "NODED_ARGS cannot be changed safely: its value has a `$` or a backquote. Change it by hand",
        "the shell would read \"\" in it",
        "install: status 64",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(said.matches("status 1\n").count(), 5, "{said}");
}
