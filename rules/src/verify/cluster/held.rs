//! Certificates and private SSH keys, and who has them. The master knows whose most of them are; one
//! that it does not know is told when two nodes have it.

use std::collections::BTreeMap;

use crate::identity::Digest;
use crate::shown::printable;
use crate::verify::Allowed;
use crate::verify::finding::Finding;
use crate::verify::ids::Id;
use crate::verify::observed::{Observed, Seen};

/// Keys of one node that are remembered.
const MOST_KEYS: usize = 100;

/// What a node has that no other should have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// The digest in `client.pem`, whose key is there, with the file's path.
    certificate: Option<(Digest, String)>,
    /// Fingerprints of private SSH keys, with the path of each.
    keys: BTreeMap<String, String>,
}

/// Whose a certificate or key is, as the master has it: the name of a node.
#[derive(Default)]
pub(super) struct Owners {
    certificates: BTreeMap<Digest, String>,
    /// On clusters with one pair for all, a key has several owners.
    keys: BTreeMap<String, Vec<String>>,
}

impl Owners {
    pub(super) fn of(master: &Observed) -> Self {
        let Seen::Good(configured) = &master.configuration else {
            return Self::default(); // nobody can say which UUID is which node's
        };
        let name = |uuid: &String| configured.nodes.get(uuid).map(|node| node.name.clone());
        let mut owners = Self::default();
        for (uuid, digest) in &configured.candidate_certs {
            if let (Some(name), Ok(digest)) = (name(uuid), digest.parse()) {
                owners.certificates.insert(digest, name);
            }
        }
        if let Some(list) = master
            .ssh
            .pairs
            .good()
            .filter(|_| !configured.manages_keys())
        {
            // A normal node that still has the shared one says so itself.
            let all = || configured.nodes.values().map(|node| node.name.clone());
            let shared = list.shared.iter();
            owners
                .keys
                .extend(shared.map(|key| (key.to_string(), all().collect())));
            let own = list.own.iter();
            let own = own.map(|(name, pair)| (pair.key.to_string(), vec![name.clone()]));
            owners.keys.extend(own);
        }
        let known = master.ssh.pub_keys.good();
        for (uuid, key) in known.iter().flat_map(|all| &all.keys) {
            let of = owners.keys.entry(key.fingerprint.clone()).or_default();
            of.extend(name(uuid));
        }
        owners
    }
}

impl Held {
    pub(super) fn of(seen: &Observed) -> Self {
        let client = &seen.certificates.client;
        let certificate = client.certificate.good();
        let certificate = certificate.filter(|_| client.key_fault.is_none());
        let private = seen.ssh.key_files.iter().filter(|file| file.private);
        let keys = private.filter_map(|file| {
            let key = file.key.good()?;
            Some((printable(&key.fingerprint), printable(&file.path)))
        });
        Self {
            certificate: certificate.map(|own| (own.digest, printable(&client.path))),
            keys: keys.take(MOST_KEYS).collect(),
        }
    }

    /// What is another node's, by what the master knows.
    pub(super) fn of_others(&self, name: &str, owners: &Owners) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some((digest, path)) = &self.certificate
            && let Some(owner) = owners.certificates.get(digest)
            && owner != name
        {
            let text = format!("digest {digest} is that of {}", printable(owner));
            found.push(Finding::new(Id::ClientStolen, path, text));
        }
        for (fingerprint, path) in &self.keys {
            let Some(of) = owners.keys.get(fingerprint) else {
                continue;
            };
            if let Some(owner) = of.first().filter(|_| !of.iter().any(|of| of == name)) {
                let text = format!("{fingerprint} is that of {}", printable(owner));
                found.push(Finding::new(Id::SshForeignKey, path, text));
            }
        }
        found
    }
}

/// What several nodes have and the master knows no owner of. `held` is by node.
pub(super) fn in_common(
    owners: &Owners,
    held: &BTreeMap<&str, &Held>,
    allowed: &Allowed,
) -> Vec<Finding> {
    let mut certificates: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, held) in held {
        if let Some((digest, _)) = &held.certificate {
            certificates
                .entry(*digest)
                .or_default()
                .push((*name).to_owned());
        }
        for (fingerprint, path) in &held.keys {
            let holders = keys.entry(fingerprint).or_default();
            holders.push(format!("{name} ({path})"));
        }
    }
    certificates.retain(|digest, _| !owners.certificates.contains_key(digest));
    keys.retain(|key, _| !owners.keys.contains_key(*key) && !allowed.allow_ssh_keys.contains(*key));
    let told = |id, subject: &str, holders: &[String]| {
        let text = format!("{} nodes have it: {}", holders.len(), holders.join(", "));
        (holders.len() > 1).then(|| Finding::new(id, subject, text))
    };
    let certificates = certificates.iter();
    let keys = keys.iter();
    let mut found: Vec<Finding> = certificates
        .filter_map(|(digest, of)| told(Id::CertificateTwice, &digest.to_string(), of))
        .chain(keys.filter_map(|(key, of)| told(Id::SshKeyTwice, key, of)))
        .collect();
    found.retain(|found| !allowed.ignore.contains(&found.id));
    found.sort();
    found
}
