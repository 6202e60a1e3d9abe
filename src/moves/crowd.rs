//! Who is connected to an importer before one has won: many at once, so that a silent stranger
//! takes nobody's place, and bounded, so that strangers cost little. Choosing whom to turn away is
//! pure; nobody who is verified is turned away for a stranger.

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many connections at once.
const MOST: usize = 64;

/// A connection that has not won.
#[derive(Debug)]
struct Visitor {
    id: u64,
    address: IpAddr,
    verified: bool,
    /// To wake whoever reads from it.
    tcp: TcpStream,
}

#[derive(Debug, Default)]
struct State {
    visitors: Vec<Visitor>,
    next: u64,
    won: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<State>);

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection; nothing when there is no place for it. It may push out another one that
    /// has not shown its certificate.
    pub(super) fn enter(&self, tcp: TcpStream, address: IpAddr) -> Option<u64> {
        let mut state = self.lock();
        if state.won {
            return None;
        }
        if state.visitors.len() >= MOST {
            let seen: Vec<_> = state
                .visitors
                .iter()
                .map(|v| (v.address, v.verified))
                .collect();
            let gone = state.visitors.remove(who_goes(&seen)?);
            let _ = gone.tcp.shutdown(Shutdown::Both);
        }
        let id = state.next;
        state.next += 1;
        state.visitors.push(Visitor {
            id,
            address,
            verified: false,
            tcp,
        });
        Some(id)
    }

    /// One has proved who it is. So many have.
    pub(super) fn verified(&self, id: u64) -> usize {
        let mut state = self.lock();
        for visitor in state.visitors.iter_mut().filter(|visitor| visitor.id == id) {
            visitor.verified = true;
        }
        state.verified()
    }

    /// One has left. So many verified ones are there.
    pub(super) fn leave(&self, id: u64) -> usize {
        let mut state = self.lock();
        state.visitors.retain(|visitor| visitor.id != id);
        state.verified()
    }

    /// Whether the transfer is this connection's: the first that asks. All others are turned away.
    pub(super) fn claim(&self, id: u64) -> bool {
        let mut state = self.lock();
        if state.won {
            return false;
        }
        state.won = true;
        for visitor in state.visitors.drain(..).filter(|visitor| visitor.id != id) {
            let _ = visitor.tcp.shutdown(Shutdown::Both);
        }
        true
    }

    /// Whether one has won.
    pub(super) fn is_decided(&self) -> bool {
        self.lock().won
    }
}

impl State {
    fn verified(&self) -> usize {
        self.visitors
            .iter()
            .filter(|visitor| visitor.verified)
            .count()
    }
}

/// The oldest of those that are not verified, of the address with the most such: a crowd of one
/// address cannot push out another address. Nobody if all are verified.
fn who_goes(visitors: &[(IpAddr, bool)]) -> Option<usize> {
    let strangers = || visitors.iter().filter(|(_, verified)| !verified);
    let of = |address: IpAddr| strangers().filter(|(other, _)| *other == address).count();
    let most = strangers().map(|(address, _)| of(*address)).max()?;
    visitors
        .iter()
        .position(|(address, verified)| !verified && of(*address) == most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn who_goes_as_a_table() {
        let a = |n: u8, verified| (IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), verified);
        for (visitors, goes) in [
            (vec![], None),
            (vec![a(1, true), a(2, true)], None),
            (vec![a(1, true), a(2, false)], Some(1)),
            (vec![a(1, false), a(2, false), a(2, false)], Some(1)),
            (
                vec![a(2, true), a(2, true), a(1, false), a(3, false)],
                Some(2),
            ),
            (
                vec![a(1, false), a(2, true), a(2, false), a(2, false)],
                Some(2),
            ),
        ] {
            assert_eq!(who_goes(&visitors), goes, "{visitors:?}");
        }
    }

    #[test]
    fn the_first_wins_and_all_others_are_turned_away() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let crowd = Crowd::default();
        let enter = || {
            let far = TcpStream::connect(own).unwrap();
            let (near, from) = listener.accept().unwrap();
            (crowd.enter(near.try_clone().unwrap(), from.ip()), near, far)
        };
        let (first, second) = (enter(), enter());
        assert!(!crowd.is_decided());
        assert!(crowd.claim(first.0.unwrap()));
        assert!(!crowd.claim(second.0.unwrap()) && crowd.is_decided());
        assert_eq!(enter().0, None);
        // The loser's connection was shut, the winner's was not.
        let ends = |mut far: &TcpStream| std::io::Read::read(&mut far, &mut [0; 9]);
        assert_eq!(ends(&second.2).unwrap(), 0);
        first.2.set_nonblocking(true).unwrap();
        assert!(ends(&first.2).is_err());
    }
}
