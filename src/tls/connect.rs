//! The client's side of TLS: towards noded, and for the demo.
//!
//! A [`Connector`] never accepts another server certificate than that of `server.pem`, or, towards the
//! proxy, one that `server.pem` has signed.

use std::fmt;
use std::net::TcpStream;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::credentials::{Credentials, Issuer};
use super::failure;
use super::mint::CertifiedKey;
use super::profile::Profile;

/// Makes TLS sessions towards noded, or towards the proxy.
#[derive(Clone)]
pub struct Connector {
    context: SslContext,
}

impl Connector {
    /// A connector with the identity of `server.pem` on both sides.
    pub fn new(credentials: &Credentials, profile: Profile) -> Result<Self, ErrorStack> {
        let pinned = credentials.info().der;
        Self::accepting(credentials, profile, move |der| *der == *pinned)
    }

    /// A connector towards the proxy, as Ganeti's clients are: it shows the node's own certificate
    /// and accepts what is of this cluster.
    pub(crate) fn of_client(
        client: &Credentials,
        server: &Credentials,
        profile: Profile,
    ) -> Result<Self, ErrorStack> {
        let cluster = Issuer::new(server)?;
        Self::accepting(client, profile, move |der| cluster.issued(der))
    }

    fn accepting(
        own: &Credentials,
        profile: Profile,
        is_right: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ErrorStack> {
        let mut context = profile.builder(SslMethod::tls_client())?;
        own.show(&mut context)?;
        context.set_verify_callback(SslVerifyMode::PEER, move |_, session| {
            let leaf = session
                .chain()
                .and_then(|chain| chain.get(0))
                .map(|leaf| leaf.to_der());
            matches!(leaf, Some(Ok(der)) if is_right(&der))
        });
        Ok(Self {
            context: context.build(),
        })
    }

    /// Performs the client's side of the handshake towards noded. It has no deadline of its own.
    pub async fn connect<S>(&self, tcp: S) -> Result<SslStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ssl = Ssl::new(&self.context).map_err(|error| error.to_string())?;
        let mut stream = SslStream::new(ssl, tcp).map_err(|error| error.to_string())?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => Ok(stream),
            Err(error) => Err(failure::words(&error)),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// A TLS stream of a blocking client.
pub(crate) type BlockingStream = openssl::ssl::SslStream<TcpStream>;

/// A blocking client for the demo. It shows `identity`, or no certificate, and does not check whom
/// it talks to.
pub(crate) fn connect_unverified(
    tcp: TcpStream,
    identity: Option<&CertifiedKey>,
) -> Result<BlockingStream, String> {
    let mut context = SslContext::builder(SslMethod::tls_client()).map_err(|e| e.to_string())?;
    if let Some(identity) = identity {
        identity.show(&mut context).map_err(|e| e.to_string())?;
    }
    let ssl = Ssl::new(&context.build()).map_err(|error| error.to_string())?;
    ssl.connect(tcp).map_err(|error| error.to_string())
}
