//! A peer with the right certificate that lies, falls silent or wants more than its turn: the import
//! fails, or goes on waiting for the right one, and its command never sees an end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use openssl::sha::sha256;
use openssl::ssl::SslStream;

use super::kit::{Bench, End, MAGIC, Ours, noise};
use crate::support::client::{Tls, connect, connect_with};
use crate::support::pki::Pki;
use crate::support::wait_until;

type Peer = SslStream<TcpStream>;

/// What two ends of this program agree on.
pub(super) const PROTOCOL: &[u8] = b"\x12noded-proxy-move/1";

fn data(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [b"D", &length.to_be_bytes()[..], bytes].concat()
}

fn end(length: u64, frames: &[u8]) -> Vec<u8> {
    [b"E", &length.to_be_bytes()[..], &sha256(frames)].concat()
}

fn message(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [b"M", &length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Reads one message.
fn answer(peer: &mut Peer) -> String {
    let mut head = [0; 5];
    peer.read_exact(&mut head).unwrap();
    assert_eq!(head[0], b'M');
    let mut text = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize];
    peer.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// A peer of this program that has said hello, and was told to go on.
fn greeted(bench: &Bench, import: &End) -> Peer {
    let address = ([127, 0, 0, 1], import.port()).into();
    let ours = |context: &mut openssl::ssl::SslContextBuilder| {
        context.set_alpn_protos(PROTOCOL).unwrap();
    };
    let mut peer = connect_with(address, Some(bench.exporter()), Tls::Any, ours).unwrap();
    let hello = format!(r#"{{"Hello":{{"magic":"{MAGIC}","compress":"none"}}}}"#);
    peer.write_all(&message(&hello)).unwrap();
    assert_eq!(answer(&mut peer), "\"Go\"");
    peer
}

#[test]
fn what_was_not_sent_as_it_came_is_no_success() {
    let bytes = noise(1000);
    let frame = data(&bytes);
    let with = |more: &[u8]| [&frame[..], more].concat();
    let other = end(1000, &data(&noise(999)));
    let escape = r#"{"Failed":"\u001b[2Jgone\u0000\n\r over and over"}"#;
    let long = format!(r#"{{"Failed":"{}"}}"#, "\u{e9}".repeat(2000));
    for (said, told) in [
        (with(&end(1000, &frame)), None),
        (
            with(&end(999, &frame)),
            Some("the trailer does not fit: 1000 bytes came, 999 "),
        ),
        (
            with(&other),
            Some("the trailer does not fit: 1000 bytes came, 1000 "),
        ),
        (with(b""), Some("the peer ended before the trailer")),
        (
            with(&message("\"Taken\"")),
            Some("the peer sent something out of turn"),
        ),
        (
            with(b"X"),
            Some("the peer sent a frame of unknown kind 0x58"),
        ),
        (with(b"D\0\0\0\0"), Some("the peer sent a frame of 0 bytes")),
        (
            with(&message("{}")),
            Some("the peer sent a message that cannot be read"),
        ),
        (with(&message(escape)), Some("the other end says: ")),
        (
            with(&message(&long)),
            Some("the other end says: \u{e9}\u{e9}"),
        ),
    ] {
        let bench = Bench::of_a_cluster();
        let mut import = bench.importing(Ours, &[]);
        let mut peer = greeted(&bench, &import);
        peer.write_all(&said).unwrap();
        match told {
            None => assert_eq!(answer(&mut peer), "\"Taken\""),
            Some(_) => drop(peer.shutdown()),
        }
        assert_eq!(import.succeeds(), told.is_none(), "{}", import.output());
        let output = import.output();
        assert!(
            output.contains(told.unwrap_or_default()),
            "{told:?}: {output}"
        );
        let is_calm = |c: char| !c.is_control() || c == '\n';
        assert!(output.chars().all(is_calm), "{output:?}");
        assert!(output.lines().all(|line| line.chars().count() <= 1000));
        assert_eq!(bench.saw_end(), told.is_none());
        drop(peer);
    }
}

#[test]
fn a_stream_that_ends_before_the_word_is_told_with_and_without_a_tool() {
    for tool in ["none", "gzip"] {
        let bench = Bench::of_a_move();
        let compress = format!("--compress={tool}");
        let mut import = bench.importing(Ours, &["--connect-timeout=3600", &compress]);
        let address = ([127, 0, 0, 1], import.port()).into();
        let mut peer = connect(address, Some(bench.exporter()), Tls::V12).unwrap();
        // gzip of nothing.
        let nothing = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
        if tool == "gzip" {
            peer.write_all(nothing).unwrap();
        }
        peer.shutdown().unwrap();
        assert!(!import.succeeds());
        let why = "the stream ended before the magic value";
        assert!(import.output().contains(why), "{}", import.output());
        assert!(!bench.saw_end());
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused_with_the_reason() {
    let pki = Pki::new();
    for (exporter, why) in [
        (
            pki.expired("src.example.com"),
            "the peer's certificate has expired",
        ),
        (
            pki.not_yet_valid("src.example.com"),
            "the peer's certificate is not valid yet",
        ),
        (
            pki.self_signed("src.example.com"),
            "its certificate is not the one that Ganeti gave",
        ),
    ] {
        let bench = Bench::with(pki.self_signed("dst.example.com"), exporter);
        let stranger = pki.self_signed("src.example.com");
        let shown = match why.contains("Ganeti gave") {
            true => &stranger,
            false => bench.exporter(),
        };
        for tls in Tls::BOTH {
            let import = bench.importing(Ours, &[]);
            let address = ([127, 0, 0, 1], import.port()).into();
            if let Ok(mut peer) = connect(address, Some(shown), tls) {
                assert!(!matches!(peer.read(&mut [0; 9]), Ok(1..)));
            }
            wait_until("it is refused", || {
                import.output().contains("refused 127.0.0.1")
            });
            let output = import.output();
            assert!(output.contains(why), "{tls:?} {why}: {output}");
        }
        // An importer that an exporter of ours refuses says why, too.
        let mut export = {
            let bench = Bench::with(bench.exporter().clone(), bench.importer().clone());
            bench.disk(10);
            if why.contains("Ganeti gave") {
                std::fs::write(bench.path("importer.crt"), &stranger.cert_pem).unwrap();
            }
            let import = bench.importing(Ours, &[]);
            let mut export =
                bench.export(Ours, import.port(), &bench.cat(), &["--connect-retries=0"]);
            assert!(!export.succeeds());
            assert!(export.output().contains(why), "{why}: {}", export.output());
            export
        };
        export.reap();
    }
}

#[test]
fn a_peer_that_is_slow_or_stops_in_the_middle_takes_no_time_from_the_right_one() {
    let bench = Bench::of_a_cluster();
    let disk = std::fs::read(bench.disk(100_000)).unwrap();
    let mut import = bench.importing(Ours, &[]);
    let address = ([127, 0, 0, 1], import.port()).into();
    // Half a word, half a hello, nothing at all; the last ones with half a handshake.
    let mut half = connect(address, Some(bench.exporter()), Tls::V12).unwrap();
    half.write_all(b"M=0123").unwrap();
    let ours = |context: &mut openssl::ssl::SslContextBuilder| {
        context.set_alpn_protos(PROTOCOL).unwrap();
    };
    let mut hello = connect_with(address, Some(bench.exporter()), Tls::Any, ours).unwrap();
    hello.write_all(b"M\0\0\0\x40{\"Hello").unwrap();
    let silent = connect(address, Some(bench.exporter()), Tls::V13).unwrap();
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"\x16\x03\x01").unwrap();
    let mut export = bench.export(Ours, import.port(), &bench.cat(), &[]);
    assert!(export.succeeds(), "{}", export.output());
    assert!(import.succeeds(), "{}", import.output());
    assert!(bench.got() == disk);
    // All others were turned away, and none of them has had a byte of the import's.
    for mut stream in [half, hello, silent] {
        let bound = Some(Duration::from_secs(20));
        stream.get_ref().set_read_timeout(bound).unwrap();
        assert!(!matches!(stream.read(&mut [0; 9]), Ok(1..)));
    }
    assert!(!matches!(plain.read(&mut [0; 9]), Ok(8..)));
}

#[test]
fn a_slow_peer_is_waited_for() {
    // Lawful: a disk on a slow line. Single bytes, also of the word and of a frame's head.
    for framed in [false, true] {
        let bench = Bench::of_a_cluster();
        let mut import = bench.importing(Ours, &["--connect-timeout=1"]);
        let bytes = noise(10);
        let (mut peer, said) = if framed {
            let frame = data(&bytes);
            let all = [&frame[..], &end(10, &frame)].concat();
            (greeted(&bench, &import), all)
        } else {
            let address = ([127, 0, 0, 1], import.port()).into();
            let peer = connect(address, Some(bench.exporter()), Tls::V12).unwrap();
            (peer, [format!("M={MAGIC}").as_bytes(), &bytes].concat())
        };
        for byte in said {
            peer.write_all(&[byte]).unwrap();
            std::thread::sleep(Duration::from_millis(60)); // in all longer than the time to connect
        }
        if framed {
            assert_eq!(answer(&mut peer), "\"Taken\"");
        }
        peer.shutdown().unwrap();
        assert!(import.succeeds(), "{}", import.output());
        assert!(bench.got() == bytes && bench.saw_end());
    }
}
