//! Who calls, as far as it is known before the handshake: an address, and nothing that is proved.

use std::net::IpAddr;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A master candidate's address, by `ssconf_master_candidates_ips`, or that of the cluster. It
    /// is never lumped with its network.
    Candidate(IpAddr),
    /// Any other source: an IPv4 address, or the first 64 bits of an IPv6 address, because one host
    /// commands a whole network of that size.
    Other(IpAddr),
}

impl Caller {
    /// The caller at this address.
    pub fn new(address: IpAddr, candidate: bool) -> Self {
        match address.to_canonical() {
            known if candidate => Self::Candidate(known),
            IpAddr::V6(v6) => Self::Other(IpAddr::V6((v6.to_bits() >> 64 << 64).into())),
            v4 => Self::Other(v4),
        }
    }

    pub(super) fn is_candidate(self) -> bool {
        matches!(self, Self::Candidate(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_apart_by_address_or_network() {
        let caller = |text: &str, candidate| Caller::new(text.parse().unwrap(), candidate);
        let table = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:0:8000::1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ];
        for (one, two, same) in table {
            assert_eq!(
                caller(one, false) == caller(two, false),
                same,
                "{one} {two}"
            );
        }
        // A candidate shares nothing with the other addresses of its network.
        assert_ne!(caller("2001:db8::1", true), caller("2001:db8::1", false));
        assert_ne!(caller("2001:db8::1", true), caller("2001:db8::2", true));
    }
}
