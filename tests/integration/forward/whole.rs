//! Bodies wait whole, in memory or on disk, before noded hears of them; and no candidate can take
//! so much of either, or of the queue, that another one goes without.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use openssl::ssl::SslStream;
use rustix::process::Signal;

use super::assert_got;
use crate::support::client::{Tls, connect, read_response, request, reset, rpc, send};
use crate::support::pki::Identity;
use crate::support::stage::{Stage, ascii, assert_refusal};
use crate::support::stub::{Reading, StubNoded};
use crate::support::{PATIENCE, wait_until};

const MIB: usize = 1 << 20;

fn head(length: usize) -> String {
    format!("POST /upload_file HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST /upload_file HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A stage in which bodies of more than 1 MiB wait on disk.
fn stage_with(stub: StubNoded, config: &str) -> Stage {
    Stage::configured(stub, &format!("limits.body_in_memory = '1MiB'\n{config}"))
}

/// The same with a second candidate.
fn with_another(stub: StubNoded, config: &str) -> (Stage, Identity) {
    let stage = stage_with(stub, config);
    let other = stage.pki.client("node2.example.com");
    let both = [("uuid-1", &stage.client), ("uuid-2", &other)];
    stage.proxy.write_map(&both);
    stage.proxy.sighup();
    stage.proxy.wait_for("the map has both", |proxy| {
        proxy.metric("noded_proxy_candidate_map_entries") == 2.0
    });
    (stage, other)
}

/// Begins a long request and sends `sent` bytes of its body.
fn begin(stage: &Stage, head: &str, sent: usize) -> SslStream<TcpStream> {
    let mut stream = stage.connect();
    send(&mut stream, head);
    send(&mut stream, vec![b' '; sent]);
    stream
}

fn in_use(stage: &Stage, what: &str) -> f64 {
    stage.proxy.metric(&format!("noded_proxy_{what}_bytes"))
}

#[test]
fn long_bodies_wait_on_disk_without_a_name_and_without_a_slot() {
    let (stage, other) = with_another(StubNoded::usual(), "");
    let streams: Vec<_> = (0..24)
        .map(|_| begin(&stage, &head(3 * MIB), 2 * MIB))
        .collect();
    stage.proxy.wait_for("they are on disk", |_| {
        in_use(&stage, "spool") == (24 * 3 * MIB) as f64
    });
    stage.wait_load(0, 0);
    assert_eq!(
        rpc(stage.proxy.addr(), &other, "version", "[]")
            .unwrap()
            .status,
        200
    );
    assert_eq!(stage.rpc("version", "[]").status, 200);
    assert_eq!(files_in_state(&stage), Vec::<PathBuf>::new());
    drop(streams);
    stage
        .proxy
        .wait_for("the disk is free", |_| in_use(&stage, "spool") == 0.0);
    stage
        .proxy
        .wait_for("the memory too", |_| in_use(&stage, "memory") == 0.0);
    assert_got(&stage, &[("version", "[]"), ("version", "[]")]);
}

/// Files in the state directory that are not the proxy's own records.
fn files_in_state(stage: &Stage) -> Vec<PathBuf> {
    let entries = fs::read_dir(stage.proxy.dir().join("state")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let known = [
        "control",
        "last-good-map",
        "latch",
        "learned",
        "lock",
        "master",
        "sightings",
    ];
    paths
        .filter(|path| !known.iter().any(|name| path.ends_with(name)))
        .collect()
}

#[test]
fn nothing_is_left_on_disk_after_a_crash() {
    let mut stage = stage_with(StubNoded::usual(), "");
    let _stream = begin(&stage, &head(3 * MIB), 2 * MIB);
    stage
        .proxy
        .wait_for("it is on disk", |_| in_use(&stage, "spool") > 0.0);
    stage.proxy.signal(Signal::KILL);
    stage.proxy.wait_exit();
    assert_eq!(files_in_state(&stage), Vec::<PathBuf>::new());
}

#[test]
fn a_state_directory_that_is_gone_is_told_and_short_requests_do_not_need_it() {
    let stage = stage_with(StubNoded::usual(), "");
    let state = stage.proxy.dir().join("state");
    wait_until("it is gone", || fs::remove_dir_all(&state).is_ok()); // the proxy writes in it, too
    let mut stream = begin(&stage, &head(3 * MIB), 3 * MIB);
    assert_refusal(
        &read_response(&mut stream),
        507,
        "state directory: No such file",
    );
    assert_eq!(stage.refused("spool_failed"), 1.0);
    assert_eq!(stage.rpc("version", "[]").status, 200);
    assert_eq!(stage.rpc("upload_file", &" ".repeat(MIB)).status, 200);
}

/// Where the spool is a file system of its own, nearly full.
#[test]
fn a_full_disk_is_told_and_forgotten_when_there_is_room_again() {
    let stage = stage_with(StubNoded::usual(), "");
    let state = stage.proxy.dir().join("state");
    let mount = |args: &[&str]| {
        let done = Command::new(args[0]).args(&args[1..]).arg(&state).status();
        assert!(done.unwrap().success(), "{args:?}: needs root");
    };
    // Landlock knows the directory by its inode, so it is mounted before the proxy starts.
    let mut stage = stage;
    stage
        .proxy
        .restart(|_| mount(&["mount", "-t", "tmpfs", "-o", "size=80m", "none"]));
    let mut first = begin(&stage, &head(3 * MIB), 2 * MIB);
    stage
        .proxy
        .wait_for("it has its file", |_| in_use(&stage, "spool") > 0.0);
    // The proxy leaves some room to others: what would take it is refused before it is sent.
    let mut second = begin(&stage, &head(40 * MIB), 0);
    assert_refusal(&read_response(&mut second), 507, "no storage space");
    // What is promised to a body that has yet to come counts as taken.
    let promised = begin(&stage, &head(12 * MIB), 0);
    stage.proxy.wait_for("it has its file", |_| {
        in_use(&stage, "spool") == (15 * MIB) as f64
    });
    let mut late = begin(&stage, &head(3 * MIB), 0);
    assert_refusal(&read_response(&mut late), 507, "no storage space");
    drop((promised, late));
    // Others fill the disk under a body that has begun.
    let filler = state.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&vec![0; MIB]).is_ok() {}
    send(&mut first, vec![b' '; MIB]);
    assert_refusal(&read_response(&mut first), 507, "No space left on device");
    drop(file);
    fs::remove_file(filler).unwrap();
    let mut third = begin(&stage, &head(3 * MIB), 3 * MIB);
    assert_eq!(read_response(&mut third).status, 200);
    drop((first, second, third));
    stage.proxy.terminate();
    stage.proxy.wait_exit();
    mount(&["umount"]);
}

/// Noded must not take what it has for the whole.
#[test]
fn noded_sees_a_reset_when_a_body_cannot_be_read_from_disk() {
    let (tell, told) = mpsc::channel();
    let stub = StubNoded::reading(Reading::Nothing, move |call| {
        if call.number == 0 {
            assert!(call.read_request());
            call.hold();
            call.answer_as_noded();
        } else {
            tell.send(call.peer_resets()).unwrap();
        }
    });
    let config = "upstream.max_clients = 1\nupstream.fast_slots = 0";
    let stage = stage_with(stub, config);
    let mut running = stage.connect();
    send(&mut running, request("version", "[]"));
    stage.stub.wait_holding(1);
    let mut stream = begin(&stage, &head(3 * MIB), 3 * MIB);
    stage.wait_load(1, 1);
    // It has no name, but a debugger's way to it.
    for entry in fs::read_dir(format!("/proc/{}/fd", stage.proxy.pid())).unwrap() {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).unwrap_or_default();
        if target.starts_with(stage.proxy.dir().join("state"))
            && target.to_string_lossy().ends_with("(deleted)")
        {
            fs::OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(2 * MIB as u64)
                .unwrap();
        }
    }
    stage.stub.release_all();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
    assert_refusal(&read_response(&mut stream), 500, "cannot be kept");
    assert_eq!(stage.upstream_errors("internal"), 1.0);
}

#[test]
fn two_long_chunked_bodies_that_fall_silent_take_nobody_s_memory() {
    let (stage, other) = with_another(StubNoded::usual(), "");
    let chunk = format!("{CHUNKED}{:x}\r\n", 127 * MIB);
    let _silent = [(); 2].map(|()| begin(&stage, &chunk, 127 * MIB));
    for identity in [&stage.client, &other] {
        let body = " ".repeat(MIB);
        let answer = rpc(stage.proxy.addr(), identity, "upload_file", &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut stream = connect(stage.proxy.addr(), Some(identity), Tls::Any).unwrap();
        send(&mut stream, head(3 * MIB));
        send(&mut stream, vec![b' '; 3 * MIB]);
        assert_eq!(read_response(&mut stream).status, 200);
    }
    assert!(in_use(&stage, "memory") < (2 * MIB) as f64);
}

#[test]
fn a_body_in_chunks_of_one_byte_takes_no_more_memory_than_its_length() {
    let stage = stage_with(StubNoded::usual(), "");
    let resident = || stage.proxy.metric("process_resident_memory_bytes");
    let before = resident();
    let mut stream = stage.connect();
    send(&mut stream, CHUNKED);
    let chunks = "1\r\n \r\n".repeat(1000);
    for _ in 0..262 {
        send(&mut stream, &chunks);
    }
    stage
        .proxy
        .wait_for("it is there", |_| in_use(&stage, "memory") >= 262_000.0);
    assert!(
        in_use(&stage, "memory") <= 1e6,
        "{}",
        in_use(&stage, "memory")
    );
    let taken = resident() - before;
    assert!(taken < (8 * MIB) as f64, "{taken} bytes for 262,000");
    send(&mut stream, "0\r\n\r\n");
    assert_eq!(read_response(&mut stream).status, 200);
}

/// Memory is for speed alone: without it a body waits on disk.
#[test]
fn a_candidate_that_fills_its_memory_goes_on_on_disk_and_another_has_memory() {
    let config = "limits.memory = '8MiB'";
    let (stage, other) = with_another(StubNoded::usual(), config);
    let streams: Vec<_> = (0..12)
        .map(|_| begin(&stage, &head(MIB), MIB - 1))
        .collect();
    stage
        .proxy
        .wait_for("some wait on disk", |_| in_use(&stage, "spool") > 0.0);
    assert!(in_use(&stage, "memory") <= (4 * MIB) as f64, "half at most");
    let body = " ".repeat(MIB);
    let answer = rpc(stage.proxy.addr(), &other, "upload_file", &body).unwrap();
    assert_eq!(answer.status, 200);
    for mut stream in streams {
        send(&mut stream, " ");
        assert_eq!(read_response(&mut stream).status, 200);
    }
}

#[test]
fn a_candidate_s_share_of_the_disk_is_bounded_and_another_has_room() {
    let config = "limits.body = '64MiB'\nlimits.spool = '128MiB'";
    let (stage, other) = with_another(StubNoded::usual(), config);
    let mut first = begin(&stage, &head(40 * MIB), 2 * MIB);
    stage.proxy.wait_for("it has its room", |_| {
        in_use(&stage, "spool") == (40 * MIB) as f64
    });
    // The second one of the same peer waits for the first, another peer's does not.
    let mut second = begin(&stage, &head(40 * MIB), 0);
    let mut stream = connect(stage.proxy.addr(), Some(&other), Tls::Any).unwrap();
    send(&mut stream, head(40 * MIB));
    send(&mut stream, vec![b' '; 40 * MIB]);
    assert_eq!(read_response(&mut stream).status, 200);
    assert_eq!(in_use(&stage, "spool"), (40 * MIB) as f64);
    send(&mut first, vec![b' '; 38 * MIB]);
    assert_eq!(read_response(&mut first).status, 200);
    send(&mut second, vec![b' '; 40 * MIB]);
    assert_eq!(read_response(&mut second).status, 200);
    assert_eq!(stage.stub.accepted(), 3);
}

#[test]
fn a_candidate_with_many_requests_in_the_queue_lets_another_pass() {
    let config = "upstream.max_clients = 1\nupstream.fast_slots = 0";
    let (stage, other) = with_another(StubNoded::holding(), config);
    let mut streams = Vec::new();
    for waiting in 0..4 {
        let mut stream = stage.connect();
        send(&mut stream, request("instance_os_add", "[]"));
        stage.wait_load(1, waiting);
        streams.push(stream);
    }
    let mut late = connect(stage.proxy.addr(), Some(&other), Tls::Any).unwrap();
    send(&mut late, request("hooks_runner", "[]"));
    stage.wait_load(1, 4);
    stage.stub.release(2);
    assert_eq!(read_response(&mut late).status, 200);
    assert_eq!(
        stage.stub.procedures()[..2],
        ["instance_os_add", "hooks_runner"]
    );
    stage.stub.release_all();
}

/// One that hangs up cannot command noded unseen.
#[test]
fn an_rpc_whose_client_hangs_up_has_its_line_when_noded_has_answered() {
    let stage = Stage::new(StubNoded::holding());
    let mut stream = stage.connect();
    send(&mut stream, request("test_delay", "[true, 1.5]"));
    stage.stub.wait_holding(1);
    reset(stream);
    stage.proxy.wait_for("the client is gone", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
    assert!(
        stage.proxy.lines_with("rpc").is_empty(),
        "noded is still at work"
    );
    stage.stub.release_all();
    stage.proxy.wait_for("it is logged", |p| p.logged("rpc"));
    let lines = stage.proxy.lines_with("rpc");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["outcome"], "client_left");
    assert_eq!(
        (&lines[0]["procedure"], &lines[0]["status"]),
        (&"test_delay".into(), &200.into())
    );
    let counted = "noded_proxy_rpcs_total{code=\"200\",procedure=\"test_delay\"}";
    assert_eq!(stage.proxy.metric(counted), 1.0);
}

#[test]
fn a_request_whose_client_leaves_before_noded_has_it_has_its_line_too() {
    let config = "upstream.max_clients = 1\nupstream.fast_slots = 0";
    let stage = Stage::configured(StubNoded::holding(), config);
    let mut held = stage.connect();
    send(&mut held, request("version", "[]"));
    stage.stub.wait_holding(1);
    let mut leaver = stage.connect();
    send(&mut leaver, request("hooks_runner", "[]"));
    stage.wait_load(1, 1);
    reset(leaver);
    stage.proxy.wait_for("it is logged", |p| p.logged("rpc"));
    let line = &stage.proxy.lines_with("rpc")[0];
    assert_eq!(
        (&line["procedure"], &line["status"]),
        (&"hooks_runner".into(), &499.into())
    );
    assert_eq!(line["outcome"], "client_left");
    stage.stub.release_all();
}

/// As from noded: what it has asked for is done, and the answer is sent.
#[test]
fn a_client_that_sends_nothing_more_gets_its_answer() {
    let stage = Stage::new(StubNoded::holding());
    for tls in Tls::BOTH {
        for close_notify in [false, true] {
            let mut stream = connect(stage.proxy.addr(), Some(&stage.client), tls).unwrap();
            send(&mut stream, request("version", "[]"));
            match close_notify {
                true => drop(stream.shutdown().unwrap()),
                false => stream.get_ref().shutdown(Shutdown::Write).unwrap(),
            }
            stage.stub.wait_holding(1);
            stage.stub.release(1);
            let answer = read_response(&mut stream);
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "[true, \"version\"]")
            );
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "and the end");
        }
    }
}

