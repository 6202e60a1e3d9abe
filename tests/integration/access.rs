//! Who is admitted as time goes by: the bootstrap phase, the latch that ends it, restarts.

use std::fs;
use std::process::Command;

use crate::handshake::{assert_refused, proxy_for};
use crate::support::client::{admitted, alert};
use crate::support::pki::{Identity, Pki, map_text};
use crate::support::proxy::{Proxy, replace};
use crate::support::wait_until;

const NAME: &str = "node1.example.com";

/// Whether this is the bootstrap phase: `server.pem` is admitted, and no `client.pem`.
#[track_caller]
fn assert_bootstrap(proxy: &Proxy, pki: &Pki, node: &Identity) {
    assert!(
        admitted(proxy.addr(), pki.server()),
        "server.pem in the bootstrap phase"
    );
    assert_refused(proxy, node, NAME, "bootstrap_refused", alert::UNKNOWN_CA);
    assert_eq!(proxy.status()["admission"]["phase"], "bootstrap");
}

/// Whether the map is in force that lists `node` and not `other`, and the bootstrap phase is over.
#[track_caller]
fn assert_listed(proxy: &Proxy, pki: &Pki, node: &Identity) {
    assert!(admitted(proxy.addr(), node), "the candidate");
    assert!(
        !admitted(proxy.addr(), pki.server()),
        "server.pem once there was a map"
    );
    assert_eq!(proxy.status()["admission"]["phase"], "listed");
}

/// Whether a fault of the map is told everywhere.
#[track_caller]
fn assert_degraded(proxy: &Proxy, why: &str) {
    proxy.wait_for("the map is stale", |p| {
        p.metric("noded_proxy_candidate_map_stale") == 1.0
    });
    proxy.wait_for("the fault is shown", |p| {
        p.health().1["reasons"].to_string().contains(why)
    });
    let (status, health) = proxy.health();
    assert_eq!(
        (status, &health["ready"], &health["degraded"]),
        (200, &true.into(), &true.into())
    );
    assert!(proxy.metric("noded_proxy_reload_failures_total{file=\"candidate_map\"}") >= 1.0);
    let told = "file refused, what was in force stays in force";
    proxy.wait_for("the fault is logged", |p| {
        p.lines_with(told)
            .iter()
            .any(|l| l["level"] == "ERROR" && l["fault"].to_string().contains(why))
    });
}

#[track_caller]
fn assert_recovered(proxy: &Proxy) {
    proxy.wait_for("all is well", |p| {
        p.metric("noded_proxy_candidate_map_stale") == 0.0
    });
    proxy.wait_for("health is good", |p| p.health().1["degraded"] == false);
    proxy.wait_for("it is logged", |p| p.logged("all files are good again"));
}

#[test]
fn without_a_map_server_pem_alone_is_admitted() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki).start();
    assert_bootstrap(&proxy, &pki, &node);
    assert_eq!(
        proxy.metric("noded_proxy_candidate_map_state{state=\"absent\"}"),
        1.0
    );
    assert_eq!(proxy.metric("noded_proxy_candidate_map_stale"), 0.0);
}

#[test]
fn with_an_empty_map_server_pem_alone_is_admitted() {
    for text in ["", "\n"] {
        let pki = Pki::new();
        let node = pki.client(NAME);
        let proxy = Proxy::with(&pki).map_text(text).start();
        proxy.wait_for("it is shown", |p| {
            let fault = &p.health().1["faults"][0];
            fault["kind"] == "bootstrap_phase" && fault["before"] == "empty"
        });
        assert_bootstrap(&proxy, &pki, &node);
        assert_eq!(
            proxy.metric("noded_proxy_candidate_map_state{state=\"empty\"}"),
            1.0
        );
    }
}

#[test]
fn the_first_map_ends_the_bootstrap_phase() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki).start();
    assert_bootstrap(&proxy, &pki, &node);
    proxy.write_map(&[("uuid-1", &node)]);
    wait_until("the map is in force", || admitted(proxy.addr(), &node));
    assert_listed(&proxy, &pki, &node);
}

/// Normal before the first map, and not normal where somebody is refused for lack of it.
#[test]
fn a_bootstrap_phase_that_refuses_certificates_is_shown() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki).start();
    assert!(admitted(proxy.addr(), pki.server()));
    proxy.wait_for("health is good", |p| p.health().1["degraded"] == false);
    assert_bootstrap(&proxy, &pki, &node);
    proxy.wait_for("it is shown", |p| {
        let (status, health) = p.health();
        status == 200 && health["faults"][0]["kind"] == "bootstrap_phase"
    });
    let degraded = "noded_proxy_degraded{reason=\"bootstrap_phase\"}";
    assert_eq!(proxy.metric(degraded), 1.0);
    proxy.write_map(&[("uuid-1", &node)]);
    proxy.wait_for("health is good", |p| p.health().1["degraded"] == false);
    assert_eq!(proxy.metric(degraded), 0.0);
}

