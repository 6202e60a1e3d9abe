//! A stand-in for noded that keeps every byte it is sent and plays a script for each connection.
//!
//! One thread for each connection, as noded has one child. The script is a closure; [`Call`] has
//! the moves: answer as noded does, wait, close, reset, or write any bytes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Bound of every wait here: never reached unless the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One request as it came over the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Everything that was received.
    pub(crate) raw: Vec<u8>,
    /// How much of it the first read returned.
    pub(crate) first_read: usize,
    /// Where the body begins.
    pub(crate) head_length: usize,
}

impl Seen {
    pub(crate) fn head(&self) -> &str {
        std::str::from_utf8(&self.raw[..self.head_length]).unwrap()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.raw[self.head_length..]
    }

    /// The value of a header, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head().lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn is_whole(&self) -> bool {
        if self.head_length == 0 {
            return false;
        }
        let length = self
            .header("content-length")
            .and_then(|l| l.parse().ok())
            .unwrap_or(0);
        self.body().len() >= length
    }
}

/// How much of a request is read before the script has its say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All of it.
    Whole,
    /// Nothing: the script decides.
    Nothing,
}

/// The stub; dropping it ends all of its threads.
pub(crate) struct StubNoded {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    accepted: usize,
    now: usize,
    most: usize,
    /// Holders that may go on.
    released: usize,
    /// Connections that wait in [`Call::hold`].
    holding: usize,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until `done`; panics after [`PATIENCE`].
    fn wait(&self, what: &str, mut done: impl FnMut(&mut State) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while !done(&mut state) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the stub waited in vain: {what}");
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let result = with(&mut self.lock());
        self.changed.notify_all();
        result
    }
}

impl StubNoded {
    /// Reads each request whole, then plays `script`.
    pub(crate) fn start(script: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        Self::reading(Reading::Whole, script)
    }

    /// Answers each request with `[true, "<procedure>"]`.
    pub(crate) fn usual() -> Self {
        Self::start(Call::answer_as_noded)
    }

    /// As [`StubNoded::usual`], on this address.
    pub(crate) fn usual_at(address: SocketAddr) -> Self {
        Self::reading_at(address, Reading::Whole, Call::answer_as_noded)
    }

    /// Keeps each request until [`StubNoded::release`], then answers as [`StubNoded::usual`].
    pub(crate) fn holding() -> Self {
        Self::start(|call| {
            call.hold();
            call.answer_as_noded();
        })
    }

