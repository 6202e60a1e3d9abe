//! The two ends of a channel between machines that know each other's exact certificate.
//!
//! A [`Pinned`] end asks a check about the certificate that the peer shows, byte for byte. Names,
//! issuers and chains never count, no session is resumed, and a peer without a certificate is
//! refused. The caller asks the check again after the handshake, on [`Channel::peer`]. A stream
//! that ends without the peer's orderly end (`close_notify`) is never an end here: it is a fault.
//!
//! Another program may compare names, though its one CA is this end's exact certificate. An end that
//! listens shows it a certificate for the names that it looks for, signed by its own.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, Error, ErrorCode, HandshakeError, Ssl, SslContext, SslContextBuilder, SslMethod,
    SslStream, SslVerifyMode, select_next_proto,
};
use openssl::x509::{X509StoreContextRef, X509VerifyResult};

use super::credentials::Credentials;
use super::ecdsa::EcdsaCertificate;
use super::failure::words;
use super::profile::Profile;

/// Whether the handshake with the owner of this certificate (DER) may go on.
pub(crate) type PinCheck = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

const VERIFY: SslVerifyMode = SslVerifyMode::PEER.union(SslVerifyMode::FAIL_IF_NO_PEER_CERT);

/// Alerts that may be the answer to a certificate.
const REFUSALS: [&str; 4] = [
    "certificate",
    "unknown ca",
    "access denied",
    "handshake failure",
];

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It waits for the peer.
    Listens,
    /// It calls the peer.
    Calls,
}

/// Which certificate the peer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The own one: the peer pins it.
    Own,
    /// One for names that the own one has signed, if there is one and the peer can verify it.
    Named {
        /// Whether the peer has its curve ([`accepts_p256`](super::accepts_p256)).
        p256: bool,
    },
}

/// Makes channels to one peer.
pub(crate) struct Pinned {
    context: SslContext,
    end: End,
    /// With a certificate for names, if there is one.
    named: Option<SslContext>,
}

impl Pinned {
    /// An end that shows `own`. `protocol` (in the form of ALPN: a byte with the length, then the
    /// name) is what two ends of this program agree on.
    pub(crate) fn new(
        own: &Credentials,
        end: End,
        protocol: &'static [u8],
    ) -> Result<Self, ErrorStack> {
        let method = match end {
            End::Listens => SslMethod::tls_server(),
            End::Calls => SslMethod::tls_client(),
        };
        let mut context = builder(own, method)?;
        match end {
            End::Calls => context.set_alpn_protos(protocol)?,
            End::Listens => context.set_alpn_select_callback(move |_, offered| {
                select_next_proto(protocol, offered).ok_or(AlpnError::NOACK)
            }),
        }
        Ok(Self {
            context: context.build(),
            end,
            named: None,
        })
    }

    /// Has a certificate for `names`, too, signed by the own one. If that cannot sign
    /// ([`NoEcdsaCertificate`]), nothing changes.
    ///
    /// [`NoEcdsaCertificate`]: super::NoEcdsaCertificate
    pub(crate) fn with_names(
        mut self,
        own: &Credentials,
        names: &BTreeSet<String>,
    ) -> Result<Self, ErrorStack> {
        if let Ok(EcdsaCertificate(minted)) = EcdsaCertificate::mint(own, names) {
            let mut context = builder(own, SslMethod::tls_server())?;
            minted.show(&mut context)?;
            self.named = Some(context.build());
        }
        drop(ErrorStack::get()); // of a certificate that cannot sign
        Ok(self)
    }

    fn session(&self, shown: Shown) -> Result<Ssl, ErrorStack> {
        let (Shown::Named { p256 }, Some(named)) = (shown, &self.named) else {
            return Ssl::new(&self.context);
        };
        let mut ssl = Ssl::new(named)?;
        if !p256 {
            ssl.set_cipher_list(&(Profile::Modern.ciphers().to_owned() + ":!aECDSA"))?;
        }
        Ok(ssl)
    }

