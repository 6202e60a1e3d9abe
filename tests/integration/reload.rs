//! How files change under the running proxy: the map and `server.pem`, by rename and in place,
//! whole and torn.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::handshake::proxy_for;
use crate::support::client::{Tls, admitted, alert, ask, connect, refusal, tcp};
use crate::support::pki::{Identity, Pki, map_text};
use crate::support::proxy::{Proxy, overwrite, replace};
use crate::support::{PATIENCE, wait_until};

const NAME: &str = "node1.example.com";
const FAULT: &str = "file refused, what was in force stays in force";

/// Whether a change of the map from one candidate to another is followed.
fn is_followed(change: impl Fn(&Proxy, &[(&str, &Identity)])) {
    let pki = Pki::new();
    let (old, new) = (pki.client(NAME), pki.client("node2.example.com"));
    let proxy = proxy_for(&pki, &old).start();
    assert!(admitted(proxy.addr(), &old));
    // More changes than the poll behind inotify could find in this time.
    let end = Instant::now() + PATIENCE;
    for (listed, gone) in [(&new, &old), (&old, &new)].into_iter().cycle().take(8) {
        change(&proxy, &[("uuid", listed)]);
        wait_until("the map is in force", || admitted(proxy.addr(), listed));
        assert!(!admitted(proxy.addr(), gone));
        assert!(Instant::now() < end, "changes are found by the poll alone");
    }
    assert_eq!(proxy.metric("noded_proxy_candidate_map_stale"), 0.0);
}

#[test]
fn a_map_that_is_renamed_into_place_is_followed() {
    is_followed(Proxy::write_map);
}

#[test]
fn a_map_that_is_rewritten_in_place_is_followed() {
    is_followed(|p, map| p.write_map_in_place(map_text(map).as_bytes(), 0o644));
}

#[test]
fn a_map_with_mode_0600_is_followed() {
    is_followed(|p, map| p.write_map_in_place(map_text(map).as_bytes(), 0o600));
    is_followed(|p, map| replace(&p.map_path(), map_text(map).as_bytes(), 0o600));
}

#[test]
fn a_map_behind_another_name_is_followed() {
    let pki = Pki::new();
    let (old, new) = (pki.client(NAME), pki.client("node2.example.com"));
    let elsewhere = tempfile::tempdir().unwrap();
    let map = elsewhere.path().join("map");
    fs::write(&map, map_text(&[("uuid-1", &old)])).unwrap();
    let proxy = Proxy::with(&pki)
        .arg("--candidate-map")
        .arg(map.to_str().unwrap())
        .start();
    assert!(admitted(proxy.addr(), &old));
    replace(&map, map_text(&[("uuid-2", &new)]).as_bytes(), 0o644);
    wait_until("the map is in force", || admitted(proxy.addr(), &new));
    assert!(!admitted(proxy.addr(), &old));
}

#[test]
fn a_map_removed_and_made_again_is_followed() {
    is_followed(|p, map| {
        fs::remove_file(p.map_path()).unwrap();
        fs::write(p.map_path(), map_text(map)).unwrap();
    });
}

#[test]
fn the_same_map_again_closes_no_connection_and_counts_as_no_change() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node)
        .config("limits.header_timeout = '1h'")
        .start();
    let _open = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    proxy.wait_for("it is open", |p| {
        p.metric("noded_proxy_connections_open") == 1.0
    });
    let reloads = proxy.metric("noded_proxy_reloads_total");
    let read = "noded_proxy_candidate_map_last_good_timestamp_seconds";
    let before = proxy.metric(read);
    proxy.write_map(&[("uuid-1", &node)]);
    proxy.wait_for("it is read again", |p| p.metric(read) > before);
    assert_eq!(proxy.metric("noded_proxy_reloads_total"), reloads);
    assert_eq!(proxy.metric("noded_proxy_connections_open"), 1.0);
    assert!(!proxy.logged("no longer admitted: closing its connection"));
}

