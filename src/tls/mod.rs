//! TLS and certificates: the only room that names the OpenSSL library.
//!
//! It turns a TCP connection into a stream and a [`PeerIdentity`](rules::identity::PeerIdentity),
//! and PEM text into plain values. It pins certificates and builds no PKI: a chain decides nothing.
//! It never admits anybody. The verify callback asks a [`PeerCheck`] only so that a refused client
//! gets a fitting alert. The caller decides after the handshake, on the identity that is returned
//! here.
//!
//! ```text
//!   accept       the server's side: acceptor and handshake
//!   connect      the client's side: towards noded, and for the demo
//!   verify       the check of the peer inside the handshake
//!   failure      what a failed handshake means
//!   leaf         the kind of key in a certificate
//!   rehearse     whether the acceptor would take a certificate, tried in memory
//!   hello        what must be known of a ClientHello before the library reads it
//!   ecdsa        the ECDSA certificate that server.pem signs
//!   wire         messages of a TLS client, for the rehearsal
//!   profile      versions, groups and ciphers
//!   credentials  PEM text to certificates, keys and plain values
//!   lone         a certificate without its key
//!   bundle       PEM text with several certificates, each of which stands for itself
//!   pinned       the two ends of a channel between machines that know each other's certificate
//!   ssh          the public half of an SSH key in PEM
//!   usage        whether a certificate is for servers alone
//!   mint         makes and signs certificates
//!   buffered     a TCP stream with fewer system calls
//! ```

mod accept;
mod buffered;
mod bundle;
mod connect;
mod credentials;
mod ecdsa;
mod failure;
mod hello;
mod leaf;
mod lone;
pub mod mint;
mod pinned;
mod profile;
mod rehearse;
mod ssh;
mod usage;
mod verify;
mod wire;

pub(crate) use accept::speaks;
pub use accept::{Accepted, Acceptor, Version};
pub use buffered::Buffered;
pub(crate) use bundle::bundle;
pub use connect::Connector;
pub(crate) use connect::{BlockingStream, connect_unverified};
#[cfg(test)]
pub(crate) use credentials::certificates_with;
pub use credentials::{CertificateInfo, Credentials, CredentialsError, Issuer, certificates};
pub(crate) use credentials::{certificate, fingerprint, first_der, pem};
pub use ecdsa::{EcdsaCertificate, NoEcdsaCertificate, ServerCertificate};
pub use failure::{HandshakeError, alert};
pub use hello::accepts_p256;
pub(crate) use hello::{is_enough, offers};
pub use leaf::KeyKind;
pub(crate) use lone::{Lone, from_base64};
pub use openssl::error::ErrorStack as LibraryError;
pub(crate) use pinned::{Channel, End, PinCheck, Pinned, Received, Shown};
pub use profile::Profile;
pub use rehearse::Rehearsal;
pub(crate) use ssh::ssh_public;
pub use tokio_openssl::SslStream as TlsStream;
pub(crate) use usage::excludes_clients;
pub use verify::PeerCheck;

pub(crate) use openssl::sha::Sha256;

/// Name and version of the TLS library this program is linked to.
pub(crate) fn library() -> &'static str {
    openssl::version::version()
}

/// Prepares the calling thread for handshakes. AWS-LC collects entropy for 40 ms before the first
/// random number of each thread, and no client should wait for that.
pub(crate) fn prepare_thread() {
    let _ = openssl::rand::rand_bytes(&mut [0]);
}
