//! More callers than room: who is served then. Floods come from 127.0.0.2, bounded in number.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{Ssl, SslStream};
use rustix::process::{Resource, Rlimit, prlimit};
use socket2::{Domain, Socket, Type};

use crate::support::client::{Tls, context, request, try_read_response};
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;
use crate::support::{PATIENCE, wait_until};

const FLOOD: [u8; 4] = [127, 0, 0, 2];
const CANDIDATE: [u8; 4] = [127, 0, 0, 3];
const OTHER: [u8; 4] = [127, 0, 0, 4];

/// A TCP connection from this address of the loopback network.
fn tcp_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::new(IpAddr::from(source), 0).into())
        .unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn silent(count: usize, source: [u8; 4], to: SocketAddr) -> Vec<TcpStream> {
    (0..count).map(|_| tcp_from(source, to)).collect()
}

/// Connections that say this much and no more.
fn say(what: &[u8], count: usize, source: [u8; 4], to: SocketAddr) -> Vec<TcpStream> {
    let mut streams = silent(count, source, to);
    for stream in &mut streams {
        stream.write_all(what).unwrap();
    }
    streams
}

/// The beginning of a TLS record.
const BEGUN: &[u8] = &[22, 3, 1];

/// A client's first message.
fn hello() -> Vec<u8> {
    let ssl = Ssl::new(&context(None, Tls::Any).build()).unwrap();
    let mut stream = SslStream::new(ssl, Deaf(Vec::new())).unwrap();
    let _ = stream.connect();
    stream.get_ref().0.clone()
}

/// Keeps what is written, and has nothing to read.
struct Deaf(Vec<u8>);

impl Read for Deaf {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Deaf {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connections that begin a handshake and say no more.
fn stalled(count: usize, source: [u8; 4], to: SocketAddr) -> Vec<TcpStream> {
    say(&hello(), count, source, to)
}

fn connect(source: [u8; 4], to: SocketAddr, identity: &Identity) -> Option<SslStream<TcpStream>> {
    let ssl = Ssl::new(&context(Some(identity), Tls::Any).build()).unwrap();
    let mut stream = SslStream::new(ssl, tcp_from(source, to)).unwrap();
    stream.connect().ok()?;
    Some(stream)
}

/// Whether a request on this connection is answered, by whatever.
fn answered(stream: &mut SslStream<TcpStream>) -> bool {
    let asked = stream.write_all(request("version", "[]").as_bytes());
    asked.is_ok() && try_read_response(stream).is_ok()
}

fn served(source: [u8; 4], to: SocketAddr, identity: &Identity) -> bool {
    connect(source, to, identity).is_some_and(|mut stream| answered(&mut stream))
}

/// A connection that passes on so many bytes of what its client writes, and then stalls.
struct Stalls {
    tcp: TcpStream,
    left: usize,
}

impl Read for Stalls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.left {
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => self.tcp.read(buffer),
        }
    }
}

impl Write for Stalls {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = data.len().min(self.left);
        self.left -= count;
        match self.tcp.write(&data[..count])? {
            0 => Err(ErrorKind::WouldBlock.into()),
            some => Ok(some),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// A handshake that is broken off after so many bytes of the client's.
fn broken_off(
    source: [u8; 4],
    to: SocketAddr,
    identity: &Identity,
    (tls, after): (Tls, usize),
) -> SslStream<Stalls> {
    let ssl = Ssl::new(&context(Some(identity), tls).build()).unwrap();
    let tcp = tcp_from(source, to);
    let mut stream = SslStream::new(ssl, Stalls { tcp, left: after }).unwrap();
    let _ = stream.connect();
    stream
}

/// Whether a call is answered well before the handshake's time is over.
fn called(source: [u8; 4], to: SocketAddr, identity: &Identity) -> bool {
    let ssl = Ssl::new(&context(Some(identity), Tls::Any).build()).unwrap();
    let tcp = tcp_from(source, to);
    tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = SslStream::new(ssl, tcp).unwrap();
    stream.connect().is_ok() && answered(&mut stream)
}

/// A proxy with one candidate, whose address it knows, and limits.
fn proxy(limits: &str) -> (Proxy, Identity) {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node)])
        .config(&format!(
            "[limits]\n{limits}\nheader_timeout = '1m'\nhandshake_timeout = '1m'"
        ))
        .start();
    know_candidate(&proxy);
    (proxy, node)
}

fn know_candidate(proxy: &Proxy) {
    let file = proxy.dir().join("ganeti/ssconf_master_candidates_ips");
    std::fs::write(file, format!("{}\n", IpAddr::from(CANDIDATE))).unwrap();
    proxy.sighup();
    proxy.wait_for("the address is known", |p| {
        p.status()["admission"]["candidate_addresses"] == 1
    });
}