    /// Answers each request with these bytes and closes.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |call| call.write(&bytes))
    }

    pub(crate) fn reading(
        reading: Reading,
        script: impl Fn(&mut Call) + Send + Sync + 'static,
    ) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::reading_at(any, reading, script)
    }

    /// On this address.
    fn reading_at(
        address: SocketAddr,
        reading: Reading,
        script: impl Fn(&mut Call) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (for_thread, script) = (Arc::clone(&shared), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let number = for_thread.change(|state| {
                    state.accepted += 1;
                    state.now += 1;
                    state.most = state.most.max(state.now);
                    state.accepted - 1
                });
                if for_thread.lock().ended {
                    return;
                }
                let (shared, script) = (Arc::clone(&for_thread), Arc::clone(&script));
                thread::spawn(move || {
                    let mut call = Call {
                        stream,
                        number,
                        shared,
                        seen: Seen::default(),
                        left: false,
                    };
                    if reading == Reading::Nothing || call.read_request() {
                        script(&mut call);
                    }
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }

    /// The most connections that were served at a time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.lock().most
    }

    /// The requests received whole so far, in the order in which they were complete.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// Their procedures.
    pub(crate) fn procedures(&self) -> Vec<String> {
        let name = |seen: &Seen| {
            seen.head()
                .split(' ')
                .nth(1)
                .unwrap()
                .trim_start_matches('/')
                .to_owned()
        };
        self.seen().iter().map(name).collect()
    }

    /// As if nothing had come yet.
    pub(crate) fn forget(&self) {
        self.shared
            .change(|state| (state.seen.clear(), state.accepted = 0));
    }

    /// Waits until so many connections were accepted.
    pub(crate) fn wait_accepted(&self, connections: usize) {
        self.shared
            .wait("connections", |state| state.accepted >= connections);
    }

    /// Waits until so many requests were received whole.
    pub(crate) fn wait_seen(&self, requests: usize) {
        self.shared
            .wait("requests", |state| state.seen.len() >= requests);
    }

    /// Waits until so many connections wait in [`Call::hold`].
    pub(crate) fn wait_holding(&self, connections: usize) {
        self.shared
            .wait("held connections", |state| state.holding >= connections);
    }

    /// Lets so many holders go on, those of later connections among them.
    pub(crate) fn release(&self, connections: usize) {
        self.shared
            .change(|state| state.released = state.released.saturating_add(connections));
    }

    /// Nobody is held any more.
    pub(crate) fn release_all(&self) {
        self.release(usize::MAX);
    }
}

impl Drop for StubNoded {
    fn drop(&mut self) {
        self.shared.change(|state| state.ended = true);
        let _ = TcpStream::connect(self.address); // wakes the accept loop
    }
}

/// One connection to the stub.
pub(crate) struct Call {
    pub(crate) stream: TcpStream,
    /// How many came before it.
    pub(crate) number: usize,
    pub(crate) seen: Seen,
    shared: Arc<Shared>,
    left: bool,
}

impl Call {
    /// Reads until head and body are there; false when the peer closes before.
    pub(crate) fn read_request(&mut self) -> bool {
        self.read_in_bites(256 << 10)
    }

    /// As [`Call::read_request`], with reads of this size.
    pub(crate) fn read_in_bites(&mut self, size: usize) -> bool {
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        let mut buffer = vec![0; size];
        while !self.seen.is_whole() {
            let Ok(count @ 1..) = self.stream.read(&mut buffer) else {
                return false;
            };
            let seen = &mut self.seen;
            if seen.raw.is_empty() {
                seen.first_read = count;
            }
            seen.raw.extend_from_slice(&buffer[..count]);
            if seen.head_length == 0 {
                let end = seen.raw.windows(4).position(|w| w == b"\r\n\r\n");
                seen.head_length = end.map_or(0, |at| at + 4);
            }
        }
        let seen = self.seen.clone();
        self.shared.change(|state| state.seen.push(seen));
        true
    }

    pub(crate) fn procedure(&self) -> String {
        self.seen
            .head()
            .split(' ')
            .nth(1)
            .unwrap()
            .trim_start_matches('/')
            .to_owned()
    }

    /// Waits for [`StubNoded::release`] or the end of the stub.
    pub(crate) fn hold(&mut self) {
        self.shared.change(|state| state.holding += 1);
        self.shared.wait("release", |state| {
            let go = state.released > 0;
            state.released -= usize::from(go && state.released != usize::MAX);
            go || state.ended
        });
        self.shared.change(|state| state.holding -= 1);
    }

    /// The answer that noded gives, with this body.
    pub(crate) fn answer(&mut self, body: &[u8]) {
        let mut reply = reply_head(body.len() as u64).into_bytes();
        reply.extend_from_slice(body);
        self.write(&reply);
    }

    pub(crate) fn answer_as_noded(&mut self) {
        let body = format!("[true, \"{}\"]", self.procedure());
        self.answer(body.as_bytes());
    }

    /// Writes bytes. From now on this connection counts as done: its peer may open the next one.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.leave();
        let _ = self.try_write(bytes);
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Makes the close at the end of this call a TCP reset.
    pub(crate) fn reset(&mut self) {
        self.leave();
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// True when the peer closed or reset; waits for it.
    pub(crate) fn peer_left(&mut self) -> bool {
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        let mut rest = [0; 4096];
        loop {
            match self.stream.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Whether the peer ends the connection with a reset; waits for the end.
    pub(crate) fn peer_resets(&mut self) -> bool {
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        let end = io::copy(&mut self.stream, &mut io::sink());
        end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }

    fn leave(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            self.shared.change(|state| state.now -= 1);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The head of noded's answers.
pub(crate) fn reply_head(length: u64) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Server: Ganeti 3.0.2\r\nContent-Length: {length}\r\n\r\n"
    )
}