/// socat ends its side when its input ends.
#[test]
fn socat_gets_its_answer() {
    let stage = Stage::new(StubNoded::usual());
    let pem = stage.proxy.dir().join("client.pem");
    fs::write(&pem, &stage.client.pem).unwrap();
    let address = format!(
        "OPENSSL:{},verify=0,cert={}",
        stage.proxy.addr(),
        pem.display()
    );
    let mut socat = Command::new("socat")
        .args(["-t", "20", "-", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("socat");
    let mut input = socat.stdin.take().unwrap();
    input
        .write_all(request("version", "[]").as_bytes())
        .unwrap();
    drop(input);
    let output = socat.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("[true, \"version\"]"), "{text}");
}

/// A client that reads only after it has sent all gets its refusal all the same.
#[test]
fn a_refusal_reaches_a_client_that_sends_on() {
    let stage = Stage::configured(StubNoded::usual(), "policy.deny = ['hooks_runner']");
    let long = |line: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
            20 * MIB
        )
    };
    let table = [
        (long("POST /nothing/here"), 404),
        (long("PUT /version"), 405),
        (long("POST /hooks_runner"), 403),
        (head(200 * MIB), 413),
    ];
    for (head, status) in table {
        let mut stream = stage.connect();
        send(&mut stream, &head);
        for _ in 0..20 {
            send(&mut stream, ascii(MIB));
        }
        let answer = read_response(&mut stream);
        assert_eq!(answer.status, status, "{head}");
    }
    // Refused at its first byte.
    let mut stream = stage.connect();
    send(&mut stream, head(MIB));
    send(&mut stream, [&[0xe9][..], &ascii(MIB - 1)].concat());
    assert_eq!(read_response(&mut stream).status, 400);
    assert_got(&stage, &[]);
}

