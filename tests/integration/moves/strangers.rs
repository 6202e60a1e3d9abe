//! Who else connects to an importer: nobody takes the place of the right peer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use openssl::ssl::Ssl;

use super::kit::{Bench, Ganetis, Ours, can_run};
use crate::session::session_keeper;
use crate::support::client::{Tls, connect, connect_with, shake_hands};
use crate::support::pki::Pki;
use crate::support::wait_until;

#[test]
fn a_silent_connection_takes_nobodys_place() {
    for (importer, works) in [(Ours, true), (Ganetis, false)] {
        if !can_run(&[importer]) {
            continue;
        }
        let bench = Bench::of_a_move();
        bench.disk(100_000);
        let mut import = bench.importing(importer, &["--connect-timeout=6"]);
        let silent: Vec<_> = (0..if works { 100 } else { 1 })
            .map(|_| TcpStream::connect(("127.0.0.1", import.port())).unwrap())
            .collect();
        let mut export = bench.export(
            Ours,
            import.port(),
            &bench.cat(),
            &["--connect-retries=1", "--connect-timeout=3"],
        );
        assert_eq!(
            (export.succeeds(), import.succeeds()),
            (works, works),
            "{}",
            import.output()
        );
        drop(silent);
    }
}

#[test]
fn a_stranger_is_refused_and_told_and_the_right_peer_still_comes() {
    let bench = Bench::of_a_move();
    bench.disk(100_000);
    let mut import = bench.importing(Ours, &[]);
    let address = ([127, 0, 0, 1], import.port()).into();
    let look_alike = Pki::new().self_signed("src.example.com");
    let of_importer = bench.importer().clone();
    for identity in [None, Some(&look_alike), Some(&of_importer)] {
        for tls in Tls::BOTH {
            // In TLS 1.3 the refusal comes with the first read.
            if let Ok(mut stream) = connect(address, identity, tls) {
                assert!(!matches!(stream.read(&mut [0; 9]), Ok(1..)));
            }
        }
    }
    wait_until("the refusals are told", || {
        import.output().matches("refused 127.0.0.1").count() == 5
    });
    assert!(import.status()["connected"].is_null());
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
    assert!(export.succeeds(), "{}", export.output());
    assert!(import.succeeds(), "{}", import.output());
}

#[test]
fn no_peer_gets_a_session_to_resume() {
    let bench = Bench::of_a_cluster();
    let import = bench.importing(Ours, &[]);
    let address = ([127, 0, 0, 1], import.port()).into();
    for tls in Tls::BOTH {
        let (client, given) = session_keeper(bench.exporter(), tls);
        let mut peer = shake_hands(address, Ssl::new(&client).unwrap()).unwrap();
        peer.write_all(&[b'x'; 100]).unwrap(); // not the word: it is turned away
        assert!(!matches!(peer.read(&mut [0; 9]), Ok(1..)));
        assert_eq!(given.load(Ordering::SeqCst), 0, "{tls:?}");
    }
}

/// It could not verify the one for names, which is one of P-256.
#[test]
fn a_peer_without_that_curve_is_shown_the_own_certificate() {
    let bench = Bench::of_a_cluster();
    let import = bench.importing(Ours, &[]);
    let address = ([127, 0, 0, 1], import.port()).into();
    for (groups, named) in [("X25519:P-256:P-384", true), ("X25519:P-384", false)] {
        let peer = connect_with(address, Some(bench.exporter()), Tls::V12, |settings| {
            settings.set_groups_list(groups).unwrap();
        });
        let shown = peer.unwrap().ssl().peer_certificate().unwrap();
        assert_eq!(
            shown.public_key().unwrap().ec_key().is_ok(),
            named,
            "{groups}"
        );
    }
}

#[test]
fn a_verified_peer_with_another_word_does_not_end_the_import() {
    let bench = Bench::of_a_cluster();
    let disk = std::fs::read(bench.disk(100_000)).unwrap();
    let mut import = bench.importing(Ours, &[]);
    let address = ([127, 0, 0, 1], import.port()).into();
    let mut wrong = connect(address, Some(bench.exporter()), Tls::Any).unwrap();
    wrong
        .write_all(b"M=another-word-for-another-disk-0000000000 and data")
        .unwrap();
    wait_until("it is told", || {
        import.output().contains("Magic value mismatch")
    });
    let mut other = bench.export(Ours, import.port(), &bench.cat(), &["--magic=another-word"]);
    assert!(!other.succeeds());
    assert!(
        other
            .output()
            .contains("the other end says: Magic value mismatch"),
        "{}",
        other.output()
    );
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
    assert!(export.succeeds(), "{}", export.output());
    assert!(import.succeeds(), "{}", import.output());
    assert!(bench.got() == disk);
}

/// Between clusters one node alone has the key, and Ganeti's exporter does not come again.
#[test]
fn the_only_peer_that_can_come_ends_the_import_when_it_gives_up() {
    for said in [
        &b""[..],
        b"M=another-word-for-another-disk-0000000000 and data",
    ] {
        let bench = Bench::of_a_move();
        let mut import = bench.importing(Ours, &["--connect-timeout=3600"]);
        let address = ([127, 0, 0, 1], import.port()).into();
        let stranger = Pki::new().client("stranger.example.com");
        assert!(connect(address, Some(&stranger), Tls::V12).is_err());
        let mut only = connect(address, Some(bench.exporter()), Tls::Any).unwrap();
        only.write_all(said).unwrap();
        only.shutdown().unwrap();
        assert!(!import.succeeds());
        let why = match said {
            b"" => "the stream ended before the magic value",
            _ => "Magic value mismatch",
        };
        assert!(import.output().contains(why), "{}", import.output());
        assert!(!bench.saw_end());
    }
}

#[test]
fn an_importer_that_nobody_calls_ends_in_time_as_the_original_does() {
    for importer in [Ours, Ganetis] {
        if !can_run(&[importer]) {
            continue;
        }
        let bench = Bench::of_a_move();
        let mut import = bench.importing(importer, &["--connect-timeout=2"]);
        assert!(!import.succeeds());
        let status = import.status();
        assert_eq!(status["exit_status"], -15, "{status}");
        assert_eq!(status["error_message"], "Exited due to signal 15");
        assert!(
            import
                .output()
                .contains("Child process didn't establish connection in time (2s)")
        );
    }
}

/// A field of `/proc/PID/status` of the only child of a process.
fn of_child(pid: i32, field: &str) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let child = children.split_whitespace().next()?;
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next().map(str::to_owned)
}

#[test]
fn who_talks_to_strangers_has_no_rights() {
    let bench = Bench::of_a_move();
    let import = bench.importing(Ours, &[]);
    import.port();
    let of_channel = |field| of_child(import.pid(), field);
    assert_eq!(of_channel("NoNewPrivs:").as_deref(), Some("1"));
    if rustix::process::geteuid().is_root() {
        // Nobody else has its user: not `nobody`, and no other transfer.
        let other = Bench::of_a_move();
        let second = other.importing(Ours, &[]);
        second.port();
        for field in ["Uid:", "Gid:"] {
            let own = of_channel(field);
            assert!(own.is_some() && own.as_deref() != Some("0"));
            assert_ne!(own.as_deref(), Some("65534"));
            assert_ne!(own, of_child(second.pid(), field));
        }
        let none = Some("0000000000000000");
        assert_eq!(of_channel("CapEff:").as_deref(), none);
        assert_eq!(of_channel("Groups:"), None);
    }
}
