//! A TCP connection of a transfer, with fewer system calls, a bound on the handshake, and an end
//! that is a reset unless it was said to be orderly.
//!
//! The original importer takes a plain end (FIN) for success, even without `close_notify`. So the
//! kernel is told at the start to reset the connection when the socket is closed, whoever closes
//! it: an error here, a panic, or the kill of the process. Only [`Line::orderly`] undoes that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, TcpKeepalive};

/// Bytes that are read or written at once.
const AT_ONCE: usize = 256 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    tcp: TcpStream,
    ahead: Vec<u8>,
    taken: usize,
    behind: Vec<u8>,
    deadline: Option<Instant>,
}

impl Line {
    /// Takes over a connection. It ends in a reset from now on.
    pub(super) fn new(tcp: TcpStream, handshake: Duration) -> io::Result<Self> {
        let socket = SockRef::from(&tcp);
        socket.set_linger(Some(Duration::ZERO))?;
        // As Ganeti has it.
        let alive = TcpKeepalive::new().with_time(Duration::from_secs(60));
        let alive = alive.with_interval(Duration::from_secs(10)).with_retries(5);
        socket.set_tcp_keepalive(&alive)?;
        tcp.set_nodelay(true)?;
        Ok(Self {
            tcp,
            ahead: Vec::new(),
            taken: 0,
            behind: Vec::with_capacity(AT_ONCE),
            deadline: Some(Instant::now() + handshake),
        })
    }

    /// The peer's address.
    pub(super) fn peer(&self) -> io::Result<IpAddr> {
        Ok(self.tcp.peer_addr()?.ip().to_canonical())
    }

    /// The handshake is over: a command may be silent as long as it likes.
    pub(super) fn unbounded(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.tcp.set_read_timeout(None)?;
        self.tcp.set_write_timeout(None)
    }

    /// From now on a close is orderly.
    pub(super) fn orderly(&mut self) -> io::Result<()> {
        SockRef::from(&self.tcp).set_linger(None)
    }

    /// Says that nothing more comes, and waits until the peer has closed. An error when the peer
    /// breaks off instead.
    pub(super) fn await_close(&mut self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)?;
        let mut sink = [0; 4096];
        while self.tcp.read(&mut sink)? > 0 {}
        Ok(())
    }

    /// What the peer says first, as soon as that is enough; it stays to be read. Less when the peer
    /// ends before.
    pub(super) fn first(&mut self, is_enough: fn(&[u8]) -> bool) -> io::Result<&[u8]> {
        let mut more = [0; 4096];
        while !is_enough(&self.ahead) {
            self.bounded()?;
            match self.tcp.read(&mut more).map_err(timed_out)? {
                0 => break,
                count => self.ahead.extend_from_slice(&more[..count]),
            }
        }
        Ok(&self.ahead)
    }

    /// Whether bytes are here that were not read.
    pub(super) fn has_ahead(&self) -> bool {
        self.taken < self.ahead.len()
    }

    /// Whether the peer has sent something, or has closed.
    pub(super) fn speaks(&self) -> bool {
        let mut looked = [PollFd::new(&self.tcp, PollFlags::IN)];
        self.has_ahead() || matches!(poll(&mut looked, Some(&Timespec::default())), Ok(1..))
    }

    /// Reads on for a while and forgets it, so that the peer gets what was said last: a socket that
    /// is closed with unread bytes sends a reset, which overtakes that.
    pub(super) fn drain(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        let _ = self.tcp.shutdown(Shutdown::Write);
        let mut sink = vec![0; AT_ONCE];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let bound = left.max(Duration::from_millis(1));
            let bounded = self.tcp.set_read_timeout(Some(bound));
            let got = self.tcp.read(&mut sink);
            if left.is_zero() || bounded.is_err() || !matches!(got, Ok(1..)) {
                return;
            }
        }
    }

    fn bounded(&self) -> io::Result<()> {
        let Some(deadline) = self.deadline else {
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.tcp.set_read_timeout(Some(left))?;
        self.tcp.set_write_timeout(Some(left))
    }
}