#[test]
fn bootstrap_refuse_admits_nobody_without_a_map() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki)
        .config("admission.bootstrap = 'refuse'")
        .start();
    let cn = "ganeti.example.com";
    assert_refused(
        &proxy,
        pki.server(),
        cn,
        "nobody_admitted",
        alert::UNKNOWN_CA,
    );
    assert_refused(&proxy, &node, NAME, "nobody_admitted", alert::UNKNOWN_CA);
    proxy.write_map(&[("uuid-1", &node)]);
    wait_until("the map is in force", || admitted(proxy.addr(), &node));
}

#[test]
fn a_malformed_first_map_admits_nobody() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki).map_text("uuid-1=AA:BB\n").start();
    let cn = "ganeti.example.com";
    assert_refused(
        &proxy,
        pki.server(),
        cn,
        "nobody_admitted",
        alert::UNKNOWN_CA,
    );
    assert_refused(&proxy, &node, NAME, "nobody_admitted", alert::UNKNOWN_CA);
    assert_degraded(&proxy, "line 1");
}

/// Once there was a map, this fault keeps it in force, is told, and is over when the file is good
/// again.
pub(crate) fn keeps_the_last_good_map(state: &str, why: &str, spoil: impl Fn(&Proxy)) {
    let pki = Pki::new();
    let (node, new) = (pki.client(NAME), pki.client("node2.example.com"));
    let mut proxy = proxy_for(&pki, &node).start();
    assert_listed(&proxy, &pki, &node);
    let is_state = format!("noded_proxy_candidate_map_state{{state=\"{state}\"}}");
    spoil(&proxy);
    proxy.wait_for("the fault is seen", |p| p.metric(&is_state) == 1.0);
    assert_degraded(&proxy, why);
    assert_listed(&proxy, &pki, &node);
    assert!(!admitted(proxy.addr(), &new));
    assert_eq!(proxy.metric("noded_proxy_candidate_map_entries"), 1.0);

    // A restart cannot be used to fall back to the bootstrap phase.
    proxy.restart(|_| {});
    assert_listed(&proxy, &pki, &node);
    assert_degraded(&proxy, why);

    if proxy.map_path().is_dir() {
        fs::remove_dir(proxy.map_path()).unwrap();
    }
    proxy.write_map(&[("uuid-2", &new)]);
    assert_recovered(&proxy);
    assert_listed(&proxy, &pki, &new);
    assert!(!admitted(proxy.addr(), &node));
}

#[test]
fn a_map_that_vanishes_keeps_the_last_good_one() {
    keeps_the_last_good_map("absent", "absent", |p| {
        fs::remove_file(p.map_path()).unwrap()
    });
}

#[test]
fn a_map_that_becomes_empty_keeps_the_last_good_one() {
    keeps_the_last_good_map("empty", "empty", |p| p.write_map(&[]));
    keeps_the_last_good_map("empty", "empty", |p| p.write_map_in_place(b"\n", 0o644));
}

#[test]
fn a_torn_map_keeps_the_last_good_one() {
    keeps_the_last_good_map("malformed", "line 1", |p| {
        let text = fs::read(p.map_path()).unwrap();
        p.write_map_in_place(&text[..text.len() - 10], 0o644);
    });
}

#[test]
fn one_bad_line_keeps_the_last_good_map() {
    let pki = Pki::new();
    let other = map_text(&[("uuid-2", &pki.client("node2.example.com"))]);
    keeps_the_last_good_map("malformed", "line 2", |p| {
        replace(&p.map_path(), format!("{other}garbage\n").as_bytes(), 0o644);
    });
}

#[test]
fn garbage_for_a_map_keeps_the_last_good_one() {
    keeps_the_last_good_map("malformed", "line 1", |p| {
        replace(&p.map_path(), &[0xff; 300], 0o644)
    });
}

#[test]
fn a_directory_for_a_map_keeps_the_last_good_one() {
    keeps_the_last_good_map("unreadable", "not a regular file", |p| {
        fs::remove_file(p.map_path()).unwrap();
        fs::create_dir(p.map_path()).unwrap();
    });
}

