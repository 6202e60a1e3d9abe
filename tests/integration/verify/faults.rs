//! Each fault on a recorded tree, made by hand, and all that is found then.

use std::collections::BTreeSet;

use super::tree::{self, Cluster, Recorded, SshKey, cluster};
use super::{CANDIDATE, MASTER, NORMAL, document, ids};
use noded_proxy::tls::mint::{CertificateBuilder, common_name, rsa_key};

use crate::support::pki::{Pki, signed};

/// One fault on one node, and all that is found.
pub(super) type Row = (usize, fn(&Recorded, &Cluster), &'static [&'static str]);

pub(super) fn check(rows: &[Row]) {
    for (at, (node, fault, expected)) in rows.iter().enumerate() {
        let tree = Recorded::of(*node);
        fault(&tree, cluster());
        let (status, document) = document(&tree, &[]);
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        assert_eq!(ids(&document), expected, "row {at}: {document:#}");
        assert_eq!(status, 1, "row {at}: {document:#}");
    }
}

#[test]
fn faults_of_the_map_are_found() {
    let rows: [Row; 7] = [
        // Into the configuration, from where Ganeti sends it to all nodes.
        (
            MASTER,
            |tree, cluster| {
                let intruder = cluster.pki.client("intruder");
                tree.configuration(&[0, 1], &[("uuid-x", &intruder)]);
                tree.map_more("uuid-x", &intruder);
            },
            &["map_entry_unknown"],
        ),
        (
            MASTER,
            |tree, cluster| tree.map_more("uuid-x", &cluster.pki.client("intruder")),
            &["map_differs", "map_entry_unknown"],
        ),
        (
            NORMAL,
            |tree, cluster| tree.map_more("uuid-x", &cluster.pki.client("intruder")),
            &["map_count", "map_entry_without_key"],
        ),
        (
            MASTER,
            |tree, cluster| {
                tree.configuration(&[0, 1], &[("uuid-n3", &cluster.clients[2])]);
                tree.map(&[0, 1, 2]);
            },
            &["map_entry_no_candidate"],
        ),
        // A node that was offline still has the map of before.
        (
            NORMAL,
            |tree, _| tree.data("ssconf_master_candidates", "n1.example.com\n", 0o444),
            &["map_count"],
        ),
        (
            MASTER,
            |tree, _| tree.data("ssconf_master_candidates_certs", "", 0o444),
            &["map_faulty"],
        ),
        (
            NORMAL,
            |tree, cluster| tree.map_more("bootstrap", cluster.pki.server()),
            &["map_bootstrap", "map_count"],
        ),
    ];
    check(&rows);
}

#[test]
fn faults_of_certificates_are_found() {
    let rows: [Row; 14] = [
        (
            NORMAL,
            |tree, cluster| tree.data("client.pem", &cluster.clients[0].pem, 0o440),
            &["client_name", "client_stolen"],
        ),
        (
            CANDIDATE,
            |tree, cluster| tree.data("client.pem", &cluster.clients[0].pem, 0o440),
            &["client_name", "client_stolen"],
        ),
        (
            NORMAL,
            |tree, cluster| {
                let own = cluster.pki.self_signed(tree::NODES[2]);
                tree.data("client.pem", &own.pem, 0o440);
            },
            &["client_issuer"],
        ),
        (
            CANDIDATE,
            |tree, cluster| {
                let key = cluster.clients[0]
                    .pem
                    .split("-----BEGIN CERT")
                    .next()
                    .unwrap();
                let pem = format!("{key}{}", cluster.clients[1].cert_pem);
                tree.data("client.pem", &pem, 0o440);
            },
            &["client_key"],
        ),
        (
            CANDIDATE,
            |tree, cluster| {
                let other = cluster.pki.client(tree::NODES[1]);
                tree.data("client.pem", &other.pem, 0o440);
            },
            &["client_not_listed"],
        ),
        (
            NORMAL,
            |tree, cluster| {
                let old = cluster.pki.expired(tree::NODES[2]);
                tree.data("client.pem", &old.pem, 0o440);
            },
            &["certificate_expired"],
        ),
        (
            NORMAL,
            |tree, _| tree.data("server.pem", &Pki::new().server_pem(), 0o440),
            &["client_issuer"],
        ),
        (
            NORMAL,
            |tree, _| tree.remove("var/lib/ganeti/server.pem"),
            &["server_pem"],
        ),
        // Of the remote API and of SPICE, where they are.
        (
            CANDIDATE,
            |tree, cluster| {
                let old = cluster.pki.expired("api");
                tree.data("rapi.pem", &old.pem, 0o440);
            },
            &["certificate_expired"],
        ),
        (
            CANDIDATE,
            |tree, cluster| {
                let new = cluster.pki.renewed_server(20);
                tree.data("spice.pem", &new.pem, 0o440);
                tree.data("spice-ca.pem", &new.cert_pem, 0o440);
            },
            &["certificate_expires"],
        ),
        (
            CANDIDATE,
            |tree, cluster| {
                let later = cluster.pki.not_yet_valid("ca");
                tree.data("spice-ca.pem", &later.cert_pem, 0o440);
            },
            &["certificate_not_yet_valid"],
        ),
        (
            CANDIDATE,
            |tree, _| {
                let key = rsa_key(1024).unwrap();
                let small = CertificateBuilder::new(common_name("api").unwrap(), key);
                let small = signed(small.valid_days(-1, 400), None);
                tree.data("rapi.pem", &small.pem, 0o440);
            },
            &["certificate_weak"],
        ),
        (
            CANDIDATE,
            |tree, cluster| {
                let key = cluster.clients[0].pem.split("-----BEGIN CERT");
                let pem = [
                    key.into_iter().next().unwrap(),
                    &cluster.clients[1].cert_pem,
                ];
                tree.data("rapi.pem", &pem.concat(), 0o440);
            },
            &["service_pem"],
        ),
        (
            CANDIDATE,
            |tree, _| tree.data("spice.pem", "x", 0o440),
            &["service_pem"],
        ),
    ];
    check(&rows);
}

