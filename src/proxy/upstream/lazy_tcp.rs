//! A TCP connection that joins an event loop only when it must. On loopback it is established when
//! connect(2) returns, and its first bytes fit into the kernel's buffers. Neither needs a turn of
//! the event loop. It never blocks.

use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that is registered with the event loop on first use, so it belongs to the
/// worker that uses it, not to the one that opened it.
#[derive(Debug)]
pub struct LazyTcp(State);

#[derive(Debug)]
enum State {
    /// Nothing was written yet, so the kernel has room for the first bytes.
    Unused(Socket),
    Used(TcpStream),
    /// The event loop could not register it.
    Lost,
}

impl LazyTcp {
    /// Connects, and returns when the connection is established.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        match socket.connect(&address.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
                return Err(error);
            }
            _ => {}
        }
        if socket.peer_addr().is_ok() {
            return Ok(Self(State::Unused(socket)));
        }
        let tcp = TcpStream::from_std(socket.into())?;
        tcp.writable().await?;
        match tcp.take_error()? {
            None => Ok(Self(State::Used(tcp))),
            Some(error) => Err(error),
        }
    }

    /// The socket, for its options.
    pub(super) fn socket(&self) -> io::Result<SockRef<'_>> {
        match &self.0 {
            State::Unused(socket) => Ok(SockRef::from(socket)),
            State::Used(tcp) => Ok(SockRef::from(tcp)),
            State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The first write, if the kernel accepts some of it.
    fn at_once(
        &mut self,
        write: impl FnOnce(&Socket) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let State::Unused(socket) = &self.0 else {
            return None;
        };
        match write(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            written => Some(self.used().and(written)),
        }
    }

    fn used(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let State::Unused(_) = self.0
            && let State::Unused(socket) = std::mem::replace(&mut self.0, State::Lost)
        {
            self.0 = State::Used(TcpStream::from_std(socket.into())?);
        }
        match &mut self.0 {
            State::Used(tcp) => Ok(Pin::new(tcp)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for LazyTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.used()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for LazyTcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = self.at_once(|mut socket| socket.write(data)) {
            return Poll::Ready(written);
        }
        self.used()?.poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = self.at_once(|mut socket| socket.write_vectored(data)) {
            return Poll::Ready(written);
        }
        self.used()?.poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.used()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.used()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    #[tokio::test]
    async fn long_and_short_requests_arrive_whole() {
        for length in [1, 100_000, 30_000_000] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut fresh = LazyTcp::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let sent: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let writing = async {
                fresh.write_all(&sent).await.unwrap();
                fresh.shutdown().await.unwrap();
            };
            let reading = async {
                let (mut noded, _) = listener.accept().await.unwrap();
                let mut received = Vec::new();
                noded.read_to_end(&mut received).await.unwrap();
                received
            };
            assert!(tokio::join!(writing, reading).1 == sent, "{length}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        // A process that another test begins holds the port until it runs its own program.
        let refused = async {
            loop {
                match LazyTcp::connect(address).await {
                    Err(error) => break error,
                    Ok(_) => tokio::task::yield_now().await,
                }
            }
        };
        let error = timeout(Duration::from_secs(20), refused).await.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_full_backlog_is_waited_for() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut standing = Vec::new();
        let waiting = loop {
            assert!(standing.len() < 10, "the backlog does not fill");
            let mut connecting = Box::pin(LazyTcp::connect(address));
            match timeout(Duration::from_millis(200), &mut connecting).await {
                Ok(fresh) => standing.push(fresh.unwrap()),
                Err(_) => break connecting,
            }
        };
        for _ in &standing {
            socket.accept().unwrap();
        }
        let mut fresh = waiting.await.unwrap();
        fresh.write_all(b"late").await.unwrap();
    }
}
