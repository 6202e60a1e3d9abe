//! The handshakes themselves.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, SslRef};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_openssl::SslStream;

use super::buffered::Buffered;
use super::credentials::peer_identity;
use super::profile::{Acceptor, Connector};
use rules::identity::PeerIdentity;
use rules::{Named, named};

/// How long a refused client is given to read its alert and close.
const LINGER: Duration = Duration::from_millis(500);

/// A completed handshake: who the peer is, and the stream to it.
#[derive(Debug)]
pub struct Accepted {
    /// The encrypted stream.
    pub stream: SslStream<Buffered>,
    /// What the handshake proved.
    pub peer: PeerIdentity,
    /// The version of TLS that it agreed on.
    pub version: Version,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.3.
    Tls13,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.1 or 1.0, with `tls.legacy`.
    Older,
}

// The label of `noded_proxy_tls_connections_total`.
named!(Version {
    Tls13 = "TLSv1.3",
    Tls12 = "TLSv1.2",
    Older = "older",
});

/// Waits for the first byte that the client says; `false` when it closes without one. Until then nothing is
/// held for it but the session.
pub async fn speaks(stream: &mut SslStream<Buffered>) -> bool {
    let byte = poll_fn(|context| Pin::new(&mut *stream).poll_peek(context, &mut [0]));
    matches!(byte.await, Ok(1..))
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client sent no certificate.
    #[error("the client sent no certificate")]
    NoCertificate,
    /// The gate refused this peer.
    #[error("the peer was refused")]
    Refused(Box<PeerIdentity>),
    /// The client went away in the middle.
    #[error("the client went away during the handshake: {0}")]
    PeerClosed(String),
    /// Anything else.
    #[error("{0}")]
    Protocol(String),
}

impl Acceptor {
    /// Performs the server's side of the handshake. It has no deadline of its own. `turn` is let go as
    /// soon as the handshake is decided, before a refused client is given its time to read why. `address` is
    /// where the peer calls from, never an IPv4 address in IPv6 form.
    pub async fn accept<T>(
        &self,
        tcp: Buffered,
        address: IpAddr,
        turn: T,
    ) -> Result<Accepted, HandshakeError> {
        let internal = |error: ErrorStack| HandshakeError::Protocol(error.to_string());
        let (ssl, asking) = self.session(address, tcp.ahead()).map_err(internal)?;
        let mut stream = SslStream::new(ssl, tcp).map_err(internal)?;
        let decided = Pin::new(&mut stream).accept().await;
        drop(turn);
        if let Err(error) = decided {
            Box::pin(linger(stream.get_mut())).await; // boxed, or each admitted connection had its buffer
            let refused = asking.verdict().filter(|verdict| !verdict.admitted);
            return Err(match refused.and_then(|verdict| verdict.peer) {
                Some(peer) => HandshakeError::Refused(Box::new(peer)),
                None => why(&error),
            });
        }
        let certificate = stream
            .ssl()
            .peer_certificate()
            .ok_or(HandshakeError::NoCertificate)?;
        // The callback was asked about the very same certificate, or what it copied counts for nothing.
        let der = certificate.to_der().map_err(internal)?;
        let seen = asking.verdict().and_then(|verdict| verdict.peer);
        let peer = match seen.filter(|peer| *peer.der == *der) {
            Some(peer) => peer,
            None => peer_identity(&certificate, address).map_err(internal)?,
        };
        let version = version(stream.ssl());
        stream.get_mut().gather();
        Ok(Accepted {
            stream,
            peer,
            version,
        })
    }
}

impl Connector {
    /// Performs the client's side of the handshake towards noded. It has no deadline of its own.
    pub async fn connect<S>(&self, tcp: S) -> Result<SslStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ssl = self.session().map_err(|error| error.to_string())?;
        let mut stream = SslStream::new(ssl, tcp).map_err(|error| error.to_string())?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => Ok(stream),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Closes politely: a client that has sent more than was read must still receive its alert, and the kernel
/// throws that away with a reset if bytes are left unread. (In TLS 1.3 the request comes with the certificate.)
async fn linger(tcp: &mut Buffered) {
    tcp.say_end();
    let mut sink = [0; 4096];
    let drain = async { while matches!(tcp.read(&mut sink).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

fn why(error: &openssl::ssl::Error) -> HandshakeError {
    let reasons = error.ssl_error().map_or(&[][..], ErrorStack::errors);
    let told = |text: &str| {
        reasons
            .iter()
            .filter_map(|e| e.reason())
            .any(|reason| reason.to_ascii_lowercase().replace('_', " ").contains(text))
    };
    match error.code() {
        _ if told("peer did not return a certificate") => HandshakeError::NoCertificate,
        ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN => {
            let cause = error.io_error().map(ToString::to_string);
            HandshakeError::PeerClosed(cause.unwrap_or_else(|| "connection closed".into()))
        }
        _ => {
            // The library's own words for it, without its file names and line numbers.
            let words = reasons.iter().find_map(|e| e.reason());
            let spoken = words.map(|words| words.to_ascii_lowercase().replace('_', " "));
            HandshakeError::Protocol(spoken.unwrap_or_else(|| error.to_string()))
        }
    }
}

fn version(ssl: &SslRef) -> Version {
    Version::from_name(ssl.version_str()).unwrap_or(Version::Older)
}
