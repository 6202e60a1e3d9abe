//! Which TLS is spoken: versions, groups and ciphers, for both directions.
//!
//! It never resumes a session, renegotiates or compresses, and it never looks at a certificate.

use openssl::error::ErrorStack;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVersion,
};

/// How strict TLS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// TLS 1.2 and 1.3; AEAD ciphers with forward secrecy only.
    Modern,
    /// For nodes that cannot be upgraded: also TLS 1.0 and 1.1, RSA key exchange, 1024-bit keys,
    /// SHA-1.
    Legacy,
}

impl Profile {
    /// Ciphers up to TLS 1.2.
    pub(super) fn ciphers(self) -> &'static str {
        match self {
            Self::Modern => "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK",
            Self::Legacy => "ALL:!aNULL:!eNULL:!EXPORT:!DES:!3DES:!RC4:!MD5:!PSK",
        }
    }

    /// A context without certificates, for a server or a client.
    pub(super) fn builder(self, method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
        let mut context = SslContext::builder(method)?;
        let options = SslOptions::NO_TICKET | SslOptions::CIPHER_SERVER_PREFERENCE;
        context.set_options(options | SslOptions::NO_RENEGOTIATION);
        #[cfg(not(feature = "aws-lc"))]
        context.set_options(SslOptions::NO_COMPRESSION); // AWS-LC cannot compress
        // hyper moves its write buffer between two tries. Without this mode OpenSSL fails the
        // second.
        context.set_mode(
            SslMode::RELEASE_BUFFERS
                | SslMode::ENABLE_PARTIAL_WRITE
                | SslMode::ACCEPT_MOVING_WRITE_BUFFER,
        );
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        #[cfg(not(feature = "aws-lc"))]
        context.set_num_tickets(0)?; // else OpenSSL sends TLS 1.3 tickets; AWS-LC obeys NO_TICKET
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
        set_groups(&mut context)?;
        Ok(context)
    }
}

/// With a part that a quantum computer does not break, where the library has it (AWS-LC, OpenSSL
/// 3.5).
const QUANTUM_SAFE: &str = "X25519MLKEM768:";
/// OpenSSL also binds the curves of client certificates to this list in TLS 1.2, so it has one more.
const GROUPS: &str = if cfg!(feature = "aws-lc") {
    "X25519:P-256:P-384"
} else {
    "X25519:P-256:P-384:P-521"
};

/// The groups for the key exchange, the best first.
fn set_groups(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    let all = QUANTUM_SAFE.to_owned() + GROUPS;
    context
        .set_groups_list(&all)
        .or_else(|_| context.set_groups_list(GROUPS))
}
