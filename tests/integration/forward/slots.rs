//! Connections to noded: never more than it takes, first in first out in front of them, and each
//! kept until noded is done.

use std::io::Read;
use std::thread;

use crate::support::client::{read_response, request, reset, rpc, send};
use crate::support::stage::{Stage, ascii, assert_refusal, assert_same};
use crate::support::stub::{StubNoded, reply_head};

fn one_slot(stub: StubNoded, config: &str) -> Stage {
    let config = format!("upstream.max_clients = 1\nupstream.fast_slots = 0\n{config}");
    Stage::configured(stub, &config)
}

#[test]
fn noded_never_has_more_than_max_clients_connections() {
    let config = "upstream.max_clients = 3\nupstream.fast_slots = 0";
    let stage = Stage::configured(StubNoded::holding(), config);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|i| {
                let (address, client) = (stage.proxy.addr(), &stage.client);
                scope.spawn(move || rpc(address, client, "version", &format!("[{i}]")))
            })
            .collect();
        stage.stub.wait_holding(3);
        stage.wait_load(3, 97);
        stage.stub.release_all();
        for call in calls {
            let answer = call.join().unwrap().unwrap();
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "[true, \"version\"]")
            );
        }
    });
    assert_eq!((stage.stub.accepted(), stage.stub.most_at_once()), (100, 3));
    let mut bodies: Vec<Vec<u8>> = stage
        .stub
        .seen()
        .iter()
        .map(|s| s.body().to_vec())
        .collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 100); // each once
    stage.wait_load(0, 0);
}

#[test]
fn max_clients_alone_is_a_configuration() {
    let stage = Stage::built(StubNoded::usual(), |proxy| {
        proxy.arg("--max-clients").arg("1")
    });
    assert_eq!(stage.rpc("version", "[]").status, 200);
    assert_eq!(stage.rpc("instance_os_add", "[]").status, 200);
    assert_eq!(stage.proxy.metric("noded_proxy_slots"), 1.0);
}

#[test]
fn who_waits_longest_goes_first() {
    let stage = one_slot(StubNoded::holding(), "");
    let names = ["hold", "first", "second", "third", "fourth"];
    let mut streams = Vec::new();
    for (i, name) in names.into_iter().enumerate() {
        let mut stream = stage.connect();
        send(&mut stream, request(name, "[]"));
        stage.wait_load(1, i);
        streams.push(stream);
    }
    for (i, stream) in streams.iter_mut().enumerate() {
        stage.stub.wait_seen(i + 1);
        stage.stub.release(1);
        assert_eq!(read_response(stream).status, 200);
    }
    assert_eq!(stage.stub.procedures(), names);
    assert_eq!(stage.stub.most_at_once(), 1);
}

#[test]
fn long_rpcs_leave_slots_for_short_ones() {
    let config = "upstream.max_clients = 3\nupstream.fast_slots = 1";
    let stage = Stage::configured(
        StubNoded::start(|call| {
            if call.procedure() == "instance_os_add" {
                call.hold();
            }
            call.answer_as_noded();
        }),
        config,
    );
    let mut long: Vec<_> = (0..3).map(|_| stage.connect()).collect();
    long.iter_mut()
        .for_each(|stream| send(stream, request("instance_os_add", "[]")));
    stage.stub.wait_holding(2);
    stage.wait_load(2, 1);
    assert_eq!(stage.rpc("version", "[]").status, 200);
    stage.stub.release_all();
    assert!(
        long.iter_mut()
            .all(|stream| read_response(stream).status == 200)
    );
}

#[test]
fn a_queue_that_is_full_for_this_peer_refuses_and_says_how_full_it_is() {
    let stage = one_slot(StubNoded::holding(), "upstream.queue_length = 4");
    let mut streams: Vec<_> = (0..3).map(|_| stage.connect()).collect();
    for (i, stream) in streams.iter_mut().enumerate() {
        send(stream, request("version", "[]"));
        stage.wait_load(1, i);
    }
    let answer = stage.rpc("version", "[]");
    assert_refusal(&answer, 503, "1 RPCs running, 2 waiting, the queue is full");
    assert_eq!(stage.upstream_errors("queue_full"), 1.0);
    stage.stub.release_all();
    assert!(
        streams
            .iter_mut()
            .all(|stream| read_response(stream).status == 200)
    );
    assert_eq!(stage.stub.accepted(), 3);
}

