//! What TLS we speak: versions, groups, ciphers, and what we never do (resume, renegotiate, compress).

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    AlpnError, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::stack::Stack;
use openssl::x509::{X509, X509Name, X509StoreContext, X509StoreContextRef, X509VerifyResult};

use super::credentials::{Credentials, peer_identity};
use super::hello::takes_p256;
use rules::dn::Name;
use rules::identity::PeerIdentity;

/// Asked inside the handshake whether the peer may go on, so that it gets a TLS alert if not.
pub type Gate = Arc<dyn Fn(&PeerIdentity) -> bool + Send + Sync>;

/// How strict TLS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// TLS 1.2 and 1.3; ECDHE only.
    Modern,
    /// For nodes that cannot be upgraded: also TLS 1.0 and 1.1, RSA key exchange, 1024-bit keys, SHA-1.
    Legacy,
}

impl Profile {
    /// Ciphers up to TLS 1.2.
    fn ciphers(self) -> &'static str {
        match self {
            Self::Modern => "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!MD5:!PSK",
            Self::Legacy => "ALL:!aNULL:!eNULL:!EXPORT:!DES:!3DES:!RC4:!MD5:!PSK",
        }
    }

    fn builder(self, method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
        let mut context = SslContext::builder(method)?;
        let options = SslOptions::NO_TICKET | SslOptions::CIPHER_SERVER_PREFERENCE;
        context.set_options(options | SslOptions::NO_RENEGOTIATION);
        #[cfg(not(feature = "aws-lc"))]
        context.set_options(SslOptions::NO_COMPRESSION); // AWS-LC has none
        // hyper moves its write buffer between two tries, which the library must be told to expect.
        context.set_mode(
            SslMode::RELEASE_BUFFERS
                | SslMode::ENABLE_PARTIAL_WRITE
                | SslMode::ACCEPT_MOVING_WRITE_BUFFER,
        );
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        #[cfg(not(feature = "aws-lc"))]
        context.set_num_tickets(0)?; // OpenSSL sends TLS 1.3 tickets otherwise; AWS-LC obeys NO_TICKET
        match self {
            Self::Modern => {
                context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
            }
            Self::Legacy => {
                context.set_min_proto_version(Some(SslVersion::TLS1))?;
                #[cfg(not(feature = "aws-lc"))]
                context.set_security_level(0);
            }
        }
        context.set_cipher_list(self.ciphers())?;
        context.set_groups_list("X25519:P-256:P-384")?;
        Ok(context)
    }
}

/// What the verify callback said of the peer.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) admitted: bool,
    pub(super) peer: Option<PeerIdentity>,
}

/// What the verify callback is told, and where it leaves its verdict for the code after the handshake.
pub(super) struct Asking {
    /// Where the peer calls from.
    from: IpAddr,
    verdict: Mutex<Option<Verdict>>,
}

impl Asking {
    fn from(from: IpAddr) -> Arc<Self> {
        let verdict = Mutex::default();
        Arc::new(Self { from, verdict })
    }

