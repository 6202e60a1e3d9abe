//! Whatever noded does, the client learns what happened, and a cut reply never looks whole.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::support::client::{Response, read_response, request, send, try_read_response};
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::stage::{Stage, ascii, assert_refusal, assert_same};
use crate::support::stub::{Reading, StubNoded, reply_head};

/// The answer names the upstream and the cause, one error is counted, and the slot is free again.
#[track_caller]
fn assert_fault(stage: &Stage, answer: &Response, status: u16, kind: &str, cause: &str) {
    assert_refusal(answer, status, cause);
    let upstream = stage.stub.address().to_string();
    assert!(
        answer.text().contains(&upstream),
        "{upstream} is not in {}",
        answer.text()
    );
    assert_eq!(stage.upstream_errors(kind), 1.0, "{kind}");
    stage.wait_load(0, 0);
    let code = format!("noded_proxy_rpcs_total{{code=\"{status}\",procedure=\"version\"}}");
    assert_eq!(stage.proxy.metric(&code), 1.0);
}

/// A fault of noded after it had the whole request: that request is never sent again.
#[track_caller]
fn assert_fault_of(stub: StubNoded, kind: &str, cause: &str) {
    let stage = Stage::new(stub);
    let answer = stage.rpc("version", "[]");
    assert_fault(&stage, &answer, 502, kind, cause);
    assert_eq!(stage.stub.seen().len(), 1, "sent once");
}

#[test]
fn noded_is_down() {
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    // Bound and not listening: refused, and nobody else can have the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .upstream(address)
        .start();
    let answer = crate::support::client::rpc(proxy.addr(), &client, "version", "[]").unwrap();
    assert_refusal(&answer, 502, "refused");
    assert!(answer.text().contains(&address.to_string()));
    assert_eq!(
        proxy.metric("noded_proxy_upstream_errors_total{kind=\"connect\"}"),
        1.0
    );
    // Its restart needs none of ours.
    socket.listen(1).unwrap();
    let listener: TcpListener = socket.into();
    let noded = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        std::io::Write::write_all(&mut stream, (reply_head(2) + "[]").as_bytes()).unwrap();
    });
    let answer = crate::support::client::rpc(proxy.addr(), &client, "version", "[]").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "[]"));
    noded.join().unwrap();
}

#[test]
fn noded_does_not_accept() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Fill the backlog: the kernel then leaves further SYNs without an answer.
    let mut pending = Vec::new();
    while let Ok(one) = TcpStream::connect_timeout(&address, std::time::Duration::from_millis(300))
    {
        pending.push(one);
        assert!(pending.len() < 16, "the backlog never fills");
    }
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .upstream(address);
    let proxy = proxy.config("upstream.connect_timeout = '300ms'").start();
    let answer = crate::support::client::rpc(proxy.addr(), &client, "version", "[]").unwrap();
    assert_refusal(&answer, 504, "did not accept the connection within 0.3 s");
    assert!(answer.text().contains(&address.to_string()));
    assert_eq!(
        proxy.metric("noded_proxy_upstream_errors_total{kind=\"connect_timeout\"}"),
        1.0
    );
    assert_eq!(proxy.metric("noded_proxy_slots_in_use"), 0.0);
}

#[test]
fn noded_closes_without_reading() {
    let stage = Stage::new(StubNoded::reading(Reading::Nothing, |_| {}));
    let answer = stage.rpc("version", "[]");
    assert_eq!(answer.status, 502);
    assert_refusal(&answer, 502, &stage.stub.address().to_string());
    let errors = stage.upstream_errors("empty_reply") + stage.upstream_errors("send");
    assert_eq!((errors, stage.stub.seen().len()), (1.0, 0));
}

#[test]
fn noded_closes_without_an_answer() {
    assert_fault_of(StubNoded::start(|_| {}), "empty_reply", "without an answer");
}

#[test]
fn noded_resets_the_connection() {
    assert_fault_of(
        StubNoded::start(|call| call.reset()),
        "empty_reply",
        "reset",
    );
}

#[test]
fn noded_closes_in_the_middle_of_the_head() {
    let stub = StubNoded::saying("HTTP/1.1 200 OK\r\nContent-Le");
    assert_fault_of(stub, "cut_reply", "in the middle of its answer");
}

#[test]
fn noded_closes_in_the_middle_of_a_short_answer() {
    let stub = StubNoded::saying(reply_head(17) + "[true, ");
    assert_fault_of(stub, "cut_reply", "in the middle of its answer");
}

