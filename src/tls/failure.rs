//! What a failed handshake means: the library's errors to a reason. It decides nothing.

use std::io;

use openssl::error::ErrorStack;
use openssl::ssl::{self, ErrorCode, SslRef, SslVersion};
use rules::identity::PeerIdentity;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client sent no certificate.
    #[error("the client sent no certificate")]
    NoCertificate,
    /// The [`PeerCheck`](super::PeerCheck) refused this peer.
    #[error("the peer was refused")]
    Refused(Box<PeerIdentity>),
    /// The client's certificate is not well formed: an impossible date, an extension twice. It
    /// comes without the peer where it could not be read at all.
    #[error("malformed certificate: {0}")]
    Malformed(String, Option<Box<PeerIdentity>>),
    /// The TLS library cannot do with the client's certificate: the kind of its key, what the key
    /// may be used for, its size.
    #[error("{0}")]
    Unusable(String, Option<Box<PeerIdentity>>),
    /// The client went away in the middle.
    #[error("the client went away during the handshake: {0}")]
    PeerClosed(String),
    /// Anything else.
    #[error("{0}")]
    Protocol(String),
}

/// What AWS-LC says of a key usage without digitalSignature.
const NO_SIGNATURES: &str = "key usage bit incorrect";

/// What the library says when a certificate is of no use to it, in plain words, and what that
/// means.
const UNUSABLE: &[(&str, &str)] = &[
    (
        NO_SIGNATURES,
        "the key usage forbids signatures (no digitalSignature)",
    ),
    ("excessive message size", "the certificate is too large"),
    ("unknown group", "the curve of the key is not known"),
    ("unsupported algorithm", "the kind of the key is not known"),
    (
        "unknown certificate type",
        "the kind of the key is not known",
    ),
    ("wrong signature type", "the kind of the key is not taken"),
    #[cfg(not(feature = "aws-lc"))] // AWS-LC says so of a key exchange
    ("wrong curve", "the curve of the key is not taken"),
];

/// What it says when it cannot make sense of one.
const MALFORMED: [&str; 2] = ["certificate verify failed", "cannot parse leaf cert"];

/// Libraries within the TLS library that read certificates.
const READERS: [&str; 3] = ["asn", "x.509", "x509"];

/// What a failed handshake means. `peer` is whose certificate the verify callback was asked about,
/// if it came to that; it did not refuse it.
pub(super) fn meaning(
    error: &ssl::Error,
    session: &SslRef,
    peer: Option<PeerIdentity>,
) -> HandshakeError {
    let peer = peer.map(Box::new);
    let reasons = Reasons::of(error);
    if reasons.say("peer did not return a certificate") {
        return HandshakeError::NoCertificate;
    }
    if matches!(error.code(), ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN) {
        let cause = error.io_error().map(ToString::to_string);
        return HandshakeError::PeerClosed(cause.unwrap_or_else(|| "connection closed".into()));
    }
    // Before the ciphers are agreed on, no certificate was sent. (OpenSSL does not say.)
    if session.current_cipher().is_some() || !cfg!(feature = "aws-lc") {
        let known = UNUSABLE.iter().find(|(words, _)| reasons.say(words));
        if let Some((_, meaning)) = known {
            return HandshakeError::Unusable((*meaning).into(), peer);
        }
        if reasons.are_of_a_reader() || MALFORMED.iter().any(|words| reasons.say(words)) {
            return HandshakeError::Malformed(reasons.first(error), peer);
        }
    }
    HandshakeError::Protocol(reasons.first(error))
}

/// The alert unsupported_certificate as a record, where the library goes away without one: AWS-LC
/// in TLS 1.2, because of the key usage. There the server still speaks in the clear.
pub(super) fn missing_alert(error: &ssl::Error, session: &SslRef) -> Option<[u8; 7]> {
    let minor = match session.version2()? {
        SslVersion::TLS1_2 => 3,
        SslVersion::TLS1_1 => 2,
        SslVersion::TLS1 => 1,
        _ => return None,
    };
    let silent = Reasons::of(error).say(NO_SIGNATURES);
    silent.then_some([21, 3, minor, 0, 2, 2, 43]) // RFC 5246, 6.2.1 and 7.2
}

/// Whether the handshake failed at the proof that the client has the key of its certificate, and
/// nowhere before.
pub(super) fn lacks_proof_alone(error: &ssl::Error) -> bool {
    Reasons::of(error).say("bad signature")
}

/// The alert with which the peer ended an open connection; nothing if it ended otherwise.
pub fn alert(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<ssl::Error>()?;
    Some(words(error)).filter(|words| words.contains("alert"))
}

/// In plain words, without the library's file names.
pub(super) fn words(error: &ssl::Error) -> String {
    Reasons::of(error).first(error)
}

/// The library's reasons for an error, in plain words, with the part of the library that says so.
struct Reasons(Vec<(String, String)>);

impl Reasons {
    fn of(error: &ssl::Error) -> Self {
        let plain = |text: &str| text.to_ascii_lowercase().replace('_', " ");
        let all = error.ssl_error().map_or(&[][..], ErrorStack::errors);
        let all = all
            .iter()
            .filter_map(|e| Some((plain(e.library()?), plain(e.reason()?))));
        Self(all.collect())
    }

    fn say(&self, words: &str) -> bool {
        self.0.iter().any(|(_, reason)| reason.contains(words))
    }

    fn are_of_a_reader(&self) -> bool {
        let reads = |library: &str| READERS.iter().any(|reader| library.starts_with(reader));
        self.0.iter().any(|(library, _)| reads(library))
    }

    /// The first one, without the library's file names and line numbers.
    fn first(&self, error: &ssl::Error) -> String {
        let first = self.0.first().map(|(_, reason)| reason.clone());
        first.unwrap_or_else(|| error.to_string())
    }
}
