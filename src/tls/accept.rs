//! The server's side of TLS: the acceptor, and the handshake that turns a connection into a peer.
//!
//! It never admits anybody: it proves who the peer is, and the caller decides.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{
    self, AlpnError, Ssl, SslContext, SslMethod, SslRef, SslVerifyMode, select_next_proto,
};
use openssl::stack::Stack;
use openssl::x509::X509Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_openssl::SslStream;

use super::buffered::Buffered;
use super::credentials::{Credentials, peer_identity};
use super::ecdsa::EcdsaCertificate;
use super::failure::{HandshakeError, meaning, missing_alert};
use super::hello::accepts_p256;
use super::profile::Profile;
use super::verify::{PeerCheck, Verdict, VerifyContext, verify_peer};
use rules::dn::Name;
use rules::identity::PeerIdentity;
use rules::{Named, named};

/// How long a refused client is given to read its alert and close.
const LINGER: Duration = Duration::from_millis(500);

/// Makes the server's side of TLS sessions.
#[derive(Clone)]
pub struct Acceptor {
    context: SslContext,
    /// Ciphers up to TLS 1.2 for clients that do not accept the ECDSA certificate, if there is one.
    without_ecdsa: Option<Arc<str>>,
}

impl Acceptor {
    /// An acceptor with the identity of `server.pem`, and beside it the ECDSA certificate if there
    /// is one. It asks `check` about each peer and sends `client_cas` as the client CA list. An
    /// empty list is legal (RFC 5246 7.4.4, RFC 8446 4.2.4) and lets any client offer what it has.
    pub fn new(
        credentials: &Credentials,
        ecdsa: Option<&EcdsaCertificate>,
        profile: Profile,
        check: PeerCheck,
        client_cas: &[Name],
    ) -> Result<Self, ErrorStack> {
        let mut context = profile.builder(SslMethod::tls_server())?;
        credentials.show(&mut context)?;
        if let Some(EcdsaCertificate(minted)) = ecdsa {
            // Beside server.pem: the library chooses by what the client says it can verify.
            minted.show(&mut context)?;
        }
        let mut names = Stack::<X509Name>::new()?;
        for name in client_cas {
            names.push(X509Name::from_der(name.der())?)?;
        }
        context.set_client_ca_list(names);
        context.set_session_id_context(b"noded-proxy")?;
        let verify = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        context.set_verify_callback(verify, move |_, session| verify_peer(&check, session));
        context.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x08http/1.1", offered).ok_or(AlpnError::NOACK)
        });
        let ciphers = profile.ciphers().to_owned() + ":!aECDSA";
        Ok(Self {
            context: context.build(),
            without_ecdsa: ecdsa.is_some().then(|| ciphers.into()),
        })
    }

    /// A new session with a client at `address`, and the context in which the verdict is found
    /// after the handshake. `received` is the start of what the client has sent.
    pub(super) fn session(
        &self,
        address: IpAddr,
        received: &[u8],
    ) -> Result<(Ssl, Arc<VerifyContext>), ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        if let Some(ciphers) = &self.without_ecdsa
            && !accepts_p256(received)
        {
            ssl.set_cipher_list(ciphers)?;
        }
        let context = VerifyContext::attach(&mut ssl, address)?;
        Ok((ssl, context))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

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

// The label of `noded_proxy_tls_connections_total`.
named! {
    /// A version of TLS.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Version {
        /// TLS 1.3.
        Tls13 = "TLSv1.3",
        /// TLS 1.2.
        Tls12 = "TLSv1.2",
        /// TLS 1.1 or 1.0, with `tls.legacy`.
        Older = "older",
    }
}

/// Waits for the first byte of the client's request; an error with the reason when it closes without
/// one. Until then only the session occupies memory.
pub(crate) async fn speaks(stream: &mut SslStream<Buffered>) -> Result<(), String> {
    let byte = poll_fn(|context| Pin::new(&mut *stream).poll_peek(context, &mut [0]));
    match byte.await {
        Ok(1..) => Ok(()),
        Ok(0) => Err("it closed the connection".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Acceptor {
    /// Performs the server's side of the handshake. It has no deadline of its own. It drops `turn`
    /// as soon as the handshake is decided: a refused client that still reads its alert holds up
    /// nobody. `address` is the peer's, never an IPv4 address in IPv6 form.
    pub async fn accept<T>(
        &self,
        tcp: Buffered,
        address: IpAddr,
        turn: T,
    ) -> Result<Accepted, HandshakeError> {
        let internal = |error: ErrorStack| HandshakeError::Protocol(error.to_string());
        let (ssl, context) = self.session(address, tcp.ahead()).map_err(internal)?;
        let mut stream = SslStream::new(ssl, tcp).map_err(internal)?;
        let decided = Pin::new(&mut stream).accept().await;
        drop(turn);
        if let Err(error) = decided {
            if let Some(alert) = missing_alert(&error, stream.ssl()) {
                let _ = stream.get_mut().write_all(&alert).await;
            }
            // Boxed, so that the buffer of `linger` is not part of every admitted connection's
            // task.
            Box::pin(linger(stream.get_mut())).await;
            return Err(failed(&error, stream.ssl(), context.verdict()));
        }
        // What the library noted about the certificate and let pass. The next call of this thread
        // would take it for its own error.
        drop(ErrorStack::get());
        let certificate = stream
            .ssl()
            .peer_certificate()
            .ok_or(HandshakeError::NoCertificate)?;
        // What the callback copied counts only if it was asked about this very certificate.
        let der = certificate.to_der().map_err(internal)?;
        let seen = context.verdict().and_then(|verdict| verdict.peer);
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

/// What a failed handshake means, and what the verify callback has to do with it.
pub(super) fn failed(
    error: &ssl::Error,
    session: &SslRef,
    verdict: Option<Verdict>,
) -> HandshakeError {
    match verdict.map(|verdict| (verdict.admitted, verdict.peer)) {
        Some((false, Some(peer))) => HandshakeError::Refused(Box::new(peer)),
        Some((false, None)) => HandshakeError::Malformed("a date cannot be read".into(), None),
        Some((true, peer)) => meaning(error, session, peer),
        None => meaning(error, session, None),
    }
}

/// Reads on until a refused client has closed. If bytes are left unread at the close, the kernel
/// sends a reset, and the client loses its alert. In TLS 1.3 the request comes right behind the
/// certificate.
async fn linger(tcp: &mut Buffered) {
    tcp.say_end();
    let mut sink = [0; 4096];
    let drain = async { while matches!(tcp.read(&mut sink).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

fn version(ssl: &SslRef) -> Version {
    Version::from_name(ssl.version_str()).unwrap_or(Version::Older)
}
