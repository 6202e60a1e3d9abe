//! Addresses from which a candidate called last that `ssconf_master_candidates_ips` does not name: a
//! candidate's other interface, or a router that translates addresses. Their next connections may
//! have the worker that is kept for candidates.
//!
//! An address proves nothing: nobody is admitted or refused for it, and a candidate that has left the
//! map takes its addresses with it.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use rules::identity::PeerIdentity;

/// Most addresses that are remembered; one more displaces the one that was not seen for longest.
const MOST: usize = 64;

/// The addresses, the one seen last at the end, each with who was admitted from there last.
#[derive(Debug, Default)]
pub struct Callers(Mutex<Vec<PeerIdentity>>);

impl Callers {
    /// Remembers an admitted peer's address.
    pub fn saw(&self, peer: &PeerIdentity) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.address != peer.address);
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(peer.clone());
    }

    /// Whether the peer that was admitted from this address last is admitted still, as the rule says.
    pub fn is_of_one_still_admitted(
        &self,
        address: IpAddr,
        rule: impl FnOnce(&PeerIdentity) -> bool,
    ) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .find(|known| known.address == address)
            .is_some_and(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::identity::Digest;
    use std::sync::Arc;

    fn peer(certificate: u8, last: u8) -> PeerIdentity {
        PeerIdentity {
            address: IpAddr::from([192, 0, 2, last]),
            digest: Digest::from_bytes([certificate; 20]),
            der: Arc::from([]),
            common_name: None,
            not_before: 0,
            not_after: 0,
        }
    }

    #[test]
    fn the_last_peer_of_each_address_is_asked_about_and_the_oldest_address_goes() {
        let callers = Callers::default();
        let known = |certificate, last| {
            let address = IpAddr::from([192, 0, 2, last]);
            let rule = |known: &PeerIdentity| known.digest == peer(certificate, last).digest;
            callers.is_of_one_still_admitted(address, rule)
        };
        assert!(!known(1, 0));
        for last in 0..MOST as u8 {
            callers.saw(&peer(1, last));
        }
        callers.saw(&peer(2, 0));
        assert!(known(2, 0) && !known(1, 0) && known(1, 1), "the last one");
        callers.saw(&peer(3, 200));
        assert!(!known(1, 1), "the oldest");
        assert!(known(2, 0) && known(1, 2) && known(3, 200));
        assert_eq!(callers.0.lock().unwrap().len(), MOST);
    }
}
