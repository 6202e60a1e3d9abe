//! Whether the acceptor would take a client's certificate: a handshake in memory, without the key.
//!
//! The client's side is written by hand and speaks TLS 1.2, where everything up to the client's
//! proof of possession goes in the clear. It sends the certificate byte for byte, then a signature
//! of zeros. The server's side is a session of the acceptor itself. If all that it finds wrong is
//! the signature, it takes the certificate: it has read the message within its bounds, read the
//! certificate and its key, asked the verify callback, and accepted the key's usage and kind of
//! signature.
//!
//! Not covered: which certificates are admitted (the callback admits all), and what a client does by
//! itself. In TLS 1.3 the server reads a certificate by the same code. Only the curves differ, see
//! [`KeyKind::OtherCurve`].

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::ssl::{HandshakeError as Ended, MidHandshakeSslStream, SslVerifyMode};

use super::accept::{Acceptor, failed};
use super::failure::{HandshakeError, lacks_proof_alone};
use super::leaf::KeyKind;
use super::verify::{PeerCheck, VerifyContext, verify_peer};
use super::wire::{self, Flight};

/// What became of a certificate in a rehearsal.
#[derive(Debug)]
pub enum Rehearsal {
    /// It is taken, and only the proof of possession is missing.
    Taken,
    /// The server asks for no signature that a key of this kind can make, so a client keeps its
    /// certificate back.
    KeptBack(KeyKind),
    /// It is refused.
    Refused(HandshakeError),
    /// It could not be tried, and why.
    NotTried(String),
}

/// The two directions of a connection in memory.
#[derive(Debug, Default)]
struct Memory {
    to_server: io::Cursor<Vec<u8>>,
    to_client: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_server.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            some => Ok(some),
        }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_client.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Acceptor {
    /// Tries the certificate (DER) of a client.
    pub fn rehearse(&self, certificate: &[u8]) -> Rehearsal {
        let kind = KeyKind::of(certificate);
        let all = kind.signatures();
        // An RSA-PSS key may be bound to one hash function, so each has its try.
        let tries = match kind {
            KeyKind::RsaPss => all.chunks(1).collect(),
            _ => vec![all],
        };
        let mut results = tries.into_iter().map(|signatures| {
            let ended = self.try_certificate(certificate, kind, signatures);
            // What this thread does next must not take the library's errors for its own.
            drop(ErrorStack::get());
            ended.unwrap_or_else(Rehearsal::NotTried)
        });
        let first = results.next();
        let first = first.unwrap_or(Rehearsal::KeptBack(kind));
        match first {
            Rehearsal::Taken => first,
            _ => results
                .find(|result| matches!(result, Rehearsal::Taken))
                .unwrap_or(first),
        }
    }

    fn try_certificate(
        &self,
        certificate: &[u8],
        kind: KeyKind,
        signatures: &[u16],
    ) -> Result<Rehearsal, String> {
        let memory = Memory {
            to_server: io::Cursor::new(wire::client_hello()),
            ..Memory::default()
        };
        let (mut session, context) = self
            .session(
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                memory.to_server.get_ref(),
            )
            .map_err(|error| error.to_string())?;
        let all: PeerCheck = Arc::new(|_| true);
        let verify = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        session.set_verify_callback(verify, move |_, session| verify_peer(&all, session));
        let mut waiting = match session.accept(memory) {
            Err(Ended::WouldBlock(waiting)) => waiting,
            Err(Ended::Failure(failure)) => return Err(failure.error().to_string()),
            Err(Ended::SetupFailure(error)) => return Err(error.to_string()),
            Ok(_) => return Err("it ended before the certificate".into()),
        };
        let flight = Flight::read(&waiting.get_ref().to_client).ok_or("no request for one")?;
        let signature = match kind {
            KeyKind::Other => flight.signatures.first(), // let the library say what is wrong with it
            _ => signatures
                .iter()
                .find(|wanted| flight.signatures.contains(wanted)),
        };
        let Some(signature) = signature else {
            return Ok(Rehearsal::KeptBack(kind));
        };
        let answer = wire::client_flight(certificate, *signature);
        waiting.get_mut().to_server = io::Cursor::new(answer);
        end(waiting, &context)
    }
}

