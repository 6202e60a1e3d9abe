//! Bodies in both directions: every size, every way to break off.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use openssl::ssl::SslStream;

use super::{assert_got, fresh_head};
use crate::support::client::{Tls, connect, read_response, request, send};
use crate::support::proxy::Proxy;
use crate::support::stage::{Stage, ascii, assert_refusal, assert_same};
use crate::support::stub::{Reading, StubNoded, reply_head};

const MIB: usize = 1 << 20;

fn head(length: usize) -> String {
    format!("POST /upload_file HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST /upload_file HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// noded has this body behind a fresh head.
#[track_caller]
fn assert_body(stage: &Stage, body: &[u8]) {
    let seen = stage.stub.seen().pop().unwrap();
    assert_eq!(seen.head(), fresh_head(stage, "upload_file", body.len()));
    assert_same(seen.body(), body);
}

#[test]
fn bodies_of_every_size_reach_noded_whole() {
    let stage = Stage::new(StubNoded::usual());
    for length in [0, 1, 4_096, (64 << 10) + 1, MIB, 16 * MIB, 16 * MIB + 1] {
        let body = ascii(length);
        let mut stream = stage.connect();
        send(&mut stream, head(length));
        send(&mut stream, &body);
        assert_eq!(read_response(&mut stream).status, 200, "{length}");
        assert_body(&stage, &body);
    }
    let bytes = stage
        .proxy
        .metric("noded_proxy_body_bytes_total{direction=\"request\"}");
    assert_eq!(
        bytes,
        (1 + 4_096 + (64 << 10) + 1 + MIB + 32 * MIB + 1) as f64
    );
}

#[test]
fn sixty_four_mebibytes_go_up() {
    let stage = Stage::new(StubNoded::usual());
    let body = ascii(64 * MIB);
    let mut stream = stage.connect();
    send(&mut stream, head(body.len()));
    send(&mut stream, &body);
    assert_eq!(read_response(&mut stream).status, 200);
    assert_body(&stage, &body);
}

#[test]
fn sixty_four_mebibytes_come_down() {
    let reply = ascii(64 * MIB);
    let expected = reply.clone();
    let stage = Stage::new(StubNoded::start(move |call| call.answer(&reply)));
    let answer = stage.rpc("hooks_runner", "[]");
    assert_eq!(
        answer.header("content-length"),
        Some((64 * MIB).to_string().as_str())
    );
    assert_same(&answer.body, &expected);
    let bytes = stage
        .proxy
        .metric("noded_proxy_body_bytes_total{direction=\"reply\"}");
    assert_eq!(bytes, (64 * MIB) as f64);
}

#[test]
fn replies_of_every_size_come_back_whole() {
    let stage = Stage::new(StubNoded::start(|call| {
        let length = std::str::from_utf8(call.seen.body())
            .unwrap()
            .parse()
            .unwrap();
        call.answer(&ascii(length));
    }));
    for length in [
        0,
        1,
        64 << 10,
        (256 << 10) - 1,
        256 << 10,
        (256 << 10) + 1,
        MIB,
        3 * MIB + 5,
    ] {
        let answer = stage.rpc("version", &length.to_string());
        assert_eq!(
            answer.header("content-length"),
            Some(length.to_string().as_str())
        );
        assert_same(&answer.body, &ascii(length));
    }
}

#[test]
fn a_large_chunked_body_gets_a_length() {
    let stage = Stage::new(StubNoded::usual());
    let body = ascii(3 * MIB + 11);
    let mut stream = stage.connect();
    send(&mut stream, CHUNKED);
    body.chunks(100_000)
        .for_each(|piece| send(&mut stream, chunk(piece)));
    send(&mut stream, "0\r\n\r\n");
    let answer = read_response(&mut stream);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_body(&stage, &body);
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let stage = Stage::configured(StubNoded::usual(), "limits.body = '1MiB'");
    let mut stream = stage.connect();
    send(&mut stream, head(MIB + 1));
    assert_refusal(&read_response(&mut stream), 413, "more than 1048576 bytes");
    assert_eq!(stage.refused("body_too_large"), 1.0);
    assert_got(&stage, &[]);
}

#[test]
fn a_client_that_sends_on_all_the_same_still_reads_the_refusal() {
    let stage = Stage::configured(StubNoded::usual(), "limits.body = '1MiB'");
    let mut stream = stage.connect();
    send(&mut stream, head(3 * MIB));
    let _ = stream.write_all(&ascii(3 * MIB));
    assert_refusal(&read_response(&mut stream), 413, "more than 1048576 bytes");
    assert_got(&stage, &[]);
}

/// The log line's outcome of a refusal that comes while its client sends, and then leaves so.
fn outcome_of(tls: Tls, leave: impl FnOnce(SslStream<TcpStream>)) -> String {
    let stage = Stage::configured(StubNoded::usual(), "limits.body = '1MiB'");
    let mut stream = connect(stage.proxy.addr(), Some(&stage.client), tls).unwrap();
    // The handshake's last word is read, so that what is there to peek at is the answer.
    send(&mut stream, request("version", "[]"));
    assert_eq!(read_response(&mut stream).status, 200);
    send(&mut stream, head(2 * MIB) + "begun");
    assert!(stream.get_ref().peek(&mut [0; 1]).unwrap() > 0);
    leave(stream);
    let refused = |proxy: &Proxy| {
        let mut lines = proxy.lines_with("rpc").into_iter();
        lines.find(|line| line["status"] == 413)
    };
    stage
        .proxy
        .wait_for("its line", |proxy| refused(proxy).is_some());
    refused(&stage.proxy).unwrap()["outcome"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_log_tells_whether_a_client_that_still_sent_took_its_refusal() {
    for tls in Tls::BOTH {
        let taken = outcome_of(tls, |mut stream| {
            assert_refusal(&read_response(&mut stream), 413, "more than 1048576 bytes");
        });
        assert_eq!(taken, "complete", "{tls:?}");
        let taken = outcome_of(tls, |mut stream| {
            send(&mut stream, ascii(2 * MIB - 5));
            assert_refusal(&read_response(&mut stream), 413, "more than 1048576 bytes");
        });
        assert_eq!(taken, "complete", "{tls:?}, sent to its end");
        // The proxy waits a second for more; a busy machine may stop this client for longer.
        let left = (0..10).any(|_| outcome_of(tls, drop) == "client_left");
        assert!(left, "{tls:?}");
    }
}

#[test]
fn a_chunked_body_at_the_limit_is_taken_and_one_byte_more_is_refused() {
    let stage = Stage::configured(StubNoded::usual(), "limits.body = '1MiB'");
    let body = ascii(MIB);
    let mut stream = stage.connect();
    send(&mut stream, CHUNKED);
    send(&mut stream, chunk(&body));
    send(&mut stream, "0\r\n\r\n");
    assert_eq!(read_response(&mut stream).status, 200);
    assert_body(&stage, &body);
    let mut stream = stage.connect();
    send(&mut stream, CHUNKED);
    send(&mut stream, chunk(&body));
    send(&mut stream, chunk(b"x"));
    assert_refusal(&read_response(&mut stream), 413, "more than 1048576 bytes");
    assert_eq!(stage.stub.accepted(), 1);
}

#[test]
fn bytes_outside_ascii_are_refused() {
    let stage = Stage::new(StubNoded::usual());
    for bad in ["[\"é\"]".as_bytes(), b"[\"\x80\"]", b"\xff"] {
        let mut stream = stage.connect();
        send(&mut stream, head(bad.len()));
        send(&mut stream, bad);
        assert_refusal(&read_response(&mut stream), 400, "ASCII");
    }
    let mut stream = stage.connect();
    send(&mut stream, CHUNKED);
    send(&mut stream, chunk("é".as_bytes()));
    send(&mut stream, "0\r\n\r\n");
    assert_refusal(&read_response(&mut stream), 400, "ASCII");
    assert_eq!(stage.refused("not_ascii"), 4.0);
    assert_got(&stage, &[]);
}

#[test]
fn noded_never_hears_of_a_large_body_with_bytes_outside_ascii_at_its_end() {
    let stage = Stage::new(StubNoded::usual());
    let mut body = ascii(2 * MIB);
    *body.last_mut().unwrap() = 0xe9;
    let mut stream = stage.connect();
    send(&mut stream, head(body.len()));
    send(&mut stream, &body);
    assert_refusal(&read_response(&mut stream), 400, "ASCII");
    assert_eq!(stage.refused("not_ascii"), 1.0);
    assert_got(&stage, &[]);
}

/// The sender has 10 s of grace, so this takes so long.
#[test]
fn a_body_that_stops_coming_is_refused() {
    let stage = Stage::new(StubNoded::usual());
    let mut stream = stage.connect();
    send(&mut stream, head(100));
    send(&mut stream, "[1, 2");
    assert_refusal(&read_response(&mut stream), 408, "too slowly");
    assert_eq!(stage.refused("slow_body"), 1.0);
    assert_got(&stage, &[]);
}

#[test]
fn noded_never_hears_of_a_large_body_that_stops_coming() {
    let stage = Stage::configured(StubNoded::usual(), "limits.body_rate = '1GiB'");
    let mut stream = stage.connect();
    send(&mut stream, head(3 * MIB));
    send(&mut stream, ascii(2 * MIB));
    assert_refusal(&read_response(&mut stream), 408, "too slowly");
    assert_got(&stage, &[]);
}

#[test]
fn noded_never_hears_of_a_client_that_leaves_in_the_middle_of_its_body() {
    let stage = Stage::new(StubNoded::usual());
    let chunked = CHUNKED.to_owned();
    for (start, sent) in [
        (head(100), 6),
        (chunked.clone() + "64\r\n", 6),
        (head(3 * MIB), 2 * MIB),
        (chunked + "300000\r\n", 2 * MIB),
    ] {
        let mut stream = stage.connect();
        send(&mut stream, start);
        send(&mut stream, ascii(sent));
        stage.proxy.wait_for("the client is there", |p| {
            p.metric("noded_proxy_connections_open") == 1.0
        });
        drop(stream);
        stage.proxy.wait_for("the client is gone", |p| {
            p.metric("noded_proxy_connections_open") == 0.0
        });
    }
    assert_got(&stage, &[]);
}

#[test]
fn a_large_body_goes_to_a_slow_noded_whole() {
    let stage = Stage::new(StubNoded::reading(Reading::Nothing, |call| {
        call.hold();
        if call.read_in_bites(4_096) {
            call.answer_as_noded();
        }
    }));
    let body = ascii(3 * MIB);
    let mut stream = stage.connect();
    send(&mut stream, head(body.len()));
    send(&mut stream, &body);
    stage.stub.wait_holding(1);
    stage.stub.release_all();
    assert_eq!(read_response(&mut stream).status, 200);
    assert_body(&stage, &body);
}

/// noded writes in pieces of 32 KiB, each of which is passed on; when the client stops reading,
/// what comes next gathers behind a write that is half done.
#[test]
fn an_answer_that_comes_in_pieces_reaches_a_client_that_reads_late() {
    const LENGTH: usize = 12 * MIB;
    let stage = Stage::new(StubNoded::start(|call| {
        call.try_write(reply_head(LENGTH as u64).as_bytes())
            .unwrap();
        for piece in ascii(LENGTH).chunks(32 << 10) {
            call.try_write(piece).unwrap();
            thread::sleep(Duration::from_millis(1)); // noded's pace
        }
    }));
    for tls in Tls::BOTH {
        let mut stream = connect(stage.proxy.addr(), Some(&stage.client), tls).unwrap();
        send(&mut stream, request("hooks_runner", "[]"));
        stage.wait_load(1, 0);
        stage.wait_load(0, 0); // noded is done, and not a byte was read
        assert_same(&read_response(&mut stream).body, &ascii(LENGTH));
    }
}