#[test]
fn keys_that_are_authorized_are_found() {
    let rows: [Row; 11] = [
        // What renew-crypto --new-ssh-keys leaves on every node but the master.
        (
            NORMAL,
            |tree, cluster| tree.authorize(&cluster.old.line("root@n2.example.com")),
            &["ssh_old_key"],
        ),
        // A re-added node: its own former key, which the backup proves.
        (
            NORMAL,
            |tree, cluster| {
                tree.ssh("id_rsa.backup-2026-11-01.abc", &cluster.old.private, 0o600);
                tree.authorize(&cluster.old.line("whoever"));
            },
            &["ssh_backup", "ssh_old_key"],
        ),
        (
            MASTER,
            |tree, cluster| tree.authorize(&cluster.keys[2].line("root@n3.example.com")),
            &["ssh_normal_node"],
        ),
        (
            MASTER,
            |tree, cluster| {
                let line = cluster.keys[2].line("x");
                tree.authorize(&format!("from=\"192.0.2.3\",no-pty {line}"));
            },
            &["ssh_normal_node"],
        ),
        (
            NORMAL,
            |tree, cluster| tree.authorize(&cluster.stranger.line("admin@desk")),
            &["ssh_stranger"],
        ),
        (
            NORMAL,
            |tree, cluster| {
                let line = cluster.stranger.line("ca");
                tree.authorize(&format!("cert-authority {line}"));
            },
            &["ssh_authority"],
        ),
        (
            MASTER,
            |tree, cluster| {
                let lines = [cluster.keys[0].line("a"), cluster.keys[1].line("b")];
                let text = format!("{}restrict {}", lines[0], lines[1]);
                tree.ssh("authorized_keys", text.as_bytes(), 0o600);
            },
            &["ssh_options"],
        ),
        (
            MASTER,
            |tree, cluster| tree.authorize(&cluster.keys[1].line("root@n2.example.com")),
            &["ssh_twice"],
        ),
        (
            MASTER,
            |tree, cluster| {
                let line = cluster.keys[0].line("root@n1.example.com");
                tree.ssh("authorized_keys", line.as_bytes(), 0o600);
            },
            &["ssh_missing"],
        ),
        // sshd reads this file, too.
        (
            NORMAL,
            |tree, cluster| {
                let line = cluster.stranger.line("admin@desk");
                tree.ssh("authorized_keys2", line.as_bytes(), 0o600);
                tree.put(
                    "etc/ssh/sshd_config.d/x.conf",
                    "AuthorizedKeysCommand /bin/x\n",
                    0o644,
                );
            },
            &["ssh_elsewhere", "ssh_stranger"],
        ),
        (
            NORMAL,
            |tree, _| tree.authorize("ssh-rsa AAAA cut\n"),
            &["ssh_bad_line"],
        ),
    ];
    check(&rows);
}

#[test]
fn private_keys_are_found() {
    let rows: [Row; 8] = [
        (
            NORMAL,
            |tree, cluster| tree.ssh("loot", &cluster.keys[0].private, 0o600),
            &["ssh_foreign_key"],
        ),
        (
            NORMAL,
            |tree, cluster| {
                tree.ssh("id_rsa", &cluster.keys[0].private, 0o600);
                tree.ssh("id_rsa.pub", cluster.keys[0].public.as_bytes(), 0o644);
            },
            &["ssh_foreign_key", "ssh_normal_node"],
        ),
        (
            CANDIDATE,
            |tree, _| tree.remove("root/.ssh/id_rsa"),
            &["ssh_own_key_absent"],
        ),
        (
            CANDIDATE,
            |tree, cluster| {
                tree.ssh("id_rsa", &cluster.old.private, 0o600);
                tree.ssh("id_rsa.pub", cluster.old.public.as_bytes(), 0o644);
            },
            &["ssh_own_key_unlisted"],
        ),
        (
            CANDIDATE,
            |tree, cluster| tree.ssh("id_rsa.pub", cluster.old.public.as_bytes(), 0o644),
            &["ssh_halves"],
        ),
        (
            NORMAL,
            |tree, _| {
                let text = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n";
                tree.ssh("odd", text, 0o600);
            },
            &["ssh_unknown_key"],
        ),
        (
            CANDIDATE,
            |tree, _| tree.remove("var/lib/ganeti/ganeti_pub_keys"),
            &["ssh_pub_keys_absent", "ssh_stranger"],
        ),
        (
            NORMAL,
            |tree, _| tree.remove("var/lib/ganeti/ganeti_pub_keys"),
            &["ssh_shared_key", "ssh_stranger", "ssh_unsorted"],
        ),
    ];
    check(&rows);
}

#[test]
fn a_node_s_key_in_an_old_form_is_known_too() {
    let tree = Recorded::of(NORMAL);
    let key = SshKey::make(&["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    tree.pub_keys(&format!("uuid-n1 {}", key.line("root@n1.example.com")));
    tree.ssh("loot", &key.private, 0o600);
    let (_, document) = document(&tree, &[]);
    let found = ids(&document);
    assert!(found.contains("ssh_foreign_key"), "{document:#}");
}
