//! What was read of one node, as plain values that can be written to a file and read back.
//!
//! Nothing is judged here, and no secret is ever in it: of a key there is its public half, of a
//! password whether it can be read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::Digest;
use crate::shown::{CommonName, printable};
use crate::ssh_keys::pairs::List;

/// What was found where a file should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", content = "value", rename_all = "snake_case")]
pub enum Seen<T> {
    /// Nothing.
    #[default]
    Absent,
    /// Something that cannot be read or understood, and why.
    Faulty(String),
    /// What it says.
    Good(T),
}

impl<T> Seen<T> {
    /// What it says, if it says anything.
    pub fn good(&self) -> Option<&T> {
        match self {
            Self::Good(value) => Some(value),
            Self::Absent | Self::Faulty(_) => None,
        }
    }
}

/// All that was read of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// The node's name, as Ganeti has it, else that of the host.
    pub host: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Paths that this user may not read: what is in them is not known.
    pub forbidden: Vec<String>,
    /// Ganeti's lists of nodes.
    pub lists: Lists,
    /// `ssconf_master_candidates_certs`, as (UUID, digest).
    pub map: Seen<Vec<(String, Digest)>>,
    /// `config.data`, on candidates.
    pub configuration: Seen<Configuration>,
    /// Certificates with their keys.
    pub certificates: Certificates,
    /// The SSH keys of root.
    pub ssh: Ssh,
    /// `rapi/users`.
    pub rapi_users: Seen<Vec<RapiUser>>,
    /// Files that must not be open to everybody, and those that should not be here.
    pub files: Vec<File>,
    /// The running proxy; `None` for a recorded tree.
    pub proxy: Option<Proxy>,
}

/// Ganeti's lists of names in ssconf; `None` for one that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lists {
    /// All nodes.
    pub nodes: Option<Vec<String>>,
    /// Master candidates.
    pub candidates: Option<Vec<String>>,
    /// Offline nodes.
    pub offline: Option<Vec<String>>,
    /// The master.
    pub master: Option<String>,
}

/// The parts of `config.data` that are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Configuration {
    /// The nodes by UUID.
    pub nodes: BTreeMap<String, Node>,
    /// The candidate map, as text: UUID to digest.
    pub candidate_certs: BTreeMap<String, String>,
    /// Whether Ganeti manages the SSH keys.
    pub modify_ssh_setup: bool,
    /// Its serial number, which each change raises.
    #[serde(default)]
    pub serial: u64,
    /// Ganeti's version when it was written, as 3000000 for 3.0; 0 if it does not say.
    #[serde(default)]
    pub version: u64,
}

impl Configuration {
    /// Whether Ganeti gives each node an SSH pair of its own: from 2.13 on, unless it was told not to
    /// (`gnt-cluster init --no-ssh-init`).
    pub fn manages_keys(&self) -> bool {
        self.modify_ssh_setup && (self.version == 0 || self.version >= 2_130_000)
    }
}

/// A node in `config.data`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it is a master candidate.
    pub master_candidate: bool,
    /// Whether it is offline.
    pub offline: bool,
    /// Whether it is drained.
    pub drained: bool,
}

/// Certificates with their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificates {
    /// `server.pem`.
    pub server: Pem,
    /// `client.pem`.
    pub client: Pem,
    /// Former `client.pem`s.
    pub client_backups: Vec<Pem>,
    /// Those of the remote API and of SPICE that are there.
    pub services: Vec<Pem>,
}

/// A file that should hold a key and its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pem {
    /// Where it is.
    pub path: String,
    /// Its first certificate.
    pub certificate: Seen<Certificate>,
    /// Why its key cannot be used, or does not fit the certificate.
    pub key_fault: Option<String>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-1 of the DER.
    pub digest: Digest,
    /// The subject's common name.
    pub common_name: Option<CommonName>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// Whether the key is RSA.
    pub rsa: bool,
    /// Size of the key in bits.
    pub key_bits: u32,
    /// Algorithm of the signature, in OpenSSL's long form.
    pub signature: String,
    /// Whether `server.pem` signed it; `None` without a `server.pem`.
    pub signed_by_server: Option<bool>,
    /// How the issuer's name compares with the subject of `server.pem`.
    pub issuer_name: Option<SameName>,
}

