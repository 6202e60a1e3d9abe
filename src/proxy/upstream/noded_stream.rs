//! A connection to noded, plain or with TLS. It never interprets the bytes that it carries.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lazy_tcp::LazyTcp;
use crate::tls::TlsStream;

/// A connection to noded; a new one has carried nothing yet.
#[derive(Debug)]
pub enum NodedStream {
    /// Plain TCP.
    Plain(LazyTcp),
    /// TLS with `server.pem` on both sides.
    Tls(Box<TlsStream<LazyTcp>>),
}

impl NodedStream {
    fn socket(&self) -> io::Result<SockRef<'_>> {
        match self {
            Self::Plain(tcp) => tcp.socket(),
            Self::Tls(tls) => tls.get_ref().socket(),
        }
    }

    /// Options for a request sent in several writes: TCP_NODELAY, and TCP_USER_TIMEOUT in case
    /// noded stops reading (RFC 5482, tcp(7)).
    pub(super) fn prepare_long(&self, send_timeout: Duration) -> io::Result<()> {
        let socket = self.socket()?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(send_timeout))
    }

    /// Lets the connection end with a reset instead of an orderly close.
    pub(super) fn reset(&self) {
        let _ = self
            .socket()
            .and_then(|socket| socket.set_linger(Some(Duration::ZERO)));
    }

    /// Returns the connection if noded still holds its end open. No byte of an answer can come
    /// before a request was sent. TLS 1.3 session tickets can: a read skips them and finds what
    /// follows.
    pub(super) fn if_open(mut self) -> Option<Self> {
        let open = match &mut self {
            Self::Plain(tcp) => {
                let nothing = tcp
                    .socket()
                    .and_then(|socket| socket.peek(&mut [MaybeUninit::uninit()]));
                matches!(nothing, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(tls) => {
                let (mut byte, mut context) = ([0], Context::from_waker(Waker::noop()));
                let nothing = Pin::new(tls).poll_read(&mut context, &mut ReadBuf::new(&mut byte));
                nothing.is_pending()
            }
        };
        open.then_some(self)
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl NodedStream {
    fn duplex(self: Pin<&mut Self>) -> Pin<&mut dyn Duplex> {
        Pin::new(match self.get_mut() {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut **tls,
        })
    }
}

impl AsyncRead for NodedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.duplex().poll_read(context, buffer)
    }
}

impl AsyncWrite for NodedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.duplex().poll_write(context, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.duplex().poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.duplex().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.duplex().poll_shutdown(context)
    }
}
