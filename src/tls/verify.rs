//! The check of the peer's certificate inside the handshake, so that a refused peer gets a TLS
//! alert.
//!
//! It never admits anybody for good: the caller decides again after the handshake, on the identity
//! that the handshake proved. The chain and what the library found wrong with it never count.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslRef};
use openssl::x509::{X509StoreContext, X509StoreContextRef, X509VerifyResult};
use rules::identity::PeerIdentity;

use super::credentials::peer_identity;

/// Whether the handshake with this peer may go on. If not, the peer gets a TLS alert.
pub type PeerCheck = Arc<dyn Fn(&PeerIdentity) -> bool + Send + Sync>;

/// What the verify callback found.
#[derive(Debug)]
pub(super) struct Verdict {
    /// What the [`PeerCheck`] said.
    pub(super) admitted: bool,
    /// The peer, if its certificate could be read.
    pub(super) peer: Option<PeerIdentity>,
}

/// What a session carries for the verify callback: the peer's address, and room for the verdict,
/// which the code after the handshake takes out.
pub(super) struct VerifyContext {
    address: IpAddr,
    verdict: Mutex<Option<Verdict>>,
}

/// Where an [`Ssl`] carries its [`VerifyContext`].
static VERIFY_CONTEXT: LazyLock<Result<Index<Ssl, Arc<VerifyContext>>, ErrorStack>> =
    LazyLock::new(Ssl::new_ex_index);

impl VerifyContext {
    /// Puts a context for a peer at `address` into a session.
    pub(super) fn attach(ssl: &mut SslRef, address: IpAddr) -> Result<Arc<Self>, ErrorStack> {
        let context = Arc::new(Self {
            address,
            verdict: Mutex::default(),
        });
        let index = (*VERIFY_CONTEXT).as_ref().map_err(Clone::clone)?;
        ssl.set_ex_data(*index, Arc::clone(&context));
        Ok(context)
    }

    /// The context of the session that is being verified.
    fn of(session: &X509StoreContextRef) -> Option<Arc<Self>> {
        let index = X509StoreContext::ssl_idx().ok()?;
        let context = (*VERIFY_CONTEXT).as_ref().ok()?;
        session.ex_data(index)?.ex_data(*context).cloned()
    }

    /// Takes the verdict out, if the callback was called.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Verdict>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The verify callback. The library calls it once for each thing that it finds wrong with the
/// chain. Only the leaf certificate matters, so the answer to the first call is the answer to all.
pub(super) fn verify_peer(check: &PeerCheck, session: &mut X509StoreContextRef) -> bool {
    let context = VerifyContext::of(session);
    let leaf = session.chain().and_then(|chain| chain.get(0));
    // A session without a context admits nobody: the peer's address is not known.
    let peer = context
        .as_ref()
        .zip(leaf)
        .map(|(context, leaf)| peer_identity(leaf, context.address));
    let judge = || {
        let peer = peer.and_then(Result::ok);
        Verdict {
            admitted: peer.as_ref().is_some_and(|peer| check(peer)),
            peer,
        }
    };
    let admitted = match &context {
        Some(context) => context.lock().get_or_insert_with(judge).admitted,
        None => false,
    };
    // The trust store is empty, so the first error is always the unknown issuer. It becomes the
    // alert unknown_ca, the one that noded sends. Should there be no error, the alert needs one.
    if !admitted && session.error() == X509VerifyResult::OK {
        session.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    admitted
}
