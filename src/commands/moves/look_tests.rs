//! The cleaner is root where others may write.

use super::*;
use std::os::unix::fs::symlink;
use std::thread;

const KEY: &str = "x509-2026-11-27_18_00_00-a1b2c3";

fn run() -> (tempfile::TempDir, Leavings) {
    let dir = tempfile::tempdir().unwrap();
    let leavings = Leavings::of(dir.path());
    (dir, leavings)
}

/// Whoever may write to the run directory would have root remove another directory's files.
#[test]
fn a_link_in_the_place_of_a_directory_is_not_followed() {
    let (dir, leavings) = run();
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join(KEY);
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("key"), "").unwrap();
    for name in [KEYS, TRANSFERS, MARKS] {
        symlink(elsewhere.path(), dir.path().join(name)).unwrap();
        let path = dir.path().join(name).display().to_string();
        let told = |why: io::Error| why.to_string().starts_with(&path);
        assert!(leavings.inside(name).is_err_and(told), "{name}");
    }
    assert!(leavings.keys().is_err() && leavings.transfers().is_err());
    assert!(leavings.destroy(KEY).is_err() && leavings.sweep(KEY).is_err());
    assert!(leavings.forget_gone().is_err() && leavings.mark(KEY).is_err());
    assert!(victim.join("key").exists());
}

/// A pipe has no end, and nobody may wait for one.
#[test]
fn a_certificate_that_is_no_file_is_not_read() {
    let (dir, leavings) = run();
    let key = dir.path().join(KEYS).join(KEY);
    fs::create_dir_all(&key).unwrap();
    let cert = key.join("cert");
    let made = std::process::Command::new("mkfifo").arg(&cert).status();
    assert!(made.unwrap().success());
    assert_eq!(leavings.keys().unwrap()[0].ends, None);
    fs::remove_file(&cert).unwrap();
    symlink("/dev/zero", &cert).unwrap();
    assert_eq!(leavings.keys().unwrap()[0].ends, None);
    leavings.destroy(KEY).unwrap();
    assert!(!key.exists() && leavings.keys().unwrap().is_empty());
}

/// The transfers of all disks begin at once.
#[test]
fn many_mark_one_key_at_once() {
    let (_dir, leavings) = run();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| leavings.mark(KEY).unwrap()));
        }
    });
    let marks = leavings.own().unwrap();
    assert_eq!(marks.names().unwrap(), [KEY]);
    let made = marks.look(OsStr::new(KEY)).unwrap().st_mtime;
    assert!((made..made + 60).contains(&now()));
}
