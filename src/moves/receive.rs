//! The importer's end of the channel: it listens, verifies everybody who comes, and takes the
//! stream of the first verified peer that has Ganeti's word. It never takes a broken stream for a
//! whole one, and it opens no file.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::carry::{Incoming, Peer};
use super::crowd::Crowd;
use super::ends::{Ends, HANDSHAKE};
use super::frame::Message;
use super::line::Line;
use super::report::Reporter;
use super::talk::{Event, Word};
use super::unpack::{Gate, unpack};

/// How long a peer of this program has to read why it fails.
const COMPLAINT: Duration = Duration::from_secs(5);

/// What all connections share.
struct Shared {
    ends: Ends,
    crowd: Crowd,
    reporter: Arc<Reporter>,
    /// Where the data go; the winner takes it.
    data: Mutex<Option<File>>,
    listener: TcpListener,
    result: Sender<Result<Peer, String>>,
}

/// Listens on `address`, and receives one transfer into `data`.
pub(super) fn receive(
    ends: Ends,
    address: SocketAddr,
    data: File,
    reporter: Arc<Reporter>,
    words: &Receiver<Word>,
) -> Result<(), String> {
    let listener =
        listen(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let port = listener.local_addr().map_err(|error| error.to_string())?;
    let (result, received) = channel();
    let shared = Arc::new(Shared {
        ends,
        crowd: Crowd::default(),
        reporter: Arc::clone(&reporter),
        data: Mutex::new(Some(data)),
        listener,
        result,
    });
    let own = Arc::clone(&shared);
    thread::spawn(move || accept(&own));
    reporter.tell(&Event::Listens(port.port()));
    let mut peer = received
        .recv()
        .map_err(|_| "nobody is left to wait for")??;
    reporter.progress();
    reporter.tell(&Event::Whole);
    match words.recv() {
        Ok(Word::Good) => part(&mut peer),
        Ok(Word::Bad(why)) => {
            complain(&mut peer, &why);
            Err(why)
        }
        Err(_) => Err("the command's end is not known".into()),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Says farewell to a peer whose data were taken.
fn part(peer: &mut Peer) -> Result<(), String> {
    if peer.agreed() {
        peer.send(&Message::Taken.frame())?;
    }
    // The original exporter may be gone already; it has said its end before.
    let _ = peer.say_end();
    peer.line().orderly().map_err(|error| error.to_string())
}

/// Tells a peer of this program why the transfer fails; another one gets a reset.
fn complain(peer: &mut Peer, why: &str) {
    if peer.agreed() && peer.send(&Message::Failed(why.into()).frame()).is_ok() {
        let _ = peer.flush();
        peer.line().drain(COMPLAINT);
    }
}

/// Takes everybody in until one has won.
fn accept(shared: &Arc<Shared>) {
    while !shared.crowd.is_decided() {
        match shared.listener.accept() {
            Ok((tcp, from)) => {
                let address = from.ip().to_canonical();
                let Ok(wake) = tcp.try_clone() else { continue };
                let Some(id) = shared.crowd.enter(wake, address) else {
                    continue;
                };
                let own = Arc::clone(shared);
                let visit = move || {
                    if let Err(why) = visit(&own, tcp, id) {
                        own.reporter.refuses(address, &why);
                    }
                    let left = own.crowd.leave(id);
                    own.reporter.tell(&Event::Verified(left));
                };
                let started = thread::Builder::new().spawn(visit);
                if started.is_err() {
                    shared.crowd.leave(id);
                }
            }
            // Too many open files, or the like: it passes when a connection ends.
            Err(_) if !shared.crowd.is_decided() => thread::sleep(Duration::from_millis(50)),
            Err(_) => {}
        }
    }
}

/// One connection, from its first byte. An error is that of a connection that has not won.
fn visit(shared: &Arc<Shared>, tcp: TcpStream, id: u64) -> Result<(), String> {
    let line = Line::new(tcp, HANDSHAKE).map_err(|error| error.to_string())?;
    let address = line.peer().map_err(|error| error.to_string())?;
    let peer = shared.ends.handshake(line)?;
    let verified = shared.crowd.verified(id);
    shared.reporter.tell(&Event::Verified(verified));
    match transfer(shared, peer, address, id) {
        // Nobody else can come, and this one has given up: Ganeti's exporter does not try again.
        Err(why) if shared.ends.knows_one_peer && !shared.crowd.is_decided() => {
            let _ = shared.result.send(Err(why));
            Ok(())
        }
        done => done,
    }
}

/// What a verified peer sends. An error is that of one that has not won.
fn transfer(shared: &Arc<Shared>, mut peer: Peer, address: IpAddr, id: u64) -> Result<(), String> {
    let ours = peer.agreed();
    let mut incoming = Incoming::new(ours);
    if ours {
        greet(shared, &mut peer, &mut incoming)?;
    }
    let (claimer, start) = (Arc::clone(shared), shared.ends.start(ours));
    let claim = move || {
        let data = place(claimer.crowd.claim(id), &claimer.data)?;
        // Whoever waits in `accept` is woken, and nobody is let in any more.
        let _ = rustix::net::shutdown(&claimer.listener, rustix::net::Shutdown::Both);
        claimer.reporter.begins(address, ours);
        Ok(data)
    };
    let mut gate = Gate::new(start, claim, &shared.reporter);
    if ours {
        // The peer begins when it is told to, and it is told when the place is its own.
        gate.open()?;
        peer.send(&Message::Go.frame())?;
        peer.flush().map_err(|error| error.to_string())?;
    }
    gate.open()?;
    let result = unpack(peer, incoming, &shared.ends.compress, &mut gate);
    let has_won = gate.is_mine();
    drop(gate);
    match result {
        Err((_, why)) if !has_won => Err(why),
        Err((peer, why)) => {
            if let Some(mut peer) = peer {
                complain(&mut peer, &why);
            }
            let _ = shared.result.send(Err(why));
            Ok(())
        }
        Ok(peer) => {
            let _ = shared.result.send(Ok(peer));
            Ok(())
        }
    }
}

/// Where the data go, if the transfer is this connection's: nobody else may take it away.
fn place<T>(is_mine: bool, data: &Mutex<Option<T>>) -> Result<T, String> {
    let mut data = data.lock().map_err(|error| error.to_string())?;
    let data = if is_mine { data.take() } else { None };
    data.ok_or_else(|| "another connection has begun the transfer".into())
}

/// The first words with a peer of this program.
fn greet(shared: &Shared, peer: &mut Peer, incoming: &mut Incoming) -> Result<(), String> {
    let said = incoming.message(peer).map_err(|fault| fault.to_string())?;
    let judged = shared.ends.judge(&said);
    if let Err(why) = &judged {
        complain(peer, why);
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_won_takes_the_place_from_nobody() {
        let data = Mutex::new(Some(7));
        assert!(place(false, &data).is_err());
        assert_eq!(place(true, &data), Ok(7));
        assert!(place(true, &data).is_err());
    }
}