    /// Shakes hands with whom `check` lets pass. The stream bounds the time.
    pub(crate) fn handshake<S: Read + Write>(
        &self,
        tcp: S,
        shown: Shown,
        check: PinCheck,
    ) -> Result<Channel<S>, String> {
        let mut ssl = self.session(shown).map_err(|error| error.to_string())?;
        ssl.set_verify_callback(VERIFY, move |_, session| allowed(&check, session));
        let done = match self.end {
            End::Listens => ssl.accept(tcp),
            End::Calls => ssl.connect(tcp),
        };
        match done {
            Ok(stream) => Ok(Channel { stream }),
            Err(HandshakeError::SetupFailure(error)) => Err(error.to_string()),
            Err(HandshakeError::Failure(half) | HandshakeError::WouldBlock(half)) => {
                Err(why(half.error()))
            }
        }
    }
}

/// With a certificate, and nobody to trust yet.
fn builder(own: &Credentials, method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = Profile::Modern.builder(method)?;
    own.show(&mut context)?;
    context.set_verify(VERIFY); // without a check nobody is right
    Ok(context)
}

/// The library calls this once for each thing that it finds wrong with the chain. Only the leaf
/// counts.
fn allowed(check: &PinCheck, session: &mut X509StoreContextRef) -> bool {
    let leaf = session.chain().and_then(|chain| chain.get(0));
    let is_right = matches!(leaf.map(|leaf| leaf.to_der()), Some(Ok(der)) if check(&der));
    if !is_right && session.error() == X509VerifyResult::OK {
        session.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    is_right
}

/// An error of the library in words.
fn why(error: &Error) -> String {
    match (error.io_error(), error.code()) {
        (Some(io), _) => io.to_string(),
        (None, ErrorCode::SYSCALL) => "the peer closed the connection".into(),
        (None, _) => of_alert(words(error)),
    }
}

/// What the peer says of this end's certificate is told as that; an alert may be of anything else, such
/// as damaged data.
fn of_alert(told: String) -> String {
    let alert = told.split_once(" alert ");
    let alert = alert.filter(|(of, _)| of.starts_with("tls") || of.starts_with("ssl"));
    match alert {
        Some((_, what)) if REFUSALS.iter().any(|refusal| what.contains(refusal)) => {
            format!("the peer refuses this end: {told}")
        }
        Some(_) => format!("the peer broke off: {told}"),
        None => told,
    }
}

/// What came from the peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// The peer's orderly end.
    End,
}

/// An encrypted stream to a peer.
pub(crate) struct Channel<S> {
    stream: SslStream<S>,
}

impl<S: Read + Write> Channel<S> {
    /// The certificate that the peer has proved to own (DER).
    pub(crate) fn peer(&self) -> Option<Vec<u8>> {
        let certificate = self.stream.ssl().peer_certificate()?;
        certificate.to_der().ok()
    }

    /// Whether both ends agreed on the protocol of this program.
    pub(crate) fn agreed(&self) -> bool {
        self.stream.ssl().selected_alpn_protocol().is_some()
    }

    /// The stream below.
    pub(crate) fn line(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Reads what there is, or waits. The `Read` of the library takes a closed connection for an
    /// end; this does not.
    pub(crate) fn receive(&mut self, into: &mut [u8]) -> Result<Received, String> {
        loop {
            match self.stream.ssl_read(into) {
                Ok(0) => return Err("the library read nothing".into()),
                Ok(count) => return Ok(Received::Bytes(count)),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => return Ok(Received::End),
                Err(error)
                    if error.code() == ErrorCode::WANT_READ && error.io_error().is_none() => {}
                Err(error) => return Err(why(&error)),
            }
        }
    }

    /// Sends all of it, as far as the stream below.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .map_err(|error| error.to_string())
    }

    /// Hands on what the stream below still holds.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stream.get_mut().flush()
    }

    /// Says the orderly end, and hands it on.
    pub(crate) fn say_end(&mut self) -> Result<(), String> {
        self.stream.shutdown().map_err(|error| why(&error))?;
        self.flush().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
#[path = "pinned_tests.rs"]
mod tests;
