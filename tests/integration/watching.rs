//! What the watches see: files written slowly, links, directories that are moved. The poll behind
//! inotify would find most of it too, five seconds later, so the tests ask what found a change.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::handshake::proxy_for;
use crate::support::client::admitted;
use crate::support::pki::{Identity, Pki, map_text};
use crate::support::proxy::{Proxy, replace};
use crate::support::wait_until;

const MAP: &str = "ssconf_master_candidates_certs";

fn readings(proxy: &Proxy, cause: &str) -> f64 {
    proxy.metric(&format!("noded_proxy_readings_total{{cause=\"{cause}\"}}"))
}

/// Puts one in the place of the other, in one step.
fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

/// Puts a link in the place of a file or of another link, in one step.
fn swing(link: &Path, target: &str) {
    let new = link.with_extension("new-link");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

/// A proxy whose files are laid out by `lay_out` in its directory. Then `change` puts one map into
/// force after the other, and inotify alone must find it.
fn inotify_finds(lay_out: impl Fn(&Path), change: impl Fn(&Path, &str)) {
    let pki = Pki::new();
    let (old, new) = (pki.client("node1"), pki.client("node2"));
    let proxy = proxy_for(&pki, &old).start();
    lay_out(proxy.dir());
    proxy.sighup();
    wait_until("it is ready", || admitted(proxy.addr(), &old));
    let polled = readings(&proxy, "poll");
    for (listed, gone) in [(&new, &old), (&old, &new), (&new, &old)] {
        change(proxy.dir(), &map_text(&[("uuid", listed)]));
        wait_until("the map is in force", || admitted(proxy.addr(), listed));
        assert!(!admitted(proxy.addr(), gone));
    }
    assert_eq!(readings(&proxy, "poll"), polled, "found by the poll alone");
    let health = proxy.health().1;
    assert!(!health.to_string().contains("is not watched"), "{health}");
}

/// The map is a link to `place/map`.
fn map_in(dir: &Path, place: &str) {
    fs::create_dir(dir.join(place)).unwrap();
    fs::copy(dir.join("ganeti").join(MAP), dir.join(place).join("map")).unwrap();
    let target = format!("../{place}/map");
    swing(&dir.join("ganeti").join(MAP), &target);
}

/// The ssconf directory is a link to `real`.
fn directory_link(dir: &Path) {
    symlink("real", dir.join("real")).unwrap();
    exchange(&dir.join("ganeti"), &dir.join("real"));
}

/// Another directory like this one, with another map.
fn copy(from: &Path, to: &Path, map: &str) {
    fs::create_dir(to).unwrap();
    fs::copy(from.join("server.pem"), to.join("server.pem")).unwrap();
    fs::write(to.join(MAP), map).unwrap();
}

#[test]
fn what_a_link_leads_to_is_renamed_into_place() {
    inotify_finds(
        |dir| map_in(dir, "a"),
        |dir, map| replace(&dir.join("a/map"), map.as_bytes(), 0o644),
    );
}

#[test]
fn what_a_link_leads_to_is_written_in_place() {
    inotify_finds(
        |dir| map_in(dir, "a"),
        |dir, map| fs::write(dir.join("a/map"), map).unwrap(),
    );
}

#[test]
fn the_link_is_swung() {
    inotify_finds(
        |dir| map_in(dir, "a"),
        |dir, map| {
            let link = dir.join("ganeti").join(MAP);
            let b = fs::read_link(&link).unwrap() == Path::new("../a/map");
            let name = if b { "a/other" } else { "a/map" };
            fs::write(dir.join(name), map).unwrap();
            swing(&link, &format!("../{name}"));
        },
    );
}

#[test]
fn the_directory_behind_a_link_is_renamed() {
    inotify_finds(
        |dir| map_in(dir, "a"),
        |dir, map| {
            fs::create_dir(dir.join("b")).unwrap();
            fs::write(dir.join("b/map"), map).unwrap();
            exchange(&dir.join("a"), &dir.join("b"));
            fs::remove_dir_all(dir.join("b")).unwrap();
        },
    );
}

#[test]
fn the_directory_is_a_link() {
    inotify_finds(directory_link, |dir, map| {
        replace(&dir.join("real").join(MAP), map.as_bytes(), 0o644);
    });
}

#[test]
fn the_link_to_the_directory_is_swung() {
    inotify_finds(directory_link, |dir, map| {
        let (link, old) = (
            dir.join("ganeti"),
            fs::read_link(dir.join("ganeti")).unwrap(),
        );
        let new = format!("{}x", old.display());
        copy(&link, &dir.join(&new), map);
        swing(&link, &new);
    });
}

#[test]
fn the_directory_is_replaced() {
    inotify_finds(
        |_| {},
        |dir, map| {
            copy(&dir.join("ganeti"), &dir.join("next"), map);
            exchange(&dir.join("ganeti"), &dir.join("next"));
            fs::remove_dir_all(dir.join("next")).unwrap();
        },
    );
}

#[test]
fn the_directory_above_is_replaced() {
    inotify_finds(
        |dir| {
            // ganeti -> up/down, and `up` is what will be replaced
            fs::create_dir(dir.join("up")).unwrap();
            symlink("up/down", dir.join("up/down")).unwrap();
            exchange(&dir.join("ganeti"), &dir.join("up/down"));
        },
        |dir, map| {
            fs::create_dir(dir.join("next")).unwrap();
            copy(&dir.join("ganeti"), &dir.join("next/down"), map);
            exchange(&dir.join("up"), &dir.join("next"));
            fs::remove_dir_all(dir.join("next")).unwrap();
        },
    );
}

/// A map with `last` in its last line is written in place, in two pieces that end with a line. In
/// between, the file looks like a whole map without `last`.
#[test]
fn a_candidate_whose_line_comes_last_is_never_refused_while_the_map_is_written() {
    let pki = Pki::new();
    let (first, last) = (pki.client("node1"), pki.client("node2"));
    let new = pki.client("node3");
    let old = [("uuid-1", &first), ("uuid-2", &last)];
    let proxy = Proxy::with(&pki).candidates(&old).start();
    assert!(admitted(proxy.addr(), &last) && admitted(proxy.addr(), &first));
    // Otherwise this is a reason to read just when the writer begins.
    proxy.wait_for("both are learned", |p| {
        p.metric("noded_proxy_unknown_certificates") == 0.0
    });
    let pieces = [
        map_text(&[("uuid-1", &first), ("uuid-3", &new)]),
        map_text(&[("uuid-2", &last)]),
    ];
    let map = proxy.map_path();
    let writer = thread::spawn(move || {
        let mut file = File::create(map).unwrap(); // which also makes it empty
        for piece in pieces {
            thread::sleep(Duration::from_millis(400)); // a slow writer
            file.write_all(piece.as_bytes()).unwrap();
        }
        thread::sleep(Duration::from_millis(400));
    });
    while !writer.is_finished() {
        assert!(admitted(proxy.addr(), &last), "while the map is written");
        assert!(admitted(proxy.addr(), &first), "while the map is written");
    }
    writer.join().unwrap();
    wait_until("the map is in force", || admitted(proxy.addr(), &new));
    assert!(admitted(proxy.addr(), &last));
    let stale = "noded_proxy_reload_failures_total{file=\"candidate_map\"}";
    assert_eq!(proxy.metric(stale), 0.0, "nothing half-written was read");
    assert_eq!(readings(&proxy, "poll"), 0.0);
}

#[test]
fn a_map_whose_writer_never_closes_it_is_read_after_a_while() {
    let pki = Pki::new();
    let (old, new) = (pki.client("node1"), pki.client("node2"));
    let proxy = proxy_for(&pki, &old).start();
    let mut file = File::create(proxy.map_path()).unwrap();
    let map = map_text(&[("uuid-2", &new)]);
    file.write_all(map.as_bytes()).unwrap();
    wait_until("the map is in force", || admitted(proxy.addr(), &new));
    assert!(!admitted(proxy.addr(), &old));
    assert_eq!(readings(&proxy, "poll"), 0.0);
}

#[test]
fn a_slow_writer_of_one_file_holds_up_no_other() {
    let pki = Pki::new();
    let (old, new) = (pki.client("node1"), pki.client("node2"));
    let proxy = proxy_for(&pki, &old).start();
    let slow = proxy.dir().join("ganeti/ssconf_cluster_tags");
    let mut file = File::create(slow).unwrap();
    file.write_all(b"tag\n").unwrap();
    proxy.write_map(&[("uuid-2", &new)]);
    wait_until("the map is in force", || admitted(proxy.addr(), &new));
    drop(file);
}

/// A proxy that gets no more than this number of inotify watches, or none if this cannot be had.
fn with_watches(pki: &Pki, node: &Identity, most: usize) -> Option<Proxy> {
    let limit = format!("echo {most} >/proc/sys/user/max_inotify_watches");
    let script = format!("{limit} && exec \"$@\"");
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", &limit])
        .output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        eprintln!("SKIPPED: no user namespace with a limit on inotify watches is to be had here");
        return None;
    }
    let wrapper = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    Some(proxy_for(pki, node).through(&wrapper).start())
}

#[test]
fn exhausted_watches_are_told_and_the_poll_goes_on() {
    let pki = Pki::new();
    let (old, new) = (pki.client("node1"), pki.client("node2"));
    for most in [0, 2] {
        let Some(proxy) = with_watches(&pki, &old, most) else {
            return;
        };
        let health = proxy.health().1;
        assert_eq!(health["degraded"], true);
        let reasons = health["reasons"].to_string();
        assert!(reasons.contains("max_user_watches"), "{reasons}");
        assert_eq!(proxy.metric("noded_proxy_faulty{file=\"watches\"}"), 1.0);
        let told = proxy.log();
        assert!(told.contains("max_user_watches"), "{told}");
        proxy.write_map(&[("uuid-2", &new)]);
        wait_until("the map is in force", || admitted(proxy.addr(), &new));
    }
}
