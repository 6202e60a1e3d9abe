//! Whether a peer is the right one: its certificate is exactly the one that Ganeti gave, and it is
//! in its time. Pure. Names and issuers never count.

/// The certificate to expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// DER.
    pub der: Vec<u8>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity.
    pub not_after: i64,
}

/// Why a peer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has another certificate.
    #[error("its certificate is not the one that Ganeti gave for the peer")]
    Other,
    /// Ganeti's throw-away certificates are for a day.
    #[error("the peer's certificate has expired")]
    Expired,
    /// The clocks of the two nodes differ.
    #[error("the peer's certificate is not valid yet: compare the clocks of both nodes")]
    NotYet,
}

impl Pin {
    /// Judges the certificate that a peer shows at this time.
    pub fn judge(&self, shown: &[u8], now: i64) -> Result<(), Refused> {
        match now {
            _ if self.der.is_empty() || self.der != shown => Err(Refused::Other),
            now if now < self.not_before => Err(Refused::NotYet),
            now if now > self.not_after => Err(Refused::Expired),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_certificate_in_its_time_and_no_other() {
        let pin = Pin {
            der: vec![1, 2, 3],
            not_before: 10,
            not_after: 20,
        };
        for (shown, now, verdict) in [
            (&[1, 2, 3][..], 10, Ok(())),
            (&[1, 2, 3], 20, Ok(())),
            (&[1, 2, 3], 9, Err(Refused::NotYet)),
            (&[1, 2, 3], 21, Err(Refused::Expired)),
            (&[1, 2], 15, Err(Refused::Other)),
            (&[1, 2, 3, 4], 15, Err(Refused::Other)),
            (&[], 15, Err(Refused::Other)),
            (&[3, 2, 1], 9, Err(Refused::Other)),
        ] {
            assert_eq!(pin.judge(shown, now), verdict, "{shown:?} {now}");
        }
        let nothing = Pin { der: vec![], ..pin };
        assert_eq!(nothing.judge(&[], 15), Err(Refused::Other));
    }
}