/// As many long uploads as a cluster of hundreds of nodes could ask for.
#[test]
fn sixty_four_long_uploads_at_a_time_take_little_memory() {
    let stage = Stage::new(StubNoded::usual());
    let _streams: Vec<_> = (0..64)
        .map(|_| begin(&stage, &head(64 * MIB), MIB))
        .collect();
    stage.proxy.wait_for("half of the disk is taken", |_| {
        in_use(&stage, "spool") == (2048 * MIB) as f64
    });
    let resident = stage.proxy.metric("process_resident_memory_bytes");
    assert!(resident < (100 * MIB) as f64, "{resident}");
}

/// Nobody can tell how long they will be: most of them is on disk at once, and no more of the disk is
/// kept for them than has come.
#[test]
fn chunked_uploads_take_little_memory() {
    let stage = Stage::new(StubNoded::usual());
    let chunk = format!("{CHUNKED}{:x}\r\n", 8 * MIB);
    let _streams: Vec<_> = (0..24).map(|_| begin(&stage, &chunk, 6 * MIB)).collect();
    stage.proxy.wait_for("they are on disk", |_| {
        in_use(&stage, "spool") >= (24 * 5 * MIB) as f64
    });
    assert!(in_use(&stage, "spool") <= (24 * 16 * MIB) as f64);
    let resident = stage.proxy.metric("process_resident_memory_bytes");
    assert!(resident < (100 * MIB) as f64, "{resident}");
}

