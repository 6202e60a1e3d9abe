//! The exporter's end of the channel: it calls, verifies whom it reached, and sends the stream. It
//! says that the stream is whole only when it was told that the command before it succeeded; in any
//! other case the connection is reset.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::carry::{Incoming, Outgoing, Peer};
use super::ends::Ends;
use super::frame::Message;
use super::line::Line;
use super::pack::pack;
use super::report::Reporter;
use super::talk::{Event, Word};

/// Between two tries, as Ganeti has it.
const AGAIN: Duration = Duration::from_secs(1);

/// How long an importer of this program has to read why the export fails.
const COMPLAINT: Duration = Duration::from_secs(5);

/// Whom to call, and how long.
pub(super) struct Call {
    /// All addresses of the peer.
    pub(super) peers: Vec<SocketAddr>,
    /// From where.
    pub(super) bind: Option<IpAddr>,
    /// How often it is tried again.
    pub(super) retries: u32,
    /// For one try, and for its handshake.
    pub(super) timeout: Duration,
}

/// Sends `data` to the peer.
pub(super) fn send(
    ends: &Ends,
    call: &Call,
    data: File,
    reporter: &Arc<Reporter>,
    words: &Receiver<Word>,
) -> Result<(), String> {
    let mut peer = reach(ends, call, reporter)?;
    let ours = peer.agreed();
    let mut incoming = Incoming::new(ours);
    let told = |fault: super::carry::Fault| fault.to_string();
    if ours {
        peer.send(&ends.hello().frame())?;
        match incoming.message(&mut peer).map_err(told)? {
            Message::Go => {}
            Message::Failed(why) => return Err(format!("the other end says: {why}")),
            _ => return Err("the other end answers out of turn".into()),
        }
    }
    let address = peer.line().peer().map_err(|error| error.to_string())?;
    reporter.begins(address, ours);
    let mut out = Outgoing::new(&mut peer, ours);
    pack(data, &ends.compress, &ends.start(ours), reporter, |bytes| {
        out.send(bytes).map_err(told)
    })?;
    reporter.progress();
    reporter.tell(&Event::Whole);
    match words.recv() {
        Ok(Word::Good) => {}
        Ok(Word::Bad(why)) => {
            if ours && peer.send(&Message::Failed(why.clone()).frame()).is_ok() {
                let _ = peer.flush();
                peer.line().drain(COMPLAINT); // no orderly end: it breaks off behind this
            }
            return Err(why);
        }
        Err(_) => return Err("the command's end is not known".into()),
    }
    out.end().map_err(told)?;
    if ours {
        match incoming.message(&mut peer).map_err(told)? {
            Message::Taken => {}
            Message::Failed(why) => return Err(format!("the other end says: {why}")),
            _ => return Err("the other end answers out of turn".into()),
        }
    }
    peer.say_end()?;
    peer.line().orderly().map_err(|error| error.to_string())?;
    if !ours {
        let closed = peer.line().await_close();
        closed.map_err(|error| format!("the importer broke off at the end: {error}"))?;
    }
    Ok(())
}

/// A verified peer, at the first try that gets so far.
fn reach(ends: &Ends, call: &Call, reporter: &Arc<Reporter>) -> Result<Peer, String> {
    let mut last = String::from("the peer has no address");
    for attempt in 0..=call.retries {
        if attempt > 0 {
            thread::sleep(AGAIN);
        }
        for address in &call.peers {
            let reached = connect(*address, call)
                .and_then(|tcp| Line::new(tcp, call.timeout))
                .map_err(|error| error.to_string())
                .and_then(|line| ends.handshake(line));
            match reached {
                Ok(peer) => {
                    reporter.tell(&Event::Verified(1));
                    return Ok(peer);
                }
                Err(why) => {
                    let why = format!("{address}: {why}");
                    if why != last {
                        reporter.says(format!("noded-proxy: {why}"));
                    }
                    last = why;
                }
            }
        }
    }
    Err(format!(
        "no connection after {} tries: {last}",
        u64::from(call.retries) + 1
    ))
}

fn connect(address: SocketAddr, call: &Call) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Some(own) = call.bind {
        socket.bind(&SocketAddr::new(own, 0).into())?;
    }
    socket.connect_timeout(&address.into(), call.timeout)?;
    Ok(socket.into())
}
