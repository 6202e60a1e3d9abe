//! Throwaway certificates as Ganeti makes them. They are valid for a day, and no real cluster
//! trusts them.

use crate::tls::LibraryError;
use crate::tls::mint::{CertificateBuilder, CertifiedKey, common_name, rsa_key};

/// Size of the keys, in bits.
const BITS: u32 = 2048;

/// The cluster's certificate, which signs those of the nodes.
pub(super) struct Pki {
    server: CertifiedKey,
}

impl Pki {
    pub(super) fn new() -> Result<Self, LibraryError> {
        let name = common_name("ganeti.example.com")?;
        Ok(Self {
            server: CertificateBuilder::new(name, rsa_key(BITS)?).mint()?,
        })
    }

    pub(super) fn server(&self) -> &CertifiedKey {
        &self.server
    }

    /// A node's client certificate, signed by the cluster's.
    pub(super) fn client(&self, node: &str) -> Result<CertifiedKey, LibraryError> {
        CertificateBuilder::new(common_name(node)?, rsa_key(BITS)?)
            .signed_by(&self.server)
            .mint()
    }
}