#[test]
fn who_waits_too_long_is_told_so() {
    let stage = one_slot(StubNoded::holding(), "upstream.queue_timeout = '300ms'");
    let mut held = stage.connect();
    send(&mut held, request("version", "[]"));
    stage.stub.wait_holding(1);
    let answer = stage.rpc("version", "[]");
    assert_refusal(
        &answer,
        503,
        "no slot came free in time (1 RPCs running, 0 waiting)",
    );
    assert_eq!(stage.upstream_errors("queue_timeout"), 1.0);
    stage.wait_load(1, 0);
    stage.stub.release_all();
    assert_eq!(read_response(&mut held).status, 200);
    assert_eq!(stage.stub.accepted(), 1);
}

#[test]
fn a_client_that_leaves_the_queue_gives_up_its_place() {
    let stage = one_slot(StubNoded::holding(), "");
    let mut held = stage.connect();
    send(&mut held, request("version", "[1]"));
    stage.stub.wait_holding(1);
    let mut leaver = stage.connect();
    send(&mut leaver, request("version", "[2]"));
    stage.wait_load(1, 1);
    reset(leaver);
    stage.wait_load(1, 0);
    stage.stub.release_all();
    assert_eq!(read_response(&mut held).status, 200);
    assert_eq!(stage.rpc("version", "[3]").status, 200);
    let bodies: Vec<_> = stage
        .stub
        .seen()
        .iter()
        .map(|s| s.body().to_vec())
        .collect();
    assert_eq!(bodies, [b"[1]", b"[3]"]); // noded never heard of the one that left
}

#[test]
fn a_client_that_leaves_while_noded_works_leaves_its_slot_taken() {
    let stage = one_slot(StubNoded::holding(), "");
    let mut leaver = stage.connect();
    send(&mut leaver, request("version", "[1]"));
    stage.stub.wait_holding(1);
    reset(leaver);
    stage.proxy.wait_for("the client is gone", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
    let mut next = stage.connect();
    send(&mut next, request("version", "[2]"));
    stage.wait_load(1, 1);
    assert_eq!(stage.stub.accepted(), 1);
    stage.stub.release_all();
    assert_eq!(read_response(&mut next).status, 200);
    assert_eq!((stage.stub.accepted(), stage.stub.most_at_once()), (2, 1));
}

/// noded drops an answer whose reader pauses for 10 s: it must never wait for the client.
#[test]
fn a_client_that_does_not_read_does_not_hold_noded_up() {
    const LENGTH: usize = 20 << 20;
    let stage = one_slot(
        StubNoded::start(|call| {
            if call.number > 0 {
                return call.answer_as_noded();
            }
            call.try_write(reply_head(LENGTH as u64).as_bytes())
                .unwrap();
            call.try_write(&ascii(LENGTH)).unwrap(); // returns when it is taken
        }),
        "",
    );
    let mut sleeper = stage.connect();
    send(&mut sleeper, request("hooks_runner", "[]"));
    stage
        .proxy
        .wait_for("it is with noded", |_| stage.stub.accepted() == 1);
    // It has not read a byte, and yet the only slot is free for the next one.
    assert_eq!(stage.rpc("version", "[]").status, 200);
    let mut first = [0; 9];
    sleeper.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 ");
    let answer = read_response(&mut first.chain(&mut sleeper));
    assert_eq!(answer.status, 200);
    assert_same(&answer.body, &ascii(LENGTH));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_answer_frees_the_slot() {
    const LENGTH: usize = 20 << 20;
    let stage = one_slot(
        StubNoded::start(|call| {
            let length = if call.number == 0 { LENGTH } else { 2 };
            call.answer(&ascii(length));
        }),
        "",
    );
    let mut leaver = stage.connect();
    send(&mut leaver, request("hooks_runner", "[]"));
    leaver.read_exact(&mut [0; 1000]).unwrap();
    drop(leaver);
    assert_eq!(stage.rpc("version", "[]").status, 200);
    stage.proxy.wait_for("it is logged", |proxy| {
        proxy
            .lines_with("rpc")
            .iter()
            .any(|line| line["outcome"] == "client_left")
    });
    stage.wait_load(0, 0);
}

#[test]
fn a_tcp_ping_costs_noded_nothing() {
    let stage = Stage::new(StubNoded::usual());
    drop(std::net::TcpStream::connect(stage.proxy.addr()).unwrap());
    stage.proxy.wait_for("it is counted", |p| {
        p.metric("noded_proxy_tcp_pings_total") == 1.0
    });
    let idle = stage.connect();
    stage.proxy.wait_for("it is open", |p| {
        p.metric("noded_proxy_connections_open") == 1.0
    });
    drop(idle);
    assert_eq!(stage.stub.accepted(), 0);
}