#[test]
fn a_flood_of_silent_connections_keeps_no_candidate_out() {
    let (proxy, node) = proxy("connections = 20\nreserved = 4");
    let _flood = silent(100, FLOOD, proxy.addr());
    proxy.wait_for("the first ones gave way", |p| {
        p.rejected("over_limit") >= 80.0
    });
    let _held: Vec<_> = (0..4)
        .map(|_| connect(CANDIDATE, proxy.addr(), &node).unwrap())
        .collect();
    assert!(served(CANDIDATE, proxy.addr(), &node));
}

#[test]
fn a_flood_of_silent_connections_evicts_none_of_another_source() {
    let (proxy, node) = proxy("connections = 20\nreserved = 4");
    let early = tcp_from(OTHER, proxy.addr());
    let _flood = silent(100, FLOOD, proxy.addr());
    proxy.wait_for("the flood gave way", |p| p.rejected("over_limit") >= 80.0);
    let ssl = Ssl::new(&context(Some(&node), Tls::Any).build()).unwrap();
    let mut stream = SslStream::new(ssl, early).unwrap();
    assert!(stream.connect().is_ok() && answered(&mut stream));
}

#[test]
fn a_client_from_an_unlisted_address_displaces_silent_connections_only() {
    let (proxy, node) = proxy("connections = 8\nreserved = 2");
    let mut first = connect(OTHER, proxy.addr(), &node).unwrap();
    assert!(answered(&mut first));
    let _flood = silent(50, FLOOD, proxy.addr());
    assert!(served(OTHER, proxy.addr(), &node));
    assert!(answered(&mut first), "an admitted client keeps its place");
}

#[test]
fn admitted_clients_keep_their_places_and_the_rest_is_told_at_once() {
    let (proxy, node) = proxy("connections = 5\nreserved = 3");
    let mut held: Vec<_> = (0..3)
        .map(|_| connect(OTHER, proxy.addr(), &node).unwrap())
        .collect();
    assert!(
        held.iter_mut().all(answered),
        "no place is reserved against the admitted"
    );
    for source in [OTHER, CANDIDATE] {
        let more = served(source, proxy.addr(), &node);
        assert!(!more, "one candidate has its share: {source:?}");
    }
    assert!(proxy.rejected("over_limit") >= 2.0);
    assert!(held.iter_mut().all(answered));
    held.pop();
    proxy.wait_for("a place is free", |p| served(CANDIDATE, p.addr(), &node));
}

#[test]
fn stalled_handshakes_give_way_to_a_call_of_their_own_source() {
    let (proxy, node) = proxy("handshakes = 8\nhandshakes_per_source = 3\nreserved = 2");
    let _flood = stalled(30, FLOOD, proxy.addr());
    for source in [OTHER, CANDIDATE, FLOOD] {
        assert!(called(source, proxy.addr(), &node), "{source:?}");
    }
}

#[test]
fn handshakes_broken_off_at_every_byte_do_not_hold_up_a_call_of_their_source() {
    const MANY: usize = 170;
    let stranger = &Pki::new().client("node9.example.com");
    for (source, tls) in [(FLOOD, Tls::V13), (CANDIDATE, Tls::V12)] {
        let (proxy, node) = proxy("");
        let (to, plenty) = (proxy.addr(), 1 << 20);
        let whole = broken_off(source, to, stranger, (tls, plenty));
        let bytes = plenty - whole.get_ref().left;
        std::thread::scope(|scope| {
            let stalls = (0..MANY).map(|at| (tls, 1 + at * (bytes - 1) / MANY));
            let begin = |stall| scope.spawn(move || broken_off(source, to, stranger, stall));
            let _stalled: Vec<_> = stalls.map(begin).collect();
            proxy.wait_for("they stall", |p| {
                p.metric("noded_proxy_handshakes_open") >= 64.0
            });
            for _ in 0..5 {
                assert!(called(source, to, &node), "{tls:?}");
            }
        });
    }
}

#[test]
fn a_byte_now_and_then_on_ever_new_connections_keeps_no_call_of_their_source_out() {
    let (proxy, node) = proxy("");
    let mut drip = Vec::new();
    for _ in 0..10 {
        drip.extend(say(BEGUN, 48, CANDIDATE, proxy.addr()));
        for stream in &mut drip {
            let _ = stream.write(&[1]); // the older ones have been cut by now
        }
        assert!(called(CANDIDATE, proxy.addr(), &node), "{}", drip.len());
    }
}

#[test]
fn connections_without_a_whole_message_take_no_turn() {
    let (proxy, node) = proxy("handshakes = 3\nhandshakes_per_source = 1\nreserved = 1");
    let _flood = say(BEGUN, 500, CANDIDATE, proxy.addr());
    assert!(called(CANDIDATE, proxy.addr(), &node));
    assert_eq!(proxy.rejected("over_limit"), 0.0, "none had to give way");
}