#[test]
fn noded_resets_in_the_middle_of_a_short_answer() {
    let stub = StubNoded::start(|call| {
        call.write((reply_head(17) + "[true, ").as_bytes());
        call.reset();
    });
    let stage = Stage::new(stub);
    let answer = stage.rpc("version", "[]");
    // A reset may overtake the bytes before it.
    assert_refusal(&answer, 502, "noded");
    assert_eq!(
        stage.upstream_errors("cut_reply") + stage.upstream_errors("empty_reply"),
        1.0
    );
}

#[test]
fn more_follows_behind_a_short_answer() {
    let stub = StubNoded::saying(reply_head(10) + "[true, 42]and then some");
    assert_fault_of(stub, "bad_reply", "13 bytes follow");
}

#[test]
fn an_answer_without_a_length_is_not_trusted() {
    let stub = StubNoded::saying("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[true, 42]");
    assert_fault_of(stub, "bad_reply", "no Content-Length");
}

#[test]
fn a_chunked_answer_is_not_trusted() {
    let stub = StubNoded::saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[42]\r\n0\r\n\r\n",
    );
    assert_fault_of(stub, "bad_reply", "no Content-Length");
}

#[test]
fn answers_that_are_no_http_are_not_passed_on() {
    let answers: [&[u8]; 7] = [
        b"garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"HTTP/1.1 xyz OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
        b"HTTP/2 200\r\nContent-Length: 2\r\n\r\n[]",
    ];
    for answer in answers {
        assert_fault_of(StubNoded::saying(answer), "bad_reply", "not understood");
    }
}

#[test]
fn an_interim_answer_is_skipped() {
    let stage = Stage::new(StubNoded::saying(
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &reply_head(2) + "[]",
    ));
    assert_eq!(stage.rpc("version", "[]").text(), "[]");
}

/// Of a large answer the client has a part already: the connection is broken off in the middle of
/// it.
#[test]
fn a_large_answer_that_is_cut_never_looks_whole() {
    const LENGTH: usize = 4 << 20;
    type Cut = fn(&mut crate::support::stub::Call);
    let cuts: [(&str, Cut); 2] = [("close", |_| {}), ("reset", |call| call.reset())];
    for (name, cut) in cuts {
        let stage = Stage::new(StubNoded::start(move |call| {
            call.write(reply_head(LENGTH as u64).as_bytes());
            call.write(&ascii(LENGTH / 2));
            cut(call);
        }));
        let mut stream = stage.connect();
        send(&mut stream, request("version", "[]"));
        let seen = try_read_response(&mut stream);
        assert!(
            seen.as_ref().is_err_and(|why| why.contains("body of")),
            "{name}: {seen:?}"
        );
        stage.proxy.wait_for("it is counted", |_| {
            stage.upstream_errors("cut_reply") == 1.0
        });
        stage.wait_load(0, 0);
        stage.proxy.wait_for("it is logged", |proxy| {
            proxy
                .lines_with("rpc")
                .iter()
                .any(|line| line["outcome"] == "cut" && line["level"] == "WARN")
        });
    }
}

#[test]
fn what_follows_behind_a_large_answer_is_not_passed_on() {
    const LENGTH: usize = 1 << 20;
    let stage = Stage::new(StubNoded::start(|call| {
        let mut reply = reply_head(LENGTH as u64).into_bytes();
        reply.extend_from_slice(&ascii(LENGTH));
        reply.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        call.write(&reply);
    }));
    let mut stream = stage.connect();
    send(&mut stream, request("version", "[]"));
    let answer = try_read_response(&mut stream);
    if let Ok(answer) = answer {
        // All of its bytes were there: what may not happen is that the next ones are read as the
        // next answer.
        assert_same(&answer.body, &ascii(LENGTH));
        assert!(try_read_response(&mut stream).is_err());
    }
    stage.proxy.wait_for("it is counted", |_| {
        stage.upstream_errors("bad_reply") == 1.0
    });
}

#[test]
fn an_answer_may_take_long() {
    // Longer than every limit that is configured here: none of them is one on the reply.
    let limits = [
        "upstream.connect_timeout",
        "upstream.send_timeout",
        "upstream.queue_timeout",
        "limits.header_timeout",
    ];
    let limits = limits.map(|key| format!("{key} = '500ms'")).join("\n");
    let stage = Stage::configured(StubNoded::holding(), &limits);
    let mut stream = stage.connect();
    send(&mut stream, request("instance_os_add", "[]"));
    stage.stub.wait_holding(1);
    std::thread::sleep(std::time::Duration::from_secs(2)); // the subject of this test is time
    stage.stub.release_all();
    assert_eq!(read_response(&mut stream).status, 200);
}