#[test]
fn a_fifo_for_a_map_keeps_the_last_good_one() {
    keeps_the_last_good_map("unreadable", "not a regular file", |p| {
        fs::remove_file(p.map_path()).unwrap();
        let made = Command::new("mkfifo").arg(p.map_path()).status().unwrap();
        assert!(made.success());
    });
}

#[test]
fn a_map_that_is_too_large_keeps_the_last_good_one() {
    keeps_the_last_good_map("too_large", "16777216 bytes", |p| {
        let large = fs::File::create(p.dir().join("large")).unwrap();
        large.set_len((16 << 20) + 1).unwrap();
        fs::rename(p.dir().join("large"), p.map_path()).unwrap();
    });
}

#[test]
fn a_map_that_cannot_be_read_keeps_the_last_good_one() {
    let pki = Pki::new();
    let (node, new) = (pki.client(NAME), pki.client("node2.example.com"));
    let proxy = proxy_for(&pki, &node).unprivileged().start();
    proxy.write_map_in_place(map_text(&[("uuid-2", &new)]).as_bytes(), 0o000);
    // Between the writing and the change of the mode the new map may have been read.
    proxy.wait_for("it is unreadable", |p| {
        p.metric("noded_proxy_candidate_map_state{state=\"unreadable\"}") == 1.0
    });
    assert_degraded(&proxy, "Permission denied");
    assert!(!admitted(proxy.addr(), pki.server()));
    proxy.write_map(&[("uuid-2", &new)]);
    assert_recovered(&proxy);
    assert_listed(&proxy, &pki, &new);
}

#[test]
fn a_file_made_unreadable_at_once_changes_nothing() {
    let pki = Pki::new();
    let (node, new) = (pki.client(NAME), pki.client("node2.example.com"));
    let proxy = proxy_for(&pki, &node).unprivileged().start();
    replace(
        &proxy.map_path(),
        map_text(&[("uuid-2", &new)]).as_bytes(),
        0o000,
    );
    assert_degraded(&proxy, "Permission denied");
    assert_listed(&proxy, &pki, &node);
    assert!(!admitted(proxy.addr(), &new));
}

#[test]
fn a_damaged_state_file_keeps_the_bootstrap_phase_closed() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let mut proxy = proxy_for(&pki, &node).start();
    assert_listed(&proxy, &pki, &node);
    proxy.restart(|p| {
        fs::remove_file(p.map_path()).unwrap();
        let text = fs::read(p.state_path()).unwrap();
        fs::write(p.state_path(), &text[..text.len() / 2]).unwrap();
    });
    assert!(!admitted(proxy.addr(), pki.server()), "server.pem");
    assert!(
        !admitted(proxy.addr(), &node),
        "nobody knows the candidates any more"
    );
    assert!(proxy.metric("noded_proxy_reload_failures_total{file=\"state\"}") >= 1.0);
    // ... and a second restart changes nothing
    proxy.restart(|_| {});
    assert!(!admitted(proxy.addr(), pki.server()), "server.pem");
    proxy.write_map(&[("uuid-1", &node)]);
    wait_until("a good map is taken", || admitted(proxy.addr(), &node));
    assert_listed(&proxy, &pki, &node);
}

/// Whether nobody is admitted, `server.pem` neither, and it is told why and what to do.
#[track_caller]
fn assert_map_gone(proxy: &Proxy, pki: &Pki, node: &Identity) {
    proxy.wait_for("it is ready", |p| p.health().0 == 200);
    assert!(!admitted(proxy.addr(), pki.server()), "server.pem");
    assert!(!admitted(proxy.addr(), node), "the candidate");
    let status = proxy.status();
    assert_eq!(status["admission"]["why"], "map_gone", "{status:#}");
    let reasons = proxy.health().1["reasons"].to_string();
    assert!(reasons.contains("noded-proxy reset"), "{reasons}");
    assert_eq!(proxy.metric("noded_proxy_candidate_map_stale"), 1.0);
    let explained = explain(proxy, node);
    let words = ["REFUSED, nobody_admitted", "noded-proxy reset"];
    assert!(words.iter().all(|w| explained.contains(w)), "{explained}");
}