/// noded is done with, and its slots are others', although nobody takes the replies.
#[test]
fn a_candidate_that_takes_no_reply_holds_no_slot() {
    let stub = StubNoded::start(|call| match call.procedure().as_str() {
        "hooks_runner" => {
            let _ = call.try_write(crate::support::stub::reply_head(12 << 20).as_bytes());
            let _ = call.try_write(&ascii(12 << 20));
        }
        _ => call.answer_as_noded(),
    });
    let config = "upstream.max_clients = 4\nupstream.fast_slots = 0\nlimits.memory = '8MiB'";
    let (stage, other) = with_another(stub, config);
    let mut sleepers: Vec<_> = (0..4).map(|_| stage.connect()).collect();
    sleepers
        .iter_mut()
        .for_each(|stream| send(stream, request("hooks_runner", "[]")));
    stage.stub.wait_accepted(4);
    let answer = rpc(stage.proxy.addr(), &other, "version", "[]").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_half_closed_client_gets_a_long_answer_and_one_to_a_request_in_chunks() {
    let stub = StubNoded::start(|call| call.answer(&ascii(250_000)));
    // The end comes when the answer has gone, not when a time limit does.
    let stage = Stage::configured(stub, "limits.header_timeout = '1h'");
    for head in [
        request("version", "[]"),
        CHUNKED.to_owned() + "2\r\n[]\r\n0\r\n\r\n",
    ] {
        for _ in 0..3 {
            let mut stream = stage.connect();
            send(&mut stream, &head);
            stream.get_ref().shutdown(Shutdown::Write).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50)); // it reads late
            assert_eq!(read_response(&mut stream).body.len(), 250_000, "{head}");
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "and the end");
        }
    }
}

