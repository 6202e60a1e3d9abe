//! The rule: may this peer command the node daemon now?
//!
//! Pure. [`authorise`] is a function of plain values, and its answer is the [`Permit`] without which
//! `forward` accepts no request. It is asked in the handshake (for the TLS alert), after it, and
//! again for each request, each time with the admission of that moment.

use crate::candidates::{Admission, Nobody};
use crate::identity::PeerIdentity;

/// What the administrator decided beyond the candidate map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Refuse certificates outside their validity. Off by default: noded does not look at the dates
    /// either, and the renewal of an expired certificate needs RPC.
    pub reject_expired: bool,
}

/// Proof that [`authorise`] admitted the peer. It cannot be made anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    key: Box<str>,
    outside_validity: Option<Denied>,
}

impl Permit {
    /// The key of the candidate map that admitted the peer (usually the node UUID), or
    /// `server.pem` in the bootstrap phase.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Set when the certificate is expired or not yet valid and was admitted all the same.
    pub fn outside_validity(&self) -> Option<Denied> {
        self.outside_validity
    }
}

/// Why a peer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// The certificate's digest is not in the candidate map.
    #[error("the certificate's digest is not in the candidate map")]
    UnknownDigest,
    /// Bootstrap phase, and the certificate is not that of `server.pem`.
    #[error("there is no candidate map yet, and the certificate is not that of server.pem")]
    BootstrapRefused,
    /// Nobody is admitted at present.
    #[error("{0}")]
    Nobody(Nobody),
    /// Past its validity, with `reject_expired`.
    #[error("the certificate has expired")]
    Expired,
    /// Before its validity, with `reject_expired`.
    #[error("the certificate is not yet valid")]
    NotYetValid,
}

impl Denied {
    /// The reason's name, as in the label of `noded_proxy_rejected_connections_total`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownDigest => "unknown_digest",
            Self::BootstrapRefused => "bootstrap_refused",
            Self::Nobody(_) => "nobody_admitted",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }

    /// Every name that [`Denied::reason`] can return.
    pub const REASONS: [&'static str; 5] = [
        "unknown_digest",
        "bootstrap_refused",
        "nobody_admitted",
        "expired",
        "not_yet_valid",
    ];
}

/// Admits the peer or says why not; `now` is in seconds since 1970.
pub fn authorise(
    peer: &PeerIdentity,
    admission: &Admission,
    policy: Policy,
    now: i64,
) -> Result<Permit, Denied> {
    let key = match admission {
        Admission::Listed(map) => map.key_of(&peer.digest).ok_or(Denied::UnknownDigest)?,
        Admission::Bootstrap(server) if *server == peer.digest => "server.pem",
        Admission::Bootstrap(_) => return Err(Denied::BootstrapRefused),
        Admission::Nobody(why) => return Err(Denied::Nobody(*why)),
    };
    let outside_validity = match () {
        () if now > peer.not_after => Some(Denied::Expired),
        () if now < peer.not_before => Some(Denied::NotYetValid),
        () => None,
    };
    match outside_validity {
        Some(why) if policy.reject_expired => Err(why),
        _ => Ok(Permit {
            key: key.into(),
            outside_validity,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidates::{MapFile, parse};
    use crate::identity::Digest;
    use std::sync::Arc;

    const NOW: i64 = 1_000;

    fn peer(digest: u8, not_before: i64, not_after: i64) -> PeerIdentity {
        PeerIdentity {
            digest: Digest::from_bytes([digest; 20]),
            der: Arc::from([]),
            common_name: None,
            not_before,
            not_after,
        }
    }

    fn listed(digests: &[u8]) -> Admission {
        let text: Vec<String> = digests
            .iter()
            .map(|d| format!("uuid-{d}={}", Digest::from_bytes([*d; 20])))
            .collect();
        match parse(text.join("\n").as_bytes()) {
            MapFile::Listed(map) => Admission::Listed(Arc::new(map)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_rule_as_a_table() {
        let boot = Admission::Bootstrap(Digest::from_bytes([9; 20]));
        let nobody = Admission::Nobody(Nobody::NotInCluster);
        let strict = Policy {
            reject_expired: true,
        };
        let lax = Policy::default();
        let (now, past, future) = (peer(1, 0, 2_000), peer(1, 0, 999), peer(1, 1_001, 2_000));
        let table = [
            ("listed", &now, listed(&[1, 2]), lax, Ok(("uuid-1", None))),
            (
                "not listed",
                &now,
                listed(&[2, 3]),
                lax,
                Err(Denied::UnknownDigest),
            ),
            (
                "expired",
                &past,
                listed(&[1]),
                lax,
                Ok(("uuid-1", Some(Denied::Expired))),
            ),
            (
                "early",
                &future,
                listed(&[1]),
                lax,
                Ok(("uuid-1", Some(Denied::NotYetValid))),
            ),
            (
                "expired, strict",
                &past,
                listed(&[1]),
                strict,
                Err(Denied::Expired),
            ),
            (
                "early, strict",
                &future,
                listed(&[1]),
                strict,
                Err(Denied::NotYetValid),
            ),
            (
                "expired and unknown",
                &past,
                listed(&[2]),
                strict,
                Err(Denied::UnknownDigest),
            ),
            (
                "bootstrap, server.pem",
                &peer(9, 0, 2_000),
                boot.clone(),
                lax,
                Ok(("server.pem", None)),
            ),
            (
                "bootstrap, client.pem",
                &now,
                boot,
                lax,
                Err(Denied::BootstrapRefused),
            ),
            (
                "server.pem once listed",
                &peer(9, 0, 2_000),
                listed(&[1]),
                lax,
                Err(Denied::UnknownDigest),
            ),
            (
                "nobody",
                &now,
                nobody,
                lax,
                Err(Denied::Nobody(Nobody::NotInCluster)),
            ),
        ];
        for (case, peer, admission, policy, expected) in table {
            let found = authorise(peer, &admission, policy, NOW);
            let found = found
                .as_ref()
                .map(|p| (p.key(), p.outside_validity()))
                .map_err(|d| *d);
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn validity_includes_its_first_and_last_second() {
        let strict = Policy {
            reject_expired: true,
        };
        assert!(authorise(&peer(1, NOW, NOW), &listed(&[1]), strict, NOW).is_ok());
    }

    #[test]
    fn every_reason_is_in_the_closed_list() {
        use Denied::*;
        let all = [
            UnknownDigest,
            BootstrapRefused,
            Nobody(super::Nobody::NoGoodMap),
            Expired,
            NotYetValid,
        ];
        assert_eq!(all.map(Denied::reason), Denied::REASONS);
    }
}
