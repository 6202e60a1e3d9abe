//! Two nodes of one good cluster: n1 is its master, n2 a candidate, n3 a normal node.

use super::super::observed::*;
use crate::identity::Digest;

pub(in crate::verify) const NOW: i64 = 1_790_000_000;
const YEAR: i64 = 365 * 86_400;

pub(in crate::verify) fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 20])
}

/// A key whose fingerprint is made of this name.
pub(in crate::verify) fn key(name: &str, comment: &str) -> PublicKey {
    PublicKey {
        kind: "ssh-rsa".into(),
        fingerprint: format!("SHA256:{name}"),
        comment: comment.into(),
    }
}

pub(in crate::verify) fn authorized(keys: &[PublicKey]) -> AuthorizedFile {
    let of = |(at, key): (usize, &PublicKey)| Authorized {
        line: at + 1,
        options: Vec::new(),
        key: key.clone(),
    };
    AuthorizedFile {
        path: "/root/.ssh/authorized_keys".into(),
        lines: Seen::Good(AuthorizedLines {
            keys: keys.iter().enumerate().map(of).collect(),
            bad_lines: Vec::new(),
        }),
    }
}

pub(in crate::verify) fn key_file(name: &str, key: PublicKey) -> KeyFile {
    KeyFile {
        path: format!("/root/.ssh/{name}"),
        name: name.into(),
        private: !name.ends_with(".pub"),
        of_root: true,
        key: Seen::Good(key),
    }
}

pub(in crate::verify) fn file(path: &str, purpose: Purpose, mode: u32) -> File {
    let root = Owner {
        id: 0,
        name: Some("root".into()),
        trusted: true,
    };
    File {
        path: path.into(),
        purpose,
        mode,
        owner: root.clone(),
        group: root,
        modified: NOW - 86_400 / 2,
    }
}

fn pem(path: &str, byte: u8, cn: &str) -> Pem {
    Pem {
        path: path.into(),
        certificate: Seen::Good(Certificate {
            digest: digest(byte),
            common_name: Some(cn.into()),
            not_before: NOW - YEAR,
            not_after: NOW + YEAR,
            rsa: true,
            key_bits: 2048,
            signature: "sha256WithRSAEncryption".into(),
            signed_by_server: Some(true),
            issuer_name: Some(SameName::Same),
        }),
        key_fault: None,
    }
}

fn keys_of_all() -> PubKeys {
    let of = |uuid: &str, name: &str| (uuid.to_owned(), key(name, &format!("root@{uuid}")));
    PubKeys {
        keys: vec![of("n1", "c1"), of("n2", "c2"), of("n3", "c3")]
            .into_iter()
            .map(|(uuid, key)| (format!("uuid-{uuid}"), key))
            .collect(),
        bad_lines: Vec::new(),
    }
}

/// What is the same on all nodes, and this node's own.
fn node(host: &str, own: &str, byte: u8) -> Observed {
    let both = [key("c1", "root@n1"), key("c2", "root@n2")];
    Observed {
        host: host.into(),
        at: NOW,
        lists: Lists {
            nodes: Some(vec!["n1".into(), "n2".into(), "n3".into()]),
            candidates: Some(vec!["n1".into(), "n2".into()]),
            offline: Some(Vec::new()),
            master: Some("n1".into()),
        },
        map: Seen::Good(vec![
            ("uuid-n1".into(), digest(1)),
            ("uuid-n2".into(), digest(2)),
        ]),
        certificates: Certificates {
            server: pem("/var/lib/ganeti/server.pem", 9, "ganeti.example.com"),
            client: pem("/var/lib/ganeti/client.pem", byte, host),
            client_backups: Vec::new(),
            services: vec![pem("/var/lib/ganeti/rapi.pem", 10, "ganeti.example.com")],
        },
        ssh: Ssh {
            directory: "/root/.ssh".into(),
            pub_keys: Seen::Good(keys_of_all()),
            pairs: Seen::Absent,
            authorized: vec![authorized(&both)],
            key_files: vec![
                key_file("id_rsa", key(own, "")),
                key_file("id_rsa.pub", key(own, "root@n")),
            ],
            elsewhere: Vec::new(),
        },
        files: vec![
            file("/var/lib/ganeti/server.pem", Purpose::Secret, 0o440),
            file("/root/.ssh/id_rsa", Purpose::RootKey, 0o600),
            file("/root/.ssh", Purpose::Trusted, 0o700),
        ],
        proxy: Some(Proxy {
            ready: true,
            ..Proxy::default()
        }),
        ..Observed::default()
    }
}

/// n1, the master, with the configuration.
pub(in crate::verify) fn candidate() -> Observed {
    let node_of = |name: &str, master_candidate| Node {
        name: name.into(),
        master_candidate,
        ..Node::default()
    };
    let certs = [("uuid-n1", 1), ("uuid-n2", 2)];
    let configuration = Configuration {
        nodes: [
            ("uuid-n1".into(), node_of("n1", true)),
            ("uuid-n2".into(), node_of("n2", true)),
            ("uuid-n3".into(), node_of("n3", false)),
        ]
        .into(),
        candidate_certs: certs
            .map(|(uuid, byte)| (uuid.into(), digest(byte).to_string()))
            .into(),
        modify_ssh_setup: true,
        serial: 7,
        version: 3_000_000,
    };
    let mut seen = node("n1", "c1", 1);
    seen.configuration = Seen::Good(configuration);
    let config = file("/var/lib/ganeti/config.data", Purpose::Configuration, 0o640);
    seen.files.push(config);
    seen
}

/// n3, a normal node, whose own key may log in on itself.
pub(in crate::verify) fn normal() -> Observed {
    let mut seen = node("n3", "c3", 3);
    let both = [key("c1", "root@n1"), key("c2", "root@n2")];
    seen.ssh.authorized = vec![authorized(&[&both[..], &[key("c3", "root@n3")]].concat())];
    seen
}