/// Whoever has its memory taken waits on disk, and is not refused.
#[test]
fn a_candidate_at_its_share_of_memory_still_has_short_requests() {
    let (stage, _) = with_another(StubNoded::usual(), "limits.memory = '8MiB'");
    let _half: Vec<_> = (0..4).map(|_| begin(&stage, &head(MIB), 1)).collect();
    stage.proxy.wait_for("its share is taken", |_| {
        in_use(&stage, "memory") == (4 * MIB) as f64
    });
    assert_eq!(stage.rpc("version", "[]").status, 200);
}

/// Replies that nobody takes are in the books, also short ones.
#[test]
fn short_replies_that_nobody_takes_count_as_memory() {
    // Of many lengths, so that not all end where the buffers of kernel and TLS are full.
    let answered = AtomicUsize::new(0);
    let stub = StubNoded::start(move |call| {
        let count = answered.fetch_add(1, Ordering::Relaxed);
        call.answer(&ascii((150 << 10) + count * 7919 % (100 << 10)));
    });
    let (stage, _) = with_another(stub, "limits.memory = '8MiB'");
    // More on each connection than the kernel's buffers take.
    let _sleepers: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = stage.connect();
            send(&mut stream, request("version", "[]").repeat(80));
            stream
        })
        .collect();
    // Those that noded is rid of, and nobody takes.
    stage.proxy.wait_for("they count", |proxy| {
        let idle = proxy.metric("noded_proxy_slots_in_use") == 0.0;
        idle && in_use(&stage, "memory") > MIB as f64
    });
}
