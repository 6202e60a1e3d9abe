//! The clients: each mode runs for a bounded time and says what it saw.

use crate::args::Args;
use crate::client::{Client, Conn, close, reason};
use crate::http::post;
use crate::limit::client_hello;
use crate::stats::{Tally, fan_out, monotonic};
use serde_json::{Value, json};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const GOOD_WORKERS: usize = 32;
const ROGUE_WORKERS: usize = 64;

fn candidates(args: &Args) -> Client {
    Client::new(args, Some(Path::new(args.need("cert"))))
}

/// RPCs one after the other on each of `--concurrency` threads, each on a connection of
/// its own or, with `--reuse 1`, on connections that stay open.
pub(crate) fn rpc(args: &Args) -> Value {
    let client = candidates(args);
    let threads = args.get("concurrency", 16);
    let reuse = args.get("reuse", 0) == 1;
    let request = post(&args.get("path", "/version".to_owned()), args.get("up", 2));
    let start = Instant::now();
    let end = start + args.seconds("duration", 2.0);
    let cipher = Mutex::new(String::new());
    let tally = fan_out(threads, |first, tally| {
        let (mut buf, mut slot) = (Vec::new(), None);
        for n in (first..).step_by(threads) {
            let start = Instant::now();
            if start >= end {
                break;
            }
            let result = client.rpc(n, &mut slot, &request, &mut buf);
            if let Some(conn) = slot.take_if(|_| !reuse || Instant::now() >= end) {
                *cipher.lock().expect("cipher") = negotiated(&conn);
                close(conn);
            }
            if let Ok(response) = &result {
                tally.bytes += request.len() + response.body;
            } else {
                thread::sleep(Duration::from_millis(1));
            }
            tally.add(start, result.map(|response| response.status));
        }
    });
    let mut out = tally.json(start.elapsed());
    out["cipher"] = json!(cipher.into_inner().expect("cipher"));
    out
}

fn negotiated(conn: &Conn) -> String {
    let name = conn
        .ssl()
        .current_cipher()
        .map_or("none", |cipher| cipher.name());
    format!("{} {name}", conn.ssl().version_str())
}

/// Good clients at one fixed rate and rogue ones at another, at the same time.
///
/// Latency counts from the moment an RPC was due, so a proxy that stalls is charged for
/// the RPCs that could not start. A rogue is a certificate file, tried with a full
/// handshake, or `hello`: a recorded ClientHello, and gone as soon as the server has
/// answered, which costs the server its signature and the rogue next to nothing.
pub(crate) fn mix(args: &Args) -> Value {
    let good = candidates(args);
    let kind: String = args.get("rogue", "hello".to_owned());
    let source = args.get("rogue-source", IpAddr::from(Ipv4Addr::LOCALHOST));
    let file = (kind != "hello").then(|| Path::new(&kind));
    let rogue = Client::new(args, file).with_source(source);
    let hello = client_hello(rogue.context());
    let request = post("/version", 2);
    let start = Instant::now();
    let duration = args.seconds("duration", 2.0);
    let (good, rogue) = thread::scope(|scope| {
        let rogue = scope.spawn(|| {
            paced(
                ROGUE_WORKERS,
                args.get("rogue-rate", 0.0),
                start,
                duration,
                |n, buf| match file {
                    None => say_hello(&rogue, &hello),
                    Some(_) => rogue
                        .single(n, &request, buf)
                        .map(|status| status.to_string()),
                },
            )
        });
        let good = paced(
            GOOD_WORKERS,
            args.get("good-rate", 50.0),
            start,
            duration,
            |n, buf| {
                good.single(n, &request, buf)
                    .map(|status| status.to_string())
            },
        );
        (good, rogue.join().expect("rogues"))
    });
    let mut out = good.json(start.elapsed());
    out["moments"] = json!(good.moments());
    out["rogue"] = rogue.json(start.elapsed());
    out
}

/// Operations due `rate` times a second, shared out to threads; those for which there was
/// no time by the end are dropped.
fn paced(
    workers: usize,
    rate: f64,
    start: Instant,
    duration: Duration,
    work: impl Fn(usize, &mut Vec<u8>) -> Result<String, String> + Sync,
) -> Tally {
    let total = (rate * duration.as_secs_f64()) as usize;
    fan_out(workers.min(total), |first, tally| {
        let mut buf = Vec::new();
        for n in (first..total).step_by(workers) {
            let due = start + Duration::from_secs_f64(n as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if start.elapsed() >= duration {
                break;
            }
            tally.add(due, work(n, &mut buf));
        }
    })
}

fn say_hello(rogue: &Client, hello: &[u8]) -> Result<String, String> {
    let mut tcp = rogue.tcp()?;
    // It leaves with a reset: thousands of ports in TIME_WAIT would slow this program down and not
    // the proxy.
    let _ = SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
    tcp.write_all(hello).map_err(|e| reason(&e))?;
    match tcp.read(&mut [0; 4096]) {
        Ok(0) => Err("closed".into()),
        Ok(_) => Ok("answered".into()),
        Err(e) => Err(reason(&e)),
    }
}

/// Opens `--connections` admitted connections (each carries one RPC first with
/// `--request 1`), says so, and holds them until standard input ends or `--hold` is over.
pub(crate) fn idle(args: &Args) -> Value {
    let client = candidates(args);
    let wanted = args.get("connections", 500);
    let request = (args.get("request", 0) == 1).then(|| post("/version", 2));
    let start = Instant::now();
    let give_up = start + args.seconds("duration", 20.0);
    let (next, open) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(wanted)));
    let tally = fan_out(4, |_, tally| {
        let mut buf = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let start = Instant::now();
            if n >= wanted || start >= give_up {
                break;
            }
            let mut slot = None;
            let result = match &request {
                Some(request) => client
                    .rpc(n, &mut slot, request, &mut buf)
                    .map(|r| r.status),
                None => client.connect(n).map(|conn| {
                    slot = Some(conn);
                    200
                }),
            };
            tally.add(start, result);
            open.lock().expect("list").extend(slot);
        }
    });
    // The last handshake messages are still under way to the proxy.
    thread::sleep(Duration::from_millis(500));
    println!("{}", tally.json(start.elapsed()));
    wait_for_end_of_input(args.seconds("hold", 10.0));
    let open = open.into_inner().expect("list");
    json!({"still_open": open.iter().filter(|conn| !peer_closed(conn)).count()})
}

fn wait_for_end_of_input(limit: Duration) {
    let (ended, wait) = mpsc::channel();
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = wait.recv_timeout(limit);
}

/// The peer has sent an end of file (perhaps behind an alert).
fn peer_closed(conn: &Conn) -> bool {
    let mut tcp = conn.get_ref();
    if tcp.set_nonblocking(true).is_err() {
        return true;
    }
    loop {
        match tcp.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => continue,
            Err(e) => return e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Calls every 5 ms until an RPC is refused; when that was known, on the monotonic clock.
pub(crate) fn watch(args: &Args) -> Value {
    let client = candidates(args);
    let request = post("/version", 2);
    let end = Instant::now() + args.seconds("duration", 10.0);
    let (mut served, mut buf) = (0, Vec::new());
    while Instant::now() < end {
        match client.single(0, &request, &mut buf) {
            Ok(200) => served += 1,
            refusal => {
                let outcome = refusal.map_or_else(|e| e, |status| status.to_string());
                let at = monotonic().as_secs_f64();
                return json!({"served": served, "refused_at": at, "outcome": outcome});
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    json!({"served": served, "refused_at": null})
}
