//! What the proxy makes of requests, and what noded gets of them.

mod bodies;
mod faults;
mod slots;
mod smuggling;
mod threads;
mod whole;

use crate::support::client::{read_response, request, send};
use crate::support::stage::{Stage, assert_refusal};
use crate::support::stub::StubNoded;

/// The head that noded gets, whatever the client sent.
fn fresh_head(stage: &Stage, procedure: &str, length: usize) -> String {
    format!(
        "POST /{procedure} HTTP/1.1\r\nHost: {}\r\nUser-Agent: noded-proxy/{}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
        stage.stub.address(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Exactly this is what noded got, byte for byte.
#[track_caller]
fn assert_got(stage: &Stage, requests: &[(&str, &str)]) {
    let seen = stage.stub.seen();
    let raw: Vec<&str> = seen
        .iter()
        .map(|s| std::str::from_utf8(&s.raw).unwrap())
        .collect();
    let fresh = |(procedure, body): &(&str, &str)| fresh_head(stage, procedure, body.len()) + body;
    assert_eq!(raw, requests.iter().map(fresh).collect::<Vec<_>>());
    assert_eq!(stage.stub.accepted(), requests.len());
}

#[test]
fn an_answer_comes_back_as_noded_gave_it() {
    let stage = Stage::new(StubNoded::start(|call| call.answer(b"[true, 3000200]\n")));
    let answer = stage.rpc("version", "[]");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "[true, 3000200]\n")
    );
    assert_eq!(answer.header("content-length"), Some("16"));
    assert_eq!(
        stage
            .proxy
            .metric("noded_proxy_rpcs_total{code=\"200\",procedure=\"version\"}"),
        1.0
    );
}

#[test]
fn an_error_status_of_noded_is_passed_on() {
    let page =
        "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\nContent-Type: text/html\r\n\r\n<html>";
    let stage = Stage::new(StubNoded::saying(page));
    let answer = stage.rpc("no_such", "[]");
    assert_eq!((answer.status, answer.text().as_str()), (404, "<html>"));
}

#[test]
fn noded_gets_a_fresh_head_and_nothing_of_the_client_s() {
    let stage = Stage::new(StubNoded::usual());
    let answers = stage.talk(
        "POST /node_info HTTP/1.1\r\nHost: evil.example.com\r\nUser-Agent: Ganeti 3.0.2\r\n\
         Content-Type: text/x-evil; charset=utf-16\r\nContent-Length: 4\r\nCookie: a=b\r\n\
         Accept-Encoding: gzip\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n\
         Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nVia: 1.1 x\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: close, upgrade, http2-settings\r\n\r\n[{}]",
    );
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].status, answers[0].text().as_str()),
        (200, "[true, \"node_info\"]")
    );
    assert_got(&stage, &[("node_info", "[{}]")]);
}

#[test]
fn a_request_as_the_haskell_daemons_send_it_is_forwarded() {
    let stage = Stage::new(StubNoded::usual());
    let answers = stage.talk(
        "POST /jobqueue_update HTTP/1.1\r\nHost: 192.0.2.11:1811\r\nAccept: */*\r\nContent-Length: 2\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n[]",
    );
    assert_eq!(answers[0].status, 200);
    assert_got(&stage, &[("jobqueue_update", "[]")]);
}

#[test]
fn head_and_body_reach_noded_in_one_read() {
    let stage = Stage::new(StubNoded::usual());
    for length in [4, 500, 8_192, 16_000] {
        let body = format!("[\"{}\"]", "x".repeat(length - 4));
        assert_eq!(stage.rpc("version", &body).status, 200);
    }
    for seen in stage.stub.seen() {
        assert_eq!(seen.first_read, seen.raw.len());
    }
}

#[test]
fn only_post_is_taken() {
    let stage = Stage::new(StubNoded::usual());
    for method in [
        "GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "post", "QQQ",
    ] {
        let answers = stage.talk(format!(
            "{method} /version HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
        ));
        assert_refusal(&answers[0], 405, "POST");
        assert_eq!(answers[0].header("allow"), Some("POST"));
    }
    let answers =
        stage.talk("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_refusal(&answers[0], 405, "POST");
    assert_eq!(stage.refused("method"), 9.0);
    assert_got(&stage, &[]);
}

#[test]
fn only_procedure_names_are_paths() {
    let stage = Stage::new(StubNoded::usual());
    let long = format!("/{}", "a".repeat(129));
    let paths = [
        "/",
        "*",
        "//version",
        "/version/",
        "/a/b",
        "/Version",
        "/ver-sion",
        "/version?x",
        "/version?",
        "/v%65rsion",
        "/../version",
        "/version;a",
        "http://127.0.0.1/version",
        "https://node1:1811/version",
        &long,
    ];
    for path in paths {
        let answers = stage.talk(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
        ));
        assert_refusal(&answers[0], 404, "/PROCEDURE");
    }
    assert_eq!(stage.refused("path"), paths.len() as f64);
    assert_got(&stage, &[]);
}