/// What `explain` says of a certificate.
fn explain(proxy: &Proxy, identity: &Identity) -> String {
    let file = proxy.dir().join("explained.pem");
    fs::write(&file, &identity.cert_pem).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    command.arg("explain").arg(&file);
    command.arg("--config").arg(proxy.dir().join("config.toml"));
    command.arg("--server-pem").arg(proxy.server_pem_path());
    command.arg("--ssconf-dir").arg(proxy.dir().join("ganeti"));
    command.arg("--state-dir").arg(proxy.dir().join("state"));
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// The node loses `server.pem`, and the port is closed.
fn leave(proxy: &Proxy) {
    fs::remove_file(proxy.server_pem_path()).unwrap();
    proxy.wait_for("it is not ready", |p| p.health().0 == 503);
}

#[test]
fn a_server_pem_that_comes_back_before_the_map_opens_nothing() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let mut proxy = proxy_for(&pki, &node).start();
    assert_listed(&proxy, &pki, &node);
    let come_back = |proxy: &Proxy| {
        replace(&proxy.server_pem_path(), pki.server_pem().as_bytes(), 0o400);
    };
    for map_first in [true, false] {
        if map_first {
            fs::remove_file(proxy.map_path()).unwrap();
            leave(&proxy);
        } else {
            leave(&proxy);
            fs::remove_file(proxy.map_path()).unwrap();
        }
        proxy.wait_for("the last good map is dropped", |p| !p.state_path().exists());
        come_back(&proxy);
        assert_map_gone(&proxy, &pki, &node);
        proxy.write_map(&[("uuid-1", &node)]);
        wait_until("the map is in force", || admitted(proxy.addr(), &node));
        assert_listed(&proxy, &pki, &node);
    }
    // A restart between the two changes nothing.
    leave(&proxy);
    fs::remove_file(proxy.map_path()).unwrap();
    proxy.restart(|_| {});
    come_back(&proxy);
    assert_map_gone(&proxy, &pki, &node);
    proxy.restart(|_| {});
    assert_map_gone(&proxy, &pki, &node);
    // Only the administrator opens the phase.
    proxy.restart(|p| {
        let reset = Command::new(env!("CARGO_BIN_EXE_noded-proxy"))
            .args(["reset", "--state-dir"])
            .arg(p.dir().join("state"))
            .output()
            .unwrap();
        assert!(reset.status.success(), "{reset:?}");
    });
    assert_bootstrap(&proxy, &pki, &node);
}

#[test]
fn a_second_cluster_does_not_open_the_first_one_again() {
    let (pki, other) = (Pki::new(), Pki::new());
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node).start();
    assert_listed(&proxy, &pki, &node);
    fs::remove_file(proxy.map_path()).unwrap();
    let show = |pem: String| replace(&proxy.server_pem_path(), pem.as_bytes(), 0o400);
    show(other.server_pem());
    wait_until("the other cluster's bootstrap phase", || {
        admitted(proxy.addr(), other.server())
    });
    show(pki.server_pem());
    proxy.wait_for("the first one is back", |p| {
        p.status()["server_pem"]["digest"] == pki.server().digest.as_str()
    });
    assert_map_gone(&proxy, &pki, &node);
}

#[test]
fn a_map_that_is_gone_names_the_way_out() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node).start();
    fs::remove_file(proxy.map_path()).unwrap();
    assert_degraded(&proxy, "noded-proxy reset");
    assert!(explain(&proxy, pki.server()).contains("noded-proxy reset"));
}

#[test]
fn another_server_pem_starts_afresh() {
    let (pki, other) = (Pki::new(), Pki::new());
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node).start();
    assert_listed(&proxy, &pki, &node);
    fs::remove_file(proxy.map_path()).unwrap();
    assert_degraded(&proxy, "absent");
    replace(
        &proxy.server_pem_path(),
        other.server_pem().as_bytes(),
        0o400,
    );
    wait_until("the new cluster's bootstrap phase", || {
        admitted(proxy.addr(), other.server())
    });
    assert!(
        !admitted(proxy.addr(), &node),
        "a candidate of the old cluster"
    );
    assert!(!admitted(proxy.addr(), pki.server()), "the old server.pem");
    let why = |p: &Proxy| p.health().1["reasons"].to_string();
    proxy.wait_for("the phase is shown", |p| {
        why(p).contains("there was one under another server.pem")
    });
    proxy.wait_for("it is logged", |p| p.logged("all files are good again"));
    proxy.write_map(&[("uuid-1", &node)]);
    assert_recovered(&proxy);
}

#[test]
fn another_server_pem_at_a_restart_starts_afresh() {
    let (pki, other) = (Pki::new(), Pki::new());
    let node = pki.client(NAME);
    let mut proxy = proxy_for(&pki, &node).start();
    assert_listed(&proxy, &pki, &node);
    proxy.restart(|p| {
        fs::remove_file(p.map_path()).unwrap();
        fs::write(p.server_pem_path(), other.server_pem()).unwrap();
    });
    assert_bootstrap(&proxy, &other, &node);
}
