//! Requests that two readers could understand differently: noded gets exactly one, freshly made, or
//! none.

use super::assert_got;
use crate::support::client::Response;
use crate::support::stage::{Stage, assert_refusal};
use crate::support::stub::StubNoded;

/// What an attacker would like noded to see.
const EVIL: &str = "POST /evil HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]";

/// Sends `lines` below a request line and Host, then `body`.
fn attack(stage: &Stage, lines: &str, body: &str) -> Vec<Response> {
    stage.talk(format!(
        "POST /version HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}"
    ))
}

/// noded never hears of it, the client is told that its request is bad, and the connection is
/// closed.
#[track_caller]
fn assert_refused(stage: &Stage, lines: &str, body: &str) {
    let answers = attack(stage, lines, body);
    assert_eq!(answers.len(), 1, "{lines:?} {body:?}: {answers:?}");
    assert!(
        (400..500).contains(&answers[0].status),
        "{lines:?} {body:?}: {answers:?}"
    );
    assert_got(stage, &[]);
}

/// noded gets one request with this body; what stands behind it is no request, and the connection
/// is closed.
#[track_caller]
fn assert_one(stage: &Stage, lines: &str, body: &str, expected: &str) {
    stage.stub.forget();
    let answers = attack(stage, lines, body);
    assert_eq!(answers[0].status, 200, "{lines:?} {body:?}: {answers:?}");
    assert!(
        answers[1..].iter().all(|a| a.status == 400),
        "{lines:?} {body:?}: {answers:?}"
    );
    assert_got(stage, &[("version", expected)]);
}

/// Both headers: RFC 9112 section 6.1 lets a server refuse that.
#[test]
fn content_length_beside_transfer_encoding_is_refused() {
    let stage = Stage::new(StubNoded::usual());
    let (cl, te) = ("Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n");
    for lines in [
        format!("{cl}{te}"),
        format!("{te}{cl}"),
        format!("{cl}{te}{cl}"),
    ] {
        assert_refused(&stage, &lines, &format!("0\r\n\r\n{EVIL}"));
    }
    assert_eq!(stage.refused("framing"), 3.0);
}

#[test]
fn a_request_inside_a_chunk_stays_a_body() {
    let stage = Stage::new(StubNoded::usual());
    let chunk = format!("{:x}\r\n{EVIL}\r\n0\r\n\r\n", EVIL.len());
    assert_one(&stage, "Transfer-Encoding: chunked\r\n", &chunk, EVIL);
}

#[test]
fn odd_content_lengths_are_refused() {
    let stage = Stage::new(StubNoded::usual());
    for value in [
        "+2",
        "-2",
        "0x2",
        "2 2",
        "2, 2",
        "2,3",
        "1_0",
        "2;",
        "\"2\"",
        "2.0",
        "",
        "two",
        "99999999999999999999",
        "18446744073709551615",
    ] {
        assert_refused(&stage, &format!("Content-Length: {value}\r\n"), "[]");
    }
    assert_refused(&stage, "Content-Length: 2\r\nContent-Length: 40\r\n", "[]");
    assert_refused(&stage, "Content-Length: 2\r\nContent-Length: \r\n", "[]");
}

/// RFC 9110 section 8.6 lets a server take it for one. No client of Ganeti's does it.
#[test]
fn content_length_said_twice_is_refused() {
    let stage = Stage::new(StubNoded::usual());
    let twice = "Content-Length: 2\r\nContent-Length: 2\r\nConnection: close\r\n";
    assert_refused(&stage, twice, &format!("[]{EVIL}"));
}

#[test]
fn odd_transfer_encodings_are_refused() {
    let stage = Stage::new(StubNoded::usual());
    for value in [
        "identity",
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "chunked;q=1",
        "chunked chunked",
        "\"chunked\"",
        "cow",
        "",
        "\x0bchunked",
        "chunked\x0b",
        "chunked\0",
    ] {
        assert_refused(
            &stage,
            &format!("Transfer-Encoding: {value}\r\n"),
            "0\r\n\r\n",
        );
        assert_refused(
            &stage,
            &format!("Content-Length: 5\r\nTransfer-Encoding: {value}\r\n"),
            "0\r\n\r\n",
        );
    }
    assert_refused(
        &stage,
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "0\r\n\r\n",
    );
}

#[test]
fn chunked_in_odd_case_is_chunked() {
    let stage = Stage::new(StubNoded::usual());
    let body = format!("2\r\n[]\r\n0\r\n\r\n{EVIL}");
    for value in ["CHUNKED", "Chunked", " \t chunked \t"] {
        assert_one(
            &stage,
            &format!("Transfer-Encoding:{value}\r\nConnection: close\r\n"),
            &body,
            "[]",
        );
    }
}