    /// Takes what the callback said, if it was called.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Verdict>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an [`Ssl`] carries its [`Asking`].
static ASKING: LazyLock<Result<Index<Ssl, Arc<Asking>>, ErrorStack>> =
    LazyLock::new(Ssl::new_ex_index);

/// Makes the server side of TLS sessions.
#[derive(Clone)]
pub struct Acceptor {
    context: SslContext,
    /// Ciphers up to TLS 1.2 for clients that do not take the ECDSA certificate, if there is one.
    without_leaf: Option<Arc<str>>,
}

impl Acceptor {
    /// An acceptor with the identity of `server.pem` that asks `gate` about each peer and sends these names
    /// as the client CA list. An empty list is legal (RFC 5246 7.4.4, RFC 8446 4.2.4) and lets any client
    /// offer what it has.
    pub fn new(
        credentials: &Credentials,
        profile: Profile,
        gate: Gate,
        client_cas: &[Name],
    ) -> Result<Self, ErrorStack> {
        let mut context = profile.builder(SslMethod::tls_server())?;
        identify(&mut context, credentials)?;
        if let Some(leaf) = &credentials.leaf {
            // Beside the other: the library chooses by what the client says it can verify.
            context.set_certificate(&leaf.certificate)?;
            context.set_private_key(&leaf.key)?;
            context.check_private_key()?;
        }
        let mut names = Stack::<X509Name>::new()?;
        for name in client_cas {
            names.push(X509Name::from_der(name.der())?)?;
        }
        context.set_client_ca_list(names);
        context.set_session_id_context(b"noded-proxy")?;
        let verify = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        context.set_verify_callback(verify, move |_, session| verify_peer(&gate, session));
        context.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x08http/1.1", offered).ok_or(AlpnError::NOACK)
        });
        let ciphers = profile.ciphers().to_owned() + ":!aECDSA";
        Ok(Self {
            context: context.build(),
            without_leaf: credentials.leaf.is_some().then(|| ciphers.into()),
        })
    }

    /// A new session with a client that calls from there, and the cell in which the verdict is found
    /// afterwards. `flight` is what has come of its first flight.
    pub(super) fn session(
        &self,
        from: IpAddr,
        flight: &[u8],
    ) -> Result<(Ssl, Arc<Asking>), ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        if let Some(ciphers) = &self.without_leaf
            && !takes_p256(flight)
        {
            ssl.set_cipher_list(ciphers)?;
        }
        let asking = Asking::from(from);
        let index = (*ASKING).as_ref().map_err(Clone::clone)?;
        ssl.set_ex_data(*index, Arc::clone(&asking));
        Ok((ssl, asking))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

/// The verify callback. OpenSSL calls it once for each thing it finds wrong with the chain; what it found does not
/// matter, the leaf alone does, and the answer of the first call holds for the others.
fn verify_peer(gate: &Gate, session: &mut X509StoreContextRef) -> bool {
    let asking = asking(session);
    let leaf = session.chain().and_then(|chain| chain.get(0));
    // A session that was not told where its peer calls from admits nobody.
    let peer = asking
        .as_ref()
        .zip(leaf)
        .map(|(a, leaf)| peer_identity(leaf, a.from));
    let judge = || {
        let peer = peer.and_then(Result::ok);
        Verdict {
            admitted: peer.as_ref().is_some_and(|peer| gate(peer)),
            peer,
        }
    };
    let admitted = match &asking {
        Some(asking) => asking.lock().get_or_insert_with(judge).admitted,
        None => false,
    };
    // The trust store is empty, so the first thing found wrong is always the unknown issuer. Left as it is,
    // it becomes the alert unknown_ca, the one that noded sends.
    if !admitted && session.error() == X509VerifyResult::OK {
        session.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    admitted
}

/// What the session that is being verified was told.
fn asking(session: &X509StoreContextRef) -> Option<Arc<Asking>> {
    let index = X509StoreContext::ssl_idx().ok()?;
    let asking = (*ASKING).as_ref().ok()?;
    session.ex_data(index)?.ex_data(*asking).cloned()
}

/// Makes the client side of TLS sessions towards noded: shows `server.pem` and accepts only `server.pem`.
#[derive(Clone)]
pub struct Connector {
    context: SslContext,
}

impl Connector {
    /// A connector with the identity of `server.pem` on both sides.
    pub fn new(credentials: &Credentials, profile: Profile) -> Result<Self, ErrorStack> {
        let mut context = profile.builder(SslMethod::tls_client())?;
        identify(&mut context, credentials)?;
        let pinned = credentials.info().der;
        context.set_verify_callback(SslVerifyMode::PEER, move |_, session| {
            let leaf = session
                .chain()
                .and_then(|chain| chain.get(0))
                .map(|leaf| leaf.to_der());
            matches!(leaf, Some(Ok(der)) if *der == *pinned)
        });
        Ok(Self {
            context: context.build(),
        })
    }

    pub(super) fn session(&self) -> Result<Ssl, ErrorStack> {
        Ssl::new(&self.context)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

fn identify(context: &mut SslContextBuilder, credentials: &Credentials) -> Result<(), ErrorStack> {
    context.set_certificate(&credentials.certificate)?;
    context.set_private_key(&credentials.key)?;
    context.check_private_key()?;
    credentials
        .chain
        .iter()
        .try_for_each(|c: &X509| context.add_extra_chain_cert(c.clone()))
}