/// `gnt-cluster renew-crypto` copies a short map over a long one with scp: byte after byte is
/// overwritten, and what is left behind is cut off at the end. Until then the old map must hold,
/// unchanged.
#[test]
fn scp_over_a_longer_map_admits_and_locks_out_nobody_before_it_is_done() {
    let pki = Pki::new();
    let nodes = ["node1.example.com", "node2.example.com"].map(|name| pki.client(name));
    let (new, stranger) = (pki.client(NAME), pki.client("node4.example.com"));
    let uuids = [
        "8aa1e5a5-d2ad-4d6e-a2a0-1f3a1f9a9c01",
        "0b0d2c6c-6d1c-4f0e-9d36-51c5f4c9ee02",
    ];
    let old = [(uuids[0], &nodes[0]), (uuids[1], &nodes[1])];
    let proxy = Proxy::with(&pki).candidates(&old).start();
    // Opened and closed for each byte: a file that stays open would not be read so soon.
    let open = || OpenOptions::new().write(true).open(proxy.map_path());
    let text = map_text(&[("bootstrap", &new)]);
    let readings = "noded_proxy_readings_total{cause=\"inotify\"}";
    for (at, byte) in text.bytes().enumerate() {
        let before = proxy.metric(readings);
        open().unwrap().write_at(&[byte], at as u64).unwrap();
        proxy.wait_for("the torn file is read", |p| p.metric(readings) > before);
        for (who, expected) in [
            (&nodes[0], true),
            (&nodes[1], true),
            (&new, false),
            (&stranger, false),
            (pki.server(), false),
        ] {
            assert_eq!(
                admitted(proxy.addr(), who),
                expected,
                "after {at} bytes: {}",
                who.digest
            );
        }
    }
    // From the first byte on the file was torn: one fault, though its text changed all the time.
    let failures = "noded_proxy_reload_failures_total{file=\"candidate_map\"}";
    assert_eq!(proxy.metric(failures), 1.0);
    open().unwrap().set_len(text.len() as u64).unwrap();
    wait_until("the new map is in force", || admitted(proxy.addr(), &new));
    for gone in [&nodes[0], &nodes[1], &stranger, pki.server()] {
        assert!(!admitted(proxy.addr(), gone));
    }
    assert_eq!(proxy.metric("noded_proxy_candidate_map_stale"), 0.0);
}

#[test]
fn sighup_reads_the_files_again() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node).start();
    let read = "noded_proxy_candidate_map_last_good_timestamp_seconds";
    let before = proxy.metric(read);
    proxy.sighup(); // no file has changed, so nothing else makes it read again
    proxy.wait_for("it is read again", |p| p.metric(read) > before);
    assert!(admitted(proxy.addr(), &node));
}

/// Whether the certificate that the proxy shows was signed by this `server.pem`.
fn shows(proxy: &Proxy, client: &Identity, server: &Identity) -> bool {
    let Ok(stream) = connect(proxy.addr(), Some(client), Tls::Any) else {
        return false;
    };
    let shown = stream.ssl().peer_certificate().unwrap();
    shown.verify(&server.key).unwrap()
}

/// Whether a renewed `server.pem` is taken into force without a break.
fn is_taken(change: impl Fn(&Proxy, &str)) {
    let pki = Pki::new();
    let (node, renewed) = (pki.client(NAME), pki.renewed_server(900));
    let proxy = proxy_for(&pki, &node).start();
    let port = proxy.addr();
    assert!(shows(&proxy, &node, pki.server()));
    change(&proxy, &renewed.pem);
    wait_until("the new one is shown", || shows(&proxy, &node, &renewed));
    assert_eq!(proxy.addr(), port, "the port stays open");
    assert!(admitted(port, &node), "the candidate map holds on");
    assert_eq!(
        proxy.status()["server_pem"]["digest"],
        renewed.digest.as_str()
    );
    let ends = "noded_proxy_certificate_not_after_timestamp_seconds{certificate=\"server_pem\"}";
    assert_eq!(
        Some(proxy.metric(ends)),
        proxy.status()["server_pem"]["not_after"].as_f64()
    );
}

#[test]
fn a_server_pem_that_is_renamed_into_place_is_taken() {
    is_taken(|p, pem| replace(&p.server_pem_path(), pem.as_bytes(), 0o400));
}

#[test]
fn a_server_pem_that_is_rewritten_in_place_is_taken() {
    is_taken(|p, pem| overwrite(&p.server_pem_path(), pem.as_bytes(), 0o440));
}

#[test]
fn a_connection_outlives_the_renewal_of_server_pem() {
    let pki = Pki::new();
    let (node, renewed) = (pki.client(NAME), pki.renewed_server(900));
    let proxy = proxy_for(&pki, &node)
        .config("limits.header_timeout = '1h'")
        .start();
    let mut open = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
    replace(&proxy.server_pem_path(), renewed.pem.as_bytes(), 0o400);
    wait_until("the new one is shown", || shows(&proxy, &node, &renewed));
    ask(&mut open);
}