#[test]
fn bent_header_lines_are_refused() {
    let stage = Stage::new(StubNoded::usual());
    for lines in [
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Content-Length : 2\r\n",
        " Content-Length: 2\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        "X: a\r\n\tContent-Length: 2\r\n",
        "Content-Length:\r\n 2\r\n",
        "X: a\rContent-Length: 2\r\n",
        "X: a\0b\r\n",
        "X\0: a\r\n",
        ": a\r\n",
        "Content-Length\r\n",
        "(Content-Length): 2\r\n",
    ] {
        assert_refused(&stage, lines, "");
    }
}

#[test]
fn bent_chunks_are_refused() {
    let stage = Stage::new(StubNoded::usual());
    for body in [
        "-1\r\n[]\r\n0\r\n\r\n",
        "0x2\r\n[]\r\n0\r\n\r\n",
        "g\r\n[]\r\n0\r\n\r\n",
        "\r\n[]\r\n0\r\n\r\n",
        "2\r\n[]XX0\r\n\r\n",
        "2\r\n[]\n0\r\n\r\n",
        "2\n[]\r\n0\r\n\r\n",
        "2;a\nb\r\n[]\r\n0\r\n\r\n",
        "10000000000000002\r\n[]\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n[]\r\n0\r\n\r\n",
    ] {
        assert_refused(
            &stage,
            "Transfer-Encoding: chunked\r\nConnection: close\r\n",
            body,
        );
    }
}

#[test]
fn chunk_extensions_and_trailers_go_no_further() {
    let stage = Stage::new(StubNoded::usual());
    let body = "2;a=b;c=\"d\"\r\n[]\r\n0;e\r\nContent-Length: 44\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_one(
        &stage,
        "Transfer-Encoding: chunked\r\nConnection: close\r\n",
        body,
        "[]",
    );
}

#[test]
fn bytes_without_a_length_are_no_body() {
    let stage = Stage::new(StubNoded::usual());
    assert_one(&stage, "", "[]\r\n\r\n", "");
}

/// RFC 9112 section 2.2 lets a server take it for the end of a line. No client of Ganeti's does it.
#[test]
fn a_bare_line_feed_is_refused() {
    let stage = Stage::new(StubNoded::usual());
    let lines = "X: a\nContent-Length: 2\nConnection: close\n";
    assert_refused(&stage, lines, &format!("[]{EVIL}"));
    let answers = stage.talk("POST /version HTTP/1.1\nHost: h\nContent-Length: 2\n\n[]");
    assert_eq!((answers.len(), answers[0].status), (1, 400));
}

#[test]
fn a_fragment_in_the_path_is_refused() {
    let stage = Stage::new(StubNoded::usual());
    let answers = stage.talk("POST /version#x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((answers.len(), answers[0].status), (1, 404));
    assert_got(&stage, &[]);
}

/// What hyper would answer without a word has the form that Ganeti's clients show.
#[test]
fn each_refusal_of_a_head_has_its_words() {
    let stage = Stage::new(StubNoded::usual());
    let many = "a: b\r\n".repeat(70);
    let long = format!("a: {}\r\n", "b".repeat(20_000));
    for (lines, status, why) in [
        ("Content-Length : 2\r\n", 400, "malformed"),
        ("Content-Length: 2, 3\r\n", 400, "ambiguous"),
        (&many, 431, "64 fields"),
        (&long, 431, "16 KiB"),
    ] {
        let answers = attack(&stage, lines, "[]");
        assert_eq!(answers.len(), 1);
        assert_refusal(&answers[0], status, why);
    }
}

#[test]
fn bent_request_lines_are_refused() {
    let stage = Stage::new(StubNoded::usual());
    for line in [
        "POST /version",
        "POST /version HTTP/0.9",
        "POST /version HTTP/1.2",
        "POST /version HTTP/2.0",
        "POST /version http/1.1",
        "POST  /version HTTP/1.1",
        "POST /ver sion HTTP/1.1",
        "POST\t/version HTTP/1.1",
        "POST /version\0 HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        let answers = stage.talk(format!(
            "{line}\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
        ));
        assert_eq!(answers.len(), 1, "{line:?}");
        assert!(
            (400..500).contains(&answers[0].status),
            "{line:?}: {answers:?}"
        );
    }
    assert_got(&stage, &[]);
}

#[test]
fn http_1_0_knows_no_transfer_encoding() {
    let stage = Stage::new(StubNoded::usual());
    let answers = stage
        .talk("POST /version HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n");
    assert_eq!((answers.len(), answers[0].status), (1, 400));
    assert_got(&stage, &[]);
}

#[test]
fn an_upgrade_is_not_taken_up() {
    let stage = Stage::new(StubNoded::usual());
    let lines = "Content-Length: 2\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABk\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_one(&stage, lines, &format!("[]{preface}"), "[]");
}