#[test]
fn a_procedure_that_ganeti_does_not_know_yet_is_forwarded() {
    let stage = Stage::new(StubNoded::usual());
    assert_eq!(stage.rpc("x2_brand_new_procedure", "[]").status, 200);
    assert_got(&stage, &[("x2_brand_new_procedure", "[]")]);
    assert_eq!(
        stage
            .proxy
            .metric("noded_proxy_rpcs_total{code=\"200\",procedure=\"other\"}"),
        1.0
    );
}

#[test]
fn http_1_1_needs_one_host() {
    let stage = Stage::new(StubNoded::usual());
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n"] {
        let answers = stage.talk(format!(
            "POST /version HTTP/1.1\r\n{hosts}Content-Length: 2\r\nConnection: close\r\n\r\n[]"
        ));
        assert_refusal(&answers[0], 400, "Host");
    }
    assert_eq!(stage.refused("host"), 3.0);
    assert_got(&stage, &[]);
}

#[test]
fn http_1_0_is_served_and_closed() {
    let stage = Stage::new(StubNoded::usual());
    let answers = stage.talk("POST /version HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].status, answers[0].header("content-length")),
        (200, Some("17"))
    );
    assert_got(&stage, &[("version", "[]")]);
}

#[test]
fn chunked_in_becomes_content_length_out() {
    let stage = Stage::new(StubNoded::usual());
    let answers = stage.talk(
        "POST /version HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         1\r\n[\r\n003\r\n1,2\r\n1;name=\"v\"\r\n]\r\n0\r\nX-Trailer: dropped\r\n\r\n",
    );
    assert_eq!(answers[0].status, 200);
    assert_got(&stage, &[("version", "[1,2]")]);
}

#[test]
fn requests_on_one_connection_are_connections_of_their_own_to_noded() {
    let stage = Stage::new(StubNoded::usual());
    let mut stream = stage.connect();
    for procedure in ["version", "node_info", "version"] {
        send(&mut stream, request(procedure, "[1]"));
        assert_eq!(
            read_response(&mut stream).text(),
            format!("[true, \"{procedure}\"]")
        );
    }
    assert_got(
        &stage,
        &[("version", "[1]"), ("node_info", "[1]"), ("version", "[1]")],
    );
    assert_eq!(
        stage
            .proxy
            .metric("noded_proxy_connections_total{result=\"admitted\"}"),
        1.0
    );
}

#[test]
fn pipelined_requests_are_answered_in_order_one_after_the_other() {
    let stage = Stage::new(StubNoded::usual());
    let mut stream = stage.connect();
    send(
        &mut stream,
        request("first", "[1]") + &request("second", "[2]") + &request("third", ""),
    );
    for procedure in ["first", "second", "third"] {
        assert_eq!(
            read_response(&mut stream).text(),
            format!("[true, \"{procedure}\"]")
        );
    }
    assert_got(
        &stage,
        &[("first", "[1]"), ("second", "[2]"), ("third", "")],
    );
    assert_eq!(stage.stub.most_at_once(), 1);
}

#[test]
fn expect_100_continue_is_answered_by_the_proxy_and_not_passed_on() {
    let stage = Stage::new(StubNoded::usual());
    let mut stream = stage.connect();
    let head =
        "POST /version HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    send(&mut stream, head);
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(stage.stub.accepted(), 0); // noded hears nothing before the body is there
    send(&mut stream, "[]");
    assert_eq!(read_response(&mut stream).status, 200);
    assert_got(&stage, &[("version", "[]")]);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let stage = Stage::new(StubNoded::usual());
    let huge = format!("X-Pad: {}\r\n", "x".repeat(20_000));
    let many = "X-Pad: x\r\n".repeat(70);
    for headers in [huge, many] {
        let answers = stage.talk(format!(
            "POST /version HTTP/1.1\r\nHost: h\r\n{headers}\r\n"
        ));
        assert_eq!(answers[0].status, 431);
    }
    assert_got(&stage, &[]);
}