#[test]
fn handshakes_that_stall_everywhere_leave_room_for_a_source_without_any() {
    let (proxy, node) = proxy("handshakes = 8\nhandshakes_per_source = 3\nreserved = 2");
    let _flood: Vec<_> = (10..20)
        .map(|last| stalled(5, [127, 0, 0, last], proxy.addr()))
        .collect();
    assert!(called(OTHER, proxy.addr(), &node));
}

#[test]
fn stalled_handshakes_of_many_sources_leave_the_reserve_to_candidates() {
    let (proxy, node) = proxy("handshakes = 8\nhandshakes_per_source = 3\nreserved = 2");
    let _flood: Vec<_> = (10..20)
        .map(|last| stalled(5, [127, 0, 0, last], proxy.addr()))
        .collect();
    for _ in 0..5 {
        assert!(served(CANDIDATE, proxy.addr(), &node));
    }
}

#[test]
fn refused_clients_by_the_hundred_keep_no_candidate_out() {
    let (proxy, node) = proxy("handshakes = 8\nhandshakes_per_source = 3\nreserved = 2");
    let stranger = Pki::new().client("node9.example.com");
    let address = proxy.addr();
    let flood = std::thread::spawn(move || {
        for _ in 0..200 {
            let _ = connect(FLOOD, address, &stranger);
        }
    });
    for _ in 0..10 {
        assert!(served(CANDIDATE, proxy.addr(), &node));
    }
    flood.join().unwrap();
    proxy.wait_for("all were refused", |p| {
        p.rejected("unknown_digest") == 200.0
    });
}

#[test]
fn few_file_descriptors_lower_the_bound_on_connections() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node)])
        .under(&["prlimit", "--nofile=120"])
        .start();
    know_candidate(&proxy);
    assert!(proxy.log().contains("limits.connections is lowered"));
    let _flood = silent(300, FLOOD, proxy.addr());
    assert!(served(CANDIDATE, proxy.addr(), &node));
    assert!(served(OTHER, proxy.addr(), &node));
}

#[test]
fn without_file_descriptors_unfinished_connections_give_way() {
    let (proxy, node) = proxy("connections = 200");
    let mut admitted = connect(OTHER, proxy.addr(), &node).unwrap();
    assert!(answered(&mut admitted));
    let _flood = silent(100, FLOOD, proxy.addr());
    wait_until("all are accepted", || {
        proxy.metric("noded_proxy_handshakes_open") == 100.0
    });
    // From now on the process may open none beyond those it has.
    let few = Rlimit {
        current: Some(100),
        maximum: Some(100),
    };
    prlimit(Some(proxy.pid()), Resource::Nofile, few).unwrap();
    assert!(served(CANDIDATE, proxy.addr(), &node));
    assert!(served(OTHER, proxy.addr(), &node));
    assert!(answered(&mut admitted));
    proxy.wait_for("it is told", |p| p.log().contains("cannot accept"));
}

/// How often the first worker has waited, by the kernel.
fn turns_of_the_first_worker(proxy: &Proxy) -> u64 {
    let tasks = format!("/proc/{}/task", proxy.pid().as_raw_nonzero());
    let mut tasks = std::fs::read_dir(tasks).unwrap().map(|t| t.unwrap().path());
    let is_first = |name: io::Result<String>| name.is_ok_and(|name| name.trim() == "worker-1");
    let first = tasks.find(|task| is_first(std::fs::read_to_string(task.join("comm"))));
    let status = std::fs::read_to_string(first.unwrap().join("status")).unwrap();
    let waited = |line: &str| {
        line.strip_prefix("voluntary_ctxt_switches:")?
            .trim()
            .parse()
            .ok()
    };
    status.lines().find_map(waited).unwrap()
}

#[test]
fn an_address_from_which_a_candidate_called_has_the_first_worker_and_others_do_not() {
    if std::thread::available_parallelism().is_ok_and(|count| count.get() < 2) {
        eprintln!("SKIPPED: one processor has one worker");
        return;
    }
    let (proxy, node) = proxy("");
    let stranger = Pki::new().client("node9.example.com");
    let turns = |source, identity, calls: u32| {
        let before = turns_of_the_first_worker(&proxy);
        for _ in 0..calls {
            let _ = connect(source, proxy.addr(), identity).map(|mut tls| answered(&mut tls));
        }
        turns_of_the_first_worker(&proxy) - before
    };
    // The watchdog and the like turn it now and then; each connection does so several times.
    assert!(turns(FLOOD, &stranger, 60) < 60, "refused");
    assert!(
        turns(OTHER, &node, 1) < 60,
        "the first call comes as a stranger's"
    );
    assert!(turns(OTHER, &node, 60) >= 60, "admitted before");
    proxy.write_map(&[("uuid-2", &Pki::new().client("node2.example.com"))]);
    proxy.wait_for("it is demoted", |p| !served(OTHER, p.addr(), &node));
    assert!(turns(OTHER, &node, 60) < 60, "demoted");
}
