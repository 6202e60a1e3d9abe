//! TLS: the only room that names OpenSSL types. Acceptor and connector, and the handshake that turns a TCP
//! connection into a stream and a [`PeerIdentity`](rules::identity::PeerIdentity).
//!
//! Pinning, not PKI: the chain decides nothing. Inside the verify callback the [`Gate`] is asked so
//! that a refused client gets a fitting alert; the decision that counts is taken by the caller, after the
//! handshake, on the identity returned here.

mod accept;
mod buffered;
mod credentials;
mod hello;
mod leaf;
mod profile;

pub use accept::{Accepted, HandshakeError, Version, speaks};
pub use buffered::Buffered;
pub use credentials::{
    CertificateInfo, Credentials, CredentialsError, DigestFn, Issuer, certificate, certificates,
    certificates_with, pem,
};
pub use hello::takes_p256;
pub use leaf::{NoLeaf, Shown};
pub use profile::{Acceptor, Connector, Gate, Profile};

/// Name and version of the TLS library this program is linked to.
pub fn library() -> &'static str {
    openssl::version::version()
}

/// To be called by each thread that will shake hands: AWS-LC gathers entropy for 40 ms before a thread's first
/// random number, and the first client should not wait for it.
pub fn prepare_thread() {
    let _ = openssl::rand::rand_bytes(&mut [0]);
}