/// Whether a faulty `server.pem` leaves the old identity in force, is told, and is over with a good
/// one.
fn keeps_the_old_identity(why: &str, spoil: impl Fn(&Proxy, &Pki, &Identity)) {
    let pki = Pki::new();
    let (node, renewed) = (pki.client(NAME), pki.renewed_server(900));
    let proxy = proxy_for(&pki, &node).start();
    spoil(&proxy, &pki, &renewed);
    proxy.wait_for("the fault is shown", |p| {
        p.health().1["reasons"].to_string().contains(why)
    });
    assert_eq!(
        (proxy.health().0, proxy.health().1["degraded"].clone()),
        (200, true.into())
    );
    // What is in force is told a moment later.
    proxy.wait_for("it is counted", |p| {
        p.metric("noded_proxy_reload_failures_total{file=\"server_pem\"}") >= 1.0
    });
    proxy.wait_for("it is in the log", |p| {
        let mut lines = p.lines_with(FAULT).into_iter();
        lines.any(|line| line["fault"].to_string().contains(why))
    });
    assert!(shows(&proxy, &node, pki.server()));
    assert!(admitted(proxy.addr(), &node));
    assert_eq!(proxy.metric("noded_proxy_candidate_map_stale"), 0.0);
    if proxy.server_pem_path().is_dir() {
        fs::remove_dir(proxy.server_pem_path()).unwrap();
    }
    replace(&proxy.server_pem_path(), renewed.pem.as_bytes(), 0o400);
    wait_until("a good one is taken", || shows(&proxy, &node, &renewed));
    proxy.wait_for("health is good", |p| p.health().1["degraded"] == false);
}

#[test]
fn a_server_pem_cut_short_keeps_the_old_identity() {
    keeps_the_old_identity("certificate", |p, _, new| {
        let cut = &new.pem.as_bytes()[..new.pem.len() - 200];
        overwrite(&p.server_pem_path(), cut, 0o400);
    });
}

#[test]
fn a_server_pem_without_a_certificate_keeps_the_old_identity() {
    keeps_the_old_identity("no certificate", |p, _, new| {
        let key = new.pem.strip_suffix(new.cert_pem.as_str()).unwrap();
        overwrite(&p.server_pem_path(), key.as_bytes(), 0o400);
    });
}

#[test]
fn a_server_pem_without_a_key_keeps_the_old_identity() {
    keeps_the_old_identity("private key", |p, _, new| {
        overwrite(&p.server_pem_path(), new.cert_pem.as_bytes(), 0o400);
    });
}

#[test]
fn an_empty_server_pem_keeps_the_old_identity() {
    keeps_the_old_identity("no certificate", |p, _, _| {
        overwrite(&p.server_pem_path(), b"", 0o400)
    });
}

#[test]
fn a_server_pem_whose_key_does_not_fit_keeps_the_old_identity() {
    keeps_the_old_identity("fits none", |p, pki, new| {
        let key = new.pem.strip_suffix(new.cert_pem.as_str()).unwrap();
        let mixed = format!("{key}{}", pki.server().cert_pem);
        replace(&p.server_pem_path(), mixed.as_bytes(), 0o400);
    });
}

#[test]
fn a_directory_for_server_pem_keeps_the_old_identity() {
    keeps_the_old_identity("not a regular file", |p, _, _| {
        let directory = p.dir().join("directory");
        fs::create_dir(&directory).unwrap();
        // In one step: a server.pem that is absent for a moment is another story.
        renameat_with(
            CWD,
            &directory,
            CWD,
            p.server_pem_path(),
            RenameFlags::EXCHANGE,
        )
        .unwrap();
    });
}

#[test]
fn a_server_pem_that_cannot_be_read_keeps_the_old_identity() {
    let pki = Pki::new();
    let (node, renewed) = (pki.client(NAME), pki.renewed_server(900));
    let proxy = proxy_for(&pki, &node).unprivileged().start();
    replace(&proxy.server_pem_path(), renewed.pem.as_bytes(), 0o000);
    let why = "Permission denied";
    proxy.wait_for("the fault is shown", |p| {
        p.health().1["reasons"].to_string().contains(why)
    });
    assert!(shows(&proxy, &node, pki.server()));
    // It is tried again: a change of the mode alone is enough.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    fs::set_permissions(proxy.server_pem_path(), readable).unwrap();
    wait_until("it is taken", || shows(&proxy, &node, &renewed));
}

#[test]
fn before_the_node_joins_a_cluster_the_proxy_waits() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki)
        .no_server_pem()
        .candidates(&[("uuid-1", &node)])
        .start();
    let (status, health) = proxy.health();
    assert_eq!(
        (status, &health["live"], &health["ready"]),
        (503, &true.into(), &false.into())
    );
    assert!(health["reasons"].to_string().contains("in no cluster"));
    assert_eq!(proxy.get("/healthz/live").status, 200);
    assert_eq!(proxy.status()["listening"], serde_json::json!([]));
    assert!(!proxy.logged("listening"));

    replace(&proxy.server_pem_path(), pki.server_pem().as_bytes(), 0o400);
    proxy.wait_for("it listens", |p| p.logged("listening"));
    proxy.wait_for("it is ready", |p| p.health().0 == 200);
    assert!(admitted(proxy.addr(), &node));
    assert_eq!(proxy.status()["listening"][0], proxy.addr().to_string());
}