/// The rest of the handshake, after the client has sent all it has.
fn end(
    waiting: MidHandshakeSslStream<Memory>,
    context: &VerifyContext,
) -> Result<Rehearsal, String> {
    match waiting.handshake() {
        Err(Ended::Failure(failure)) if lacks_proof_alone(failure.error()) => Ok(Rehearsal::Taken),
        Err(Ended::Failure(failure)) => {
            let why = failed(failure.error(), failure.ssl(), context.verdict());
            Ok(Rehearsal::Refused(why))
        }
        Err(Ended::WouldBlock(_)) => Err("the server wants more than a client sends".into()),
        Err(Ended::SetupFailure(error)) => Err(error.to_string()),
        Ok(_) => Err("a signature of zeros was accepted".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint::{CertificateBuilder, CertifiedKey, common_name, p256_key, rsa_key};
    use crate::tls::{Credentials, Profile};
    use openssl::pkey::{PKey, Private};
    use openssl::x509::extension::{BasicConstraints, KeyUsage};

    fn mint(key: PKey<Private>, issuer: Option<&CertifiedKey>) -> CertifiedKey {
        let builder = CertificateBuilder::new(common_name("node1").unwrap(), key);
        let minted = match issuer {
            Some(issuer) => builder.signed_by(issuer).mint(),
            None => builder.mint(),
        };
        minted.unwrap()
    }

    /// An acceptor, whose own check refuses everybody, with this `server.pem`.
    fn acceptor(server: &CertifiedKey) -> Acceptor {
        let credentials = Credentials::from_pem(&server.pem().unwrap()).unwrap();
        let nobody: PeerCheck = Arc::new(|_| false);
        Acceptor::new(&credentials, None, Profile::Modern, nobody, &[]).unwrap()
    }

    fn der(certificate: &CertifiedKey) -> Vec<u8> {
        certificate.certificate.to_der().unwrap()
    }

    #[test]
    fn kinds_of_keys_are_taken_if_a_signature_is_asked_for() {
        let keys = [
            (rsa_key(2048).unwrap(), KeyKind::Rsa),
            (p256_key().unwrap(), KeyKind::P256),
            (PKey::generate_ed25519().unwrap(), KeyKind::Ed25519),
        ];
        for server in [rsa_key(2048).unwrap(), p256_key().unwrap()] {
            let server = mint(server, None);
            let acceptor = acceptor(&server);
            for (key, kind) in &keys {
                let certificate = der(&mint(key.clone(), Some(&server)));
                assert_eq!(KeyKind::of(&certificate), *kind);
                match acceptor.rehearse(&certificate) {
                    Rehearsal::Taken => assert!(kind.is_asked_for(), "{kind:?}"),
                    Rehearsal::KeptBack(back) => assert!(back == *kind && !kind.is_asked_for()),
                    other => panic!("{kind:?}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_the_library_refuses_is_told_apart() {
        let server = mint(rsa_key(2048).unwrap(), None);
        let acceptor = acceptor(&server);
        let constraints = || BasicConstraints::new().build().unwrap();
        let usage = KeyUsage::new().key_encipherment().build().unwrap();
        let certificate = |extensions: Vec<_>| {
            let name = common_name("node1").unwrap();
            let builder = CertificateBuilder::new(name, p256_key().unwrap()).x509_version(3);
            let add = |builder: CertificateBuilder<'static>, one| builder.extension(one);
            der(&extensions.into_iter().fold(builder, add).mint().unwrap())
        };
        let is_refused = |certificate: &[u8]| match acceptor.rehearse(certificate) {
            Rehearsal::Refused(HandshakeError::Malformed(..)) => Some("malformed"),
            Rehearsal::Refused(HandshakeError::Unusable(..)) => Some("unusable"),
            Rehearsal::Taken => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(is_refused(&certificate(vec![constraints()])), None);
        let strict = cfg!(feature = "aws-lc");
        let of = |word| strict.then_some(word);
        assert_eq!(is_refused(&certificate(vec![usage])), of("unusable"));
        let mut cut = certificate(vec![constraints()]);
        let long = [&cut[..], &[0; 120_000]].concat();
        assert_eq!(is_refused(&long), Some("unusable"));
        cut.pop();
        assert_eq!(is_refused(&cut), Some("malformed"));
    }
}