/// How two names compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameName {
    /// In every byte.
    Same,
    /// The same text in other string types.
    OtherTypes,
    /// Another name.
    Other,
}

/// The SSH keys of root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ssh {
    /// Root's directory of keys.
    pub directory: String,
    /// `ganeti_pub_keys`.
    pub pub_keys: Seen<PubKeys>,
    /// Who has which pair, where `ssh-keys` sees to that and not Ganeti.
    pub pairs: Seen<List>,
    /// The files that sshd reads for root.
    pub authorized: Vec<AuthorizedFile>,
    /// Files with keys in root's directory.
    pub key_files: Vec<KeyFile>,
    /// Further sources of authorized keys that sshd is told of: these are not read.
    pub elsewhere: Vec<String>,
}

/// `ganeti_pub_keys`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PubKeys {
    /// The keys, each with the UUID of its node.
    pub keys: Vec<(String, PublicKey)>,
    /// Lines that cannot be read.
    pub bad_lines: Vec<BadLine>,
}

/// A line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// Why not.
    pub why: String,
}

/// A public SSH key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// Its type, such as `ssh-rsa`.
    pub kind: String,
    /// Its fingerprint, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// The comment behind it.
    pub comment: String,
}

/// As people see it: everything in it is short and printable.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", printable(&self.kind), self.fingerprint)?;
        match self.comment.as_str() {
            "" => Ok(()),
            comment => write!(f, " {}", printable(comment)),
        }
    }
}

/// One file of authorized keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuthorizedFile {
    /// Where it is.
    pub path: String,
    /// Its lines.
    pub lines: Seen<AuthorizedLines>,
}

/// The lines of a file of authorized keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuthorizedLines {
    /// Those with a key.
    pub keys: Vec<Authorized>,
    /// Those that cannot be read.
    pub bad_lines: Vec<BadLine>,
}

/// One authorized key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorized {
    /// Number of its line, from 1.
    pub line: usize,
    /// The options in front of it.
    pub options: Vec<String>,
    /// The key.
    pub key: PublicKey,
}

/// A file with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    /// Where it is.
    pub path: String,
    /// Its name in the directory.
    pub name: String,
    /// Whether it holds a private key.
    pub private: bool,
    /// Whether it belongs to root, or to whoever recorded the tree.
    #[serde(default)]
    pub of_root: bool,
    /// The public key, or the public half of the private one.
    pub key: Seen<PublicKey>,
}

/// A user of the remote API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RapiUser {
    /// The name.
    pub name: String,
    /// Whether the password can be read from the file.
    pub clear_text: bool,
    /// Whether the user may change the cluster.
    pub write: bool,
}

/// What a file is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It holds a secret: others may neither read nor write it.
    Secret,
    /// A private key of root's, which sshd and ssh want for root alone.
    RootKey,
    /// Others may read it, and not write it.
    Trusted,
    /// The configuration of the cluster.
    Configuration,
    /// A former configuration of the cluster.
    ConfigurationBackup,
    /// A former `client.pem`.
    ClientBackup,
    /// The key of the remote API.
    RapiKey,
    /// The users of the remote API.
    RapiUsers,
    /// The certificate of a move between clusters.
    MoveCertificate,
    /// The status directory of a disk transfer, which is written to as long as it lives.
    MoveTransfer,
}

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it is.
    pub path: String,
    /// What it is there for.
    pub purpose: Purpose,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: Owner,
    /// Its group.
    pub group: Owner,
    /// When it was changed, seconds since 1970.
    pub modified: i64,
}

/// A user or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The number.
    pub id: u32,
    /// The name, if it has one.
    pub name: Option<String>,
    /// Whether it is root, one of Ganeti's, or whoever recorded the tree.
    pub trusted: bool,
}

/// What the running proxy says, and what is seen beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// Why it did not answer.
    pub down: Option<String>,
    /// noded serves the RPC port by itself, with its own TLS, and nowhere else.
    pub unused: bool,
    /// The RPC port is open.
    pub ready: bool,
    /// Audit mode: nobody is refused.
    pub audit: bool,
    /// Why somebody should look, by its kind and in words.
    pub faults: Vec<(String, String)>,
    /// Certificates that several nodes use, with the nodes.
    pub shared: Vec<(Digest, Vec<String>)>,
    /// How noded can be reached past the proxy.
    pub past: Vec<String>,
}
