//! From the bytes of `server.pem` to all that TLS needs of them.
//!
//! Acceptors are built here and nowhere else, so each of them asks the store about its peers. This
//! module never reads a file and never publishes anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::info;

use super::known::CaList;
use super::{Store, Tls};
use crate::tls::{
    Acceptor, Connector, Credentials, CredentialsError, EcdsaCertificate, Issuer, LibraryError,
    PeerCheck, Profile, ServerCertificate, fingerprint,
};

/// The server identity in force. The text that it was made of has the key in it, so of that it
/// keeps the hash alone.
pub(super) struct Identity {
    made_of: [u8; 32],
    pub(super) tls: Tls,
    /// What the minted certificate is good for, beside the names of `server.pem`.
    names: BTreeSet<String>,
    credentials: Credentials,
    ecdsa: Option<EcdsaCertificate>,
}

impl Identity {
    /// Whether it was made of this.
    pub(super) fn is_of(&self, pem: &[u8], names: &BTreeSet<String>) -> bool {
        self.made_of == fingerprint(pem) && self.names == *names
    }
}

/// Builds identities from what all of them have in common.
pub(super) struct IdentityBuilder {
    profile: Profile,
    certificate: ServerCertificate,
    peer_check: PeerCheck,
}

impl IdentityBuilder {
    /// Its acceptors ask this store whether a peer is admitted.
    pub(super) fn new(
        store: &Arc<Store>,
        profile: Profile,
        certificate: ServerCertificate,
    ) -> Self {
        // Weak, because the store holds the acceptor that holds this check.
        let store = Arc::downgrade(store);
        let peer_check: PeerCheck = Arc::new(move |peer| {
            store
                .upgrade()
                .is_some_and(|store| store.authorise(peer).is_ok())
        });
        Self {
            profile,
            certificate,
            peer_check,
        }
    }

    /// An identity from the content of `server.pem`, for a node that clients call by `names`.
    pub(super) fn build(
        &self,
        pem: &[u8],
        names: BTreeSet<String>,
    ) -> Result<Identity, CredentialsError> {
        let credentials = Credentials::from_pem(pem)?;
        let ecdsa = self.mint(&credentials, &names);
        let shown = match ecdsa {
            Some(_) => ServerCertificate::Ecdsa,
            None => ServerCertificate::ServerPem,
        };
        let tls = Tls {
            acceptor: self.acceptor(&credentials, ecdsa.as_ref(), &CaList::before_the_first())?,
            connector: Connector::new(&credentials, self.profile)?,
            shown,
            server: credentials.info(),
            issuer: Issuer::new(&credentials)?,
            client_cas: CaList::before_the_first(),
        };
        Ok(Identity {
            made_of: fingerprint(pem),
            names,
            tls,
            credentials,
            ecdsa,
        })
    }

    /// Puts a client CA list into an identity. If its names differ, the identity gets a new
    /// acceptor.
    pub(super) fn set_client_cas(
        &self,
        identity: &mut Identity,
        list: CaList,
    ) -> Result<(), LibraryError> {
        if list.names != identity.tls.client_cas.names {
            let ecdsa = identity.ecdsa.as_ref();
            identity.tls.acceptor = self.acceptor(&identity.credentials, ecdsa, &list)?;
        }
        identity.tls.client_cas = list;
        Ok(())
    }

    fn acceptor(
        &self,
        credentials: &Credentials,
        ecdsa: Option<&EcdsaCertificate>,
        list: &CaList,
    ) -> Result<Acceptor, LibraryError> {
        let check = Arc::clone(&self.peer_check);
        Acceptor::new(credentials, ecdsa, self.profile, check, &list.names)
    }

    /// The ECDSA certificate, if the configuration asks for it and `server.pem` can sign it.
    fn mint(&self, server: &Credentials, names: &BTreeSet<String>) -> Option<EcdsaCertificate> {
        if self.certificate == ServerCertificate::ServerPem {
            return None;
        }
        EcdsaCertificate::mint(server, names)
            .inspect_err(|why| {
                info!(%why, "clients are shown server.pem, not an ECDSA certificate signed by it");
            })
            .ok()
    }
}
