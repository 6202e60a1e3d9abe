//! The closed list of what `verify` can find: id, severity, what it is, why it matters, what to do.
//! The ids are an interface; the table in docs/verify.md is made of this. Nothing is looked at here.

use crate::{named, serde_by_name};

named! {
    /// How bad a finding is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Severity {
        /// Somebody gets in who should not, or is kept out who should get in.
        Error = "error",
        /// Somebody should look; or one node cannot decide it.
        Warning = "warning",
    }
}

serde_by_name!(Severity);

/// Declares the ids with all that is said of each.
macro_rules! ids {
    ($($variant:ident = $name:literal, $severity:ident: $what:literal
       why $why:literal do $remedy:literal)+) => {
        named! {
            /// What can be found.
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
            pub enum Id {
                $(#[doc = $what] $variant = $name),+
            }
        }

        impl Id {
            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// What it is, in general.
            pub fn what(self) -> &'static str {
                match self { $(Self::$variant => $what),+ }
            }

            /// Why it matters.
            pub fn why(self) -> &'static str {
                match self { $(Self::$variant => $why),+ }
            }

            /// What to do.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),+ }
            }
        }
    };
}

ids! {
    Unreadable = "unreadable", Warning:
        "a file cannot be read or understood, or a list is missing"
        why "what it says is not known, so findings may be missing"
        do "run verify as root; if root cannot read it, restore it from the master (gnt-cluster copyfile)"
    NotANode = "not_a_node", Warning:
        "this host is not in ssconf_node_list"
        why "its role is not known, so most of the checks cannot be done"
        do "run verify on a node; compare the host's name with gnt-node list"

    MapFaulty = "map_faulty", Error:
        "there is no candidate map, or it is empty or malformed"
        why "without a map noded admits the certificate of server.pem, which every node holds"
        do "on the master: gnt-cluster copyfile -n NODE FILE"
    MapCount = "map_count", Error:
        "the candidate map has another number of entries than there are master candidates"
        why "somebody is admitted who is no candidate, or a candidate is kept out"
        do "run verify on the master, which knows each entry's node"
    MapBootstrap = "map_bootstrap", Error:
        "the candidate map still has the entry bootstrap="
        why "a certificate from the beginning of the cluster is admitted for ever"
        do "gnt-cluster renew-crypto --new-node-certificates writes the map anew"
    MapDigestTwice = "map_digest_twice", Error:
        "two entries of the candidate map have the same digest"
        why "two nodes share a certificate, so the removal of one entry does not lock it out"
        do "gnt-cluster renew-crypto --new-node-certificates"
    MapDiffers = "map_differs", Error:
        "the map on this node is not that of the configuration"
        why "this node admits others than the cluster does"
        do "on the master: gnt-cluster copyfile -n NODE FILE; find out who changed it"
    MapEntryUnknown = "map_entry_unknown", Error:
        "an entry of the map belongs to no node of the configuration"
        why "whoever has that certificate can command every node; gnt-cluster verify does not see it"
        do "gnt-cluster renew-crypto --new-node-certificates writes the map anew; find out whose it is"
    MapEntryNoCandidate = "map_entry_no_candidate", Error:
        "an entry of the map belongs to a node that is no master candidate"
        why "that node can command every node"
        do "gnt-node modify -C yes NODE, then gnt-node modify -C no NODE; or gnt-cluster renew-crypto --new-node-certificates"
    MapEntryOffline = "map_entry_offline", Error:
        "an entry of the map belongs to an offline or drained node"
        why "whoever has that machine can command every node"
        do "gnt-cluster renew-crypto --new-node-certificates writes the map anew"
    MapEntryMissing = "map_entry_missing", Error:
        "a master candidate has no entry in the map"
        why "its RPCs are refused, and it cannot become master"
        do "gnt-node modify -C no NODE, then gnt-node modify -C yes NODE"
    MapEntryWithoutKey = "map_entry_without_key", Warning:
        "an entry of the map has a UUID that ganeti_pub_keys does not know"
        why "it may be that of no node at all"
        do "run verify on the master, which knows each entry's node"

    ServerPem = "server_pem", Error:
        "server.pem is absent or faulty, or its key does not fit"
        why "neither noded nor the proxy can serve with it"
        do "on the master: gnt-cluster copyfile -n NODE FILE"
    ClientPem = "client_pem", Error:
        "client.pem is faulty, or a candidate has none"
        why "this node cannot command others"
        do "gnt-cluster renew-crypto --new-node-certificates"
    ClientKey = "client_key", Error:
        "the key in client.pem does not fit its certificate"
        why "this node cannot command others; gnt-cluster verify does not see it"
        do "gnt-cluster renew-crypto --new-node-certificates"
    ClientIssuer = "client_issuer", Error:
        "client.pem is not signed by server.pem"
        why "noded refuses it, or it is of another cluster"
        do "gnt-cluster renew-crypto --new-node-certificates"
    ClientIssuerTypes = "client_issuer_types", Warning:
        "client.pem names its issuer in other string types than server.pem has"
        why "some TLS libraries take them for two names and show no certificate"
        do "gnt-cluster renew-crypto --new-node-certificates"
    ClientName = "client_name", Error:
        "the common name in client.pem is not that of this node"
        why "it is the certificate of another node, or the node was renamed"
        do "gnt-cluster renew-crypto --new-node-certificates; find out how it came here"
    ClientStolen = "client_stolen", Error:
        "this node has the certificate, with its key, of another node that is in the map"
        why "theft: this node can command every node in the other's name"
        do "take the key away; gnt-cluster renew-crypto --new-node-certificates; find out who copied it"
    ClientNotListed = "client_not_listed", Error:
        "this node is a master candidate, and its certificate is not in the map"
        why "its RPCs are refused, and it cannot become master"
        do "gnt-cluster renew-crypto --new-node-certificates"
    ServicePem = "service_pem", Error:
        "the certificate of the remote API or of SPICE is faulty, or its key does not fit"
        why "the remote API does not start, or nobody reaches the consoles"
        do "gnt-cluster renew-crypto --new-rapi-certificate or --new-spice-certificate; one of your own: write it to the file, then gnt-cluster redist-conf"
    CertificateExpired = "certificate_expired", Error:
        "a certificate has ended"
        why "clients that look at dates refuse it"
        do "gnt-cluster renew-crypto with --new-cluster-certificate (server.pem), --new-node-certificates (client.pem), --new-rapi-certificate or --new-spice-certificate"
    CertificateExpires = "certificate_expires", Warning:
        "a certificate ends within 30 days"
        why "clients that look at dates will refuse it"
        do "gnt-cluster renew-crypto with --new-cluster-certificate (server.pem), --new-node-certificates (client.pem), --new-rapi-certificate or --new-spice-certificate"
    CertificateNotYetValid = "certificate_not_yet_valid", Error:
        "a certificate begins in the future"
        why "clients that look at dates refuse it"
        do "compare the clocks of the nodes"
    CertificateWeak = "certificate_weak", Warning:
        "a certificate has a short key or an old signature"
        why "new TLS libraries refuse it, and in time it can be forged"
        do "gnt-cluster renew-crypto with --new-cluster-certificate (server.pem), --new-node-certificates (client.pem), --new-rapi-certificate or --new-spice-certificate"
    CertificateShared = "certificate_shared", Error:
        "the proxy saw one certificate from several nodes"
        why "its key was copied from one node to another"
        do "gnt-cluster renew-crypto --new-node-certificates; find out who copied it"

    ProxyDown = "proxy_down", Error:
        "the proxy does not answer"
        why "nobody can command this node, or noded is reached without the proxy"
        do "systemctl status noded-proxy; noded-proxy check"
    ProxyUnused = "proxy_unused", Warning:
        "the package is here, and no proxy stands before noded"
        why "noded itself decides who commands this node, as before"
        do "noded-proxy install --apply; on the master, for all nodes: noded-proxy install --cluster --apply"
    ProxyNotReady = "proxy_not_ready", Error:
        "the proxy does not listen on the RPC port"
        why "nobody can command this node"
        do "noded-proxy status says why"
    ProxyAudit = "proxy_audit", Error:
        "the proxy is in audit mode"
        why "it admits every node of the cluster"
        do "noded-proxy install --apply --mode enforce"
    ProxyMap = "proxy_map", Error:
        "the proxy cannot use the present candidate map"
        why "it decides by an older one: a demoted candidate is still admitted"
        do "noded-proxy status says what is wrong with the file"
    ProxyGuard = "proxy_guard", Error:
        "the guard of noded's port is missing"
        why "any local user may command noded"
        do "journalctl -u noded-proxy-guard; systemctl restart noded-proxy-guard"
    ProxyDegraded = "proxy_degraded", Warning:
        "the proxy says that somebody should look"
        why "it works, and something is not as it should be"
        do "docs/operations.md says what to do about each reason"
    NodedDown = "noded_down", Error:
        "the proxy does not reach noded"
        why "nobody can command this node"
        do "start ganeti-noded; compare NODED_ARGS with section upstream (noded-proxy check)"
    NodedOpen = "noded_open", Error:
        "noded can be reached past the proxy, or another process has its port"
        why "whoever reaches it can command the node without a certificate of a candidate"
        do "-b 127.0.0.1 in NODED_ARGS, the guard running; noded-proxy check tells more"

    SshOldKey = "ssh_old_key", Error:
        "a former key of a node is still authorized"
        why "renew-crypto --new-ssh-keys and --readd do not revoke: whoever has that key is root here"
        do "on the master: noded-proxy ssh-keys apply; or remove the line, on every node"
    SshNormalNode = "ssh_normal_node", Error:
        "the key of a node that is no master candidate is authorized"
        why "root on that node is root here"
        do "remove the line; or gnt-node modify -C yes NODE, then gnt-node modify -C no NODE; or noded-proxy ssh-keys apply"
    SshStranger = "ssh_stranger", Warning:
        "a key is authorized that is no node's"
        why "whoever has it is root here; verify cannot tell an administrator from an intruder"
        do "remove the line, or put its fingerprint in verify.allow_ssh_keys; one pair of all nodes: noded-proxy ssh-keys"
    SshAuthority = "ssh_authority", Warning:
        "a certification authority is authorized"
        why "whoever has its key can make certificates with which to be root here"
        do "remove the line, or put its fingerprint in verify.allow_ssh_keys"
    SshOptions = "ssh_options", Warning:
        "a candidate's key has options in front"
        why "Ganeti takes the key for missing, and does not remove it when the node is demoted"
        do "write the line without options, as Ganeti does"
    SshTwice = "ssh_twice", Warning:
        "a key is authorized twice"
        why "Ganeti removes lines one by one: one may stay behind"
        do "remove one of the lines"
    SshMissing = "ssh_missing", Error:
        "a master candidate's key is not authorized"
        why "as master it could not log in here"
        do "for that node: gnt-node modify -C no NODE, then gnt-node modify -C yes NODE"
    SshBadLine = "ssh_bad_line", Warning:
        "a line with a key cannot be understood"
        why "sshd may read it in another way, and verify cannot say whose key it is"
        do "repair or remove the line"
    SshElsewhere = "ssh_elsewhere", Warning:
        "sshd takes authorized keys from elsewhere, too"
        why "verify does not see who is authorized there"
        do "look there yourself; Ganeti knows /root/.ssh/authorized_keys alone"
    SshPubKeysAbsent = "ssh_pub_keys_absent", Error:
        "Ganeti manages the SSH keys, and ganeti_pub_keys is absent"
        why "nobody can say which key is whose, and Ganeti cannot remove them"
        do "gnt-cluster renew-crypto --new-ssh-keys --no-ssh-key-check writes it anew"
    SshPubKeysMissing = "ssh_pub_keys_missing", Error:
        "a master candidate has no key in ganeti_pub_keys"
        why "Ganeti does not remove its key when it is demoted; a renewal that failed leaves this"
        do "gnt-cluster renew-crypto --new-ssh-keys --no-ssh-key-check writes it anew"
    SshUnsorted = "ssh_unsorted", Warning:
        "it cannot be said which SSH keys are the candidates'"
        why "a key of a normal node would not be noticed"
        do "repair the map and ganeti_pub_keys; where Ganeti manages no keys, on the master: noded-proxy ssh-keys apply"
    SshForeignKey = "ssh_foreign_key", Error:
        "the private key of another node is here"
        why "theft: root on this node can log in wherever the other node can"
        do "delete the file; gnt-cluster renew-crypto --new-ssh-keys --no-ssh-key-check, then noded-proxy ssh-keys apply (alone where Ganeti manages no keys)"
    SshBackup = "ssh_backup", Warning:
        "a former private key is still here"
        why "wherever its public half is still authorized, it opens the door"
        do "delete the file when the new keys have proven good"
    SshUnknownKey = "ssh_unknown_key", Warning:
        "a private key is here whose public half cannot be read"
        why "it may be that of another node"
        do "ssh-keygen -y -f FILE shows the public half; delete the file if nobody needs it"
    SshOwnKeyAbsent = "ssh_own_key_absent", Error:
        "this master candidate has no private key"
        why "as master it could not log in anywhere"
        do "gnt-cluster renew-crypto --new-ssh-keys --no-ssh-key-check"
    SshOwnKeyAbsentHere = "ssh_own_key_absent_here", Warning:
        "this normal node has no private key"
        why "no harm now; after a promotion it could not log in anywhere"
        do "gnt-node add --readd NODE makes a new pair"
    SshOwnKeyUnlisted = "ssh_own_key_unlisted", Error:
        "the node's own key is not in ganeti_pub_keys"
        why "Ganeti would not remove it from other nodes when this node is demoted"
        do "gnt-node add --readd NODE, or gnt-cluster renew-crypto --new-ssh-keys --no-ssh-key-check"
    SshSharedKey = "ssh_shared_key", Warning:
        "this normal node has a private key that is authorized here, and Ganeti manages no keys"
        why "where one pair serves all nodes, root here is root on every node"
        do "on the master: noded-proxy ssh-keys apply takes it away here; with --own-pairs each candidate gets its own"
    SshHalves = "ssh_halves", Warning:
        "the public file beside a private key is that of another key"
        why "Ganeti reads the public file, and ssh uses the private one"
        do "ssh-keygen -y -f FILE > FILE.pub"
    SshDsa = "ssh_dsa", Warning:
        "the cluster's SSH keys are DSA"
        why "OpenSSH 10 (Debian 13) does not know DSA: after the upgrade no node reaches another"
        do "before the upgrade: gnt-cluster renew-crypto --new-ssh-keys --ssh-key-type=rsa --no-ssh-key-check"

    SecretReadable = "secret_readable", Error:
        "a file with a secret can be read by others"
        why "every local user can use the key or password"
        do "/usr/lib/ganeti/ensure-dirs repairs Ganeti's files; else chmod o-rwx FILE"
    FileWritable = "file_writable", Error:
        "a file that the node trusts can be written by others"
        why "every local user can put keys or commands there"
        do "chmod go-w FILE; look whether somebody has"
    FileOwner = "file_owner", Error:
        "a file that the node trusts belongs to another user than root and Ganeti's"
        why "that user can put keys or commands there"
        do "chown root FILE, or /usr/lib/ganeti/ensure-dirs for Ganeti's files"
    DaemonCannotRead = "daemon_cannot_read", Error:
        "a file cannot be read by the daemon of Ganeti that needs it"
        why "on the master no job runs, on a candidate none would; or confd or the remote API does not start"
        do "/usr/lib/ganeti/ensure-dirs repairs Ganeti's files"
    ConfigurationHere = "configuration_here", Error:
        "the cluster's configuration is on a normal node"
        why "it holds all secrets of instances' parameters"
        do "delete config.data there after a look at gnt-node list"
    ConfigurationBackup = "configuration_backup", Error:
        "a former configuration of the cluster is on a normal node"
        why "it holds all secrets of instances' parameters; each demotion leaves one more"
        do "delete the file"
    ClientBackup = "client_backup", Warning:
        "a former client.pem is still here"
        why "should its digest come back into a map, it would be admitted"
        do "delete the file"
    RapiKeyHere = "rapi_key_here", Warning:
        "the key of the remote API is on a normal node"
        why "root here can pose as the remote API; Ganeti itself distributes it"
        do "put up with it (verify.ignore), or delete it after each gnt-cluster redist-conf"
    RapiUsersHere = "rapi_users_here", Warning:
        "the users of the remote API are on a normal node"
        why "root here can try their passwords; Ganeti itself distributes them"
        do "put up with it (verify.ignore), or delete it after each gnt-cluster redist-conf"
    RapiPassword = "rapi_password", Error:
        "a password in clear text that may change the cluster is on a normal node"
        why "root here can command the whole cluster by the remote API"
        do "write the password as {HA1} in rapi/users on the master, then gnt-cluster redist-conf"
    MoveLeftover = "move_leftover", Warning:
        "the key of a move is still here a day later"
        why "whoever reads it can receive or send disks in its name while it is valid"
        do "noded-proxy moves clean, once it has expired or is done with; or delete the directory"

    MoveTransfer = "move_transfer", Warning:
        "the status directory of a disk transfer is still here a day later"
        why "the transfer is dead, and a job may wait for it for ever"
        do "noded-proxy moves clean, or delete the directory: a job that waits fails then"
    NodeUnreachable = "node_unreachable", Error:
        "a node does not answer the master over ssh"
        why "nothing is known of it, so its findings are missing"
        do "log in to it from the master as root; take a dead node offline (gnt-node modify --offline=yes NODE)"
    NodeAnswer = "node_answer", Error:
        "the answer of a node is too long or cannot be understood"
        why "nothing is known of it; a node that hides something may answer so"
        do "run noded-proxy verify on that node; look whether root's shell there prints something"
    NodeMute = "node_mute", Warning:
        "the noded-proxy of a node does not say what it sees"
        why "its files were read over ssh instead, which shows less"
        do "install the master's version there; noded-proxy verify on the node says what is wrong"
    NodeWithoutProxy = "node_without_proxy", Warning:
        "a node has no noded-proxy"
        why "noded itself listens there; its files were read over ssh, which shows less"
        do "install the package there, then noded-proxy install --cluster on the master"
    OfflineOutdated = "offline_outdated", Warning:
        "an offline node that still answers has a map, a list or keys of the past"
        why "Ganeti leaves it alone: whoever was a candidate then can still command it or log in to it"
        do "power it off; or gnt-node add --readd NODE, then gnt-cluster redist-conf"
    SsconfDiffers = "ssconf_differs", Error:
        "a list of ssconf on a node is not that of the cluster"
        why "the node takes others for its master, for candidates or for nodes"
        do "gnt-cluster redist-conf; a job that is running explains it, too: look again"
    ConfigurationDiffers = "configuration_differs", Warning:
        "the configuration on a candidate is not that of the master"
        why "as master it would go on with old candidates and certificates"
        do "gnt-cluster redist-conf; a job that is running explains it, too: look again"
    SshPubKeysDiffer = "ssh_pub_keys_differ", Warning:
        "ganeti_pub_keys on a node is not that of the master"
        why "as master it would authorize and remove other keys"
        do "gnt-cluster renew-crypto --new-ssh-keys --no-ssh-key-check writes it anew"
    CertificateTwice = "certificate_twice", Error:
        "several nodes have the same client certificate, with its key"
        why "it was copied: as soon as one of them is a candidate, all can command every node"
        do "gnt-cluster renew-crypto --new-node-certificates; find out who copied it"
    SshKeyTwice = "ssh_key_twice", Warning:
        "several nodes have the same private SSH key, and it is no node's"
        why "root on one of them can log in wherever the others can"
        do "one pair of all nodes: noded-proxy ssh-keys on the master; else delete it, or put it in verify.allow_ssh_keys"
}

serde_by_name!(Id);