/// Whether a broken `server.pem` without an older one is told as what it is, and counted once.
fn is_told_as_broken(proxy: &Proxy) {
    let retries = "noded_proxy_readings_total{cause=\"retry\"}";
    proxy.wait_for("it is read again and again", |p| p.metric(retries) >= 4.0);
    let reasons = proxy.health().1["reasons"].to_string();
    let path = proxy.server_pem_path().display().to_string();
    assert!(reasons.contains(&path), "{reasons}");
    assert!(!reasons.contains("in no cluster"), "{reasons}");
    let counted = "noded_proxy_reload_failures_total{file=\"server_pem\"}";
    assert_eq!(proxy.metric(counted), 1.0, "one fault counts once");
    assert_eq!(proxy.metric("noded_proxy_faulty{file=\"server_pem\"}"), 1.0);
    let stale = proxy.metric("noded_proxy_candidate_map_stale");
    assert_eq!(stale, 1.0, "the map that is there is not in force");
}

#[test]
fn a_server_pem_that_is_broken_at_the_start_is_told_as_that() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki)
        .server_pem(&pki.server_pem()[..1000])
        .candidates(&[("uuid-1", &node)])
        .start();
    is_told_as_broken(&proxy);
    replace(&proxy.server_pem_path(), pki.server_pem().as_bytes(), 0o400);
    proxy.wait_for("it is ready", |p| p.health().0 == 200);
    assert!(admitted(proxy.addr(), &node));
    for metric in [
        "noded_proxy_faulty{file=\"server_pem\"}",
        "noded_proxy_candidate_map_stale",
    ] {
        proxy.wait_for(metric, |p| p.metric(metric) == 0.0);
    }
}

#[test]
fn a_faulty_first_server_pem_is_waited_for_too() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = Proxy::with(&pki)
        .no_server_pem()
        .candidates(&[("uuid-1", &node)])
        .start();
    overwrite(
        &proxy.server_pem_path(),
        &pki.server_pem().as_bytes()[..1000],
        0o400,
    );
    proxy.wait_for("it is refused", |p| p.logged(FAULT));
    assert_eq!(proxy.health().0, 503);
    is_told_as_broken(&proxy);
    overwrite(&proxy.server_pem_path(), pki.server_pem().as_bytes(), 0o400);
    proxy.wait_for("it is ready", |p| p.health().0 == 200);
    assert!(admitted(proxy.addr(), &node));
}

#[test]
fn a_node_that_leaves_its_cluster_closes_the_port_and_forgets_whom_it_admitted() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node)
        .config("limits.header_timeout = '1h'")
        .start();
    let port = proxy.addr();
    let mut idle = connect(port, Some(&node), Tls::Any).unwrap();
    ask(&mut idle);
    proxy.wait_for("the state is kept", |p| p.state_path().exists());
    fs::remove_file(proxy.server_pem_path()).unwrap();
    proxy.wait_for("it is not ready", |p| p.health().0 == 503);
    wait_until("the port is closed", || tcp(port).is_err());
    assert_eq!(
        std::io::Read::read(&mut idle, &mut [0; 1]).unwrap(),
        0,
        "open connections end"
    );
    proxy.wait_for("the state is dropped", |p| !p.state_path().exists());

    // It joins another cluster, and has no map yet: that is the bootstrap phase, and nothing
    // learned before counts.
    let other = Pki::new();
    fs::remove_file(proxy.map_path()).unwrap();
    replace(
        &proxy.server_pem_path(),
        other.server_pem().as_bytes(),
        0o400,
    );
    proxy.wait_for("it is ready", |p| p.health().0 == 200);
    assert!(admitted(proxy.addr(), other.server()));
    let failure = refusal(proxy.addr(), Some(&node), Tls::V13).unwrap();
    assert_eq!(failure.alert, Some(alert::UNKNOWN_CA));
}

#[test]
fn an_ssconf_directory_removed_and_made_again_is_read_again() {
    let pki = Pki::new();
    let (old, new) = (pki.client(NAME), pki.client("node2.example.com"));
    let proxy = proxy_for(&pki, &old).start();
    let ganeti = proxy.dir().join("ganeti");
    fs::rename(&ganeti, proxy.dir().join("away")).unwrap();
    fs::create_dir(&ganeti).unwrap();
    fs::write(proxy.server_pem_path(), pki.server_pem()).unwrap();
    fs::write(proxy.map_path(), map_text(&[("uuid-2", &new)])).unwrap();
    let known = || {
        proxy.status()["admission"]["candidates"]
            .to_string()
            .contains(&new.digest)
    };
    wait_until("the map of the new directory is in force", known);
}