/// The kernel says "try again" when a bound is reached; the TLS library would do so.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ahead.len() {
            self.flush()?; // who waits for an answer has asked first
            self.bounded()?;
            self.ahead.resize(AT_ONCE, 0);
            self.taken = 0;
            let got = self.tcp.read(&mut self.ahead).map_err(timed_out);
            self.ahead.truncate(*got.as_ref().unwrap_or(&0));
            got?;
        }
        let ahead = &self.ahead[self.taken..];
        let count = ahead.len().min(into.len());
        into[..count].copy_from_slice(&ahead[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.behind.len() + bytes.len() > AT_ONCE {
            self.flush()?;
        }
        self.behind.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.behind.is_empty() {
            return Ok(());
        }
        self.bounded()?;
        let written = self.tcp.write_all(&self.behind).map_err(timed_out);
        self.behind.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        (Line::new(near, Duration::from_secs(9)).unwrap(), far)
    }

    #[test]
    fn a_connection_ends_in_a_reset_unless_it_was_said_to_be_orderly() {
        let (line, mut far) = pair();
        drop(line);
        let broken = far.read(&mut [0; 9]).unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
        let (mut line, mut far) = pair();
        line.orderly().unwrap();
        drop(line);
        assert_eq!(far.read(&mut [0; 9]).unwrap(), 0);
    }

    /// `keepalive,keepidle=60,keepintvl=10,keepcnt=5` of Ganeti's import-export.
    #[test]
    fn a_peer_that_is_gone_is_noticed_as_by_ganetis_program() {
        let (line, _far) = pair();
        let socket = SockRef::from(&line.tcp);
        assert!(socket.keepalive().unwrap());
        let times = [socket.tcp_keepalive_time(), socket.tcp_keepalive_interval()];
        assert_eq!(times.map(|time| time.unwrap().as_secs()), [60, 10]);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
    }

    #[test]
    fn a_handshake_has_a_bound_even_if_a_byte_comes_now_and_then() {
        let (mut line, mut far) = pair();
        line.deadline = Some(Instant::now());
        far.write_all(b"x").unwrap();
        assert_eq!(
            line.read(&mut [0; 9]).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        line.unbounded().unwrap();
        assert_eq!(line.read(&mut [0; 9]).unwrap(), 1);
    }

    #[test]
    fn what_the_peer_says_first_is_seen_and_stays_to_be_read() {
        let (mut line, mut far) = pair();
        far.write_all(b"he").unwrap();
        let says = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20)); // most likely a segment of its own
            far.write_all(b"llo").unwrap();
        });
        assert_eq!(line.first(|seen| seen.len() >= 5).unwrap(), b"hello");
        says.join().unwrap(); // it has ended: no more comes
        assert_eq!(line.first(|seen| seen.len() > 5).unwrap(), b"hello");
        let mut read = [0; 9];
        assert_eq!(line.read(&mut read).unwrap(), 5);
        assert_eq!(&read[..5], b"hello");
        assert_eq!(line.read(&mut read).unwrap(), 0);
    }

    #[test]
    fn the_first_word_has_the_bound_of_a_handshake() {
        let (mut line, _far) = pair();
        line.deadline = Some(Instant::now());
        let never = line.first(|_| false).unwrap_err();
        assert_eq!(never.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn what_was_written_is_sent_before_an_answer_is_waited_for() {
        let (mut line, mut far) = pair();
        line.write_all(b"question").unwrap();
        far.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
        let asked = std::thread::spawn(move || {
            far.read_exact(&mut [0; 8]).unwrap();
            far.write_all(b"a").unwrap();
            far
        });
        assert_eq!(line.read(&mut [0; 9]).unwrap(), 1);
        asked.join().unwrap();
    }
}
