//! Rows on SSH keys and files.

use super::super::observed::*;
use super::nodes_tests::{NOW, authorized, candidate, digest, file, key, key_file, normal};
use super::{Row, check, row};
use crate::verify::Id::*;

fn authorize(seen: &mut Observed, options: &[&str], key: PublicKey) {
    if let Seen::Good(lines) = &mut seen.ssh.authorized[0].lines {
        lines.keys.push(Authorized {
            line: lines.keys.len() + 1,
            options: options.iter().map(|&option| option.into()).collect(),
            key,
        });
    }
}

fn bad_line() -> BadLine {
    BadLine {
        line: 7,
        why: "no key in it".into(),
    }
}

fn add_file(seen: &mut Observed, path: &str, purpose: Purpose, mode: u32) {
    seen.files.push(file(path, purpose, mode));
}

pub(super) fn rows() -> Vec<Row> {
    [role(), keys(), private(), files()]
        .into_iter()
        .flatten()
        .collect()
}

fn role() -> Vec<Row> {
    vec![
        row(normal, &[NotANode], |seen| {
            seen.lists.nodes = Some(vec!["n1".into()])
        }),
        // A host that has another name than its node.
        row(candidate, &[NotANode], |seen| {
            (seen.host, seen.configuration) = ("elsewhere".into(), Seen::Absent);
        }),
        // Another machine: one finding is enough.
        row(normal, &[NotANode, Unreadable], |seen| {
            (seen.lists, seen.map) = (Lists::default(), Seen::Absent);
            seen.certificates.server.certificate = Seen::Absent;
        }),
        row(normal, &[NotANode, Unreadable], |seen| {
            seen.lists = Lists::default();
        }),
        // A node, though it is not known which: the missing list is told.
        row(normal, &[Unreadable], |seen| seen.lists.candidates = None),
        row(normal, &[Unreadable], |seen| {
            seen.forbidden.push("/root/.ssh".into());
            seen.ssh = Ssh::default();
            seen.certificates.client.certificate = Seen::Absent
        }),
        row(candidate, &[Unreadable], |seen| {
            seen.configuration = Seen::Faulty("EOF".into());
        }),
        row(normal, &[Unreadable], |seen| {
            seen.rapi_users = Seen::Faulty("line 1".into())
        }),
        row(normal, &[Unreadable, SshStranger], |seen| {
            seen.ssh.pub_keys = Seen::Faulty("no text".into())
        }),
        row(normal, &[Unreadable], |seen| {
            seen.ssh.authorized[0].lines = Seen::Faulty("too large".into());
        }),
    ]
}

fn keys() -> Vec<Row> {
    vec![
        // After renew-crypto --new-ssh-keys: n2 had another key, and its line is still here.
        row(normal, &[SshOldKey], |seen| {
            authorize(seen, &[], key("old", "root@n2"))
        }),
        row(normal, &[SshOldKey], |seen| {
            authorize(seen, &["restrict"], key("old", "root@n2"))
        }),
        // After a re-add: this node's own former key, whatever its comment.
        row(normal, &[SshOldKey, SshBackup], |seen| {
            seen.ssh
                .key_files
                .push(key_file("id_rsa.backup-2026", key("old", "")));
            authorize(seen, &[], key("old", "someone"));
        }),
        // Neither a copy of another file nor one of another user's says whose a key was.
        row(normal, &[SshStranger], |seen| {
            let copy = "authorized_keys.backup-2026";
            let file = key_file(copy, key("x", ""));
            seen.ssh.key_files.push(KeyFile {
                private: false,
                ..file
            });
            authorize(seen, &[], key("x", "admin"));
        }),
        row(normal, &[SshStranger, SshBackup], |seen| {
            let file = key_file("id_rsa.backup-2026", key("x", ""));
            seen.ssh.key_files.push(KeyFile {
                of_root: false,
                ..file
            });
            authorize(seen, &[], key("x", "admin"));
        }),
        row(candidate, &[SshNormalNode], |seen| {
            authorize(seen, &[], key("c3", "root@n3"))
        }),
        row(candidate, &[SshNormalNode], |seen| {
            authorize(seen, &["from=\"192.0.2.3\""], key("c3", "root@n3"));
        }),
        row(normal, &[SshStranger], |seen| {
            authorize(seen, &[], key("x", "root@elsewhere"))
        }),
        row(normal, &[SshAuthority], |seen| {
            authorize(seen, &["cert-authority"], key("x", "ca"));
        }),
        row(candidate, &[SshOptions, SshTwice], |seen| {
            authorize(seen, &["no-pty"], key("c2", "root@n2"));
        }),
        row(normal, &[SshTwice], |seen| {
            authorize(seen, &[], key("c2", "root@n2"))
        }),
        row(normal, &[SshMissing], |seen| {
            seen.ssh.authorized = vec![authorized(&[key("c1", "root@n1")])];
        }),
        row(normal, &[SshMissing], |seen| {
            seen.ssh.authorized[0].lines = Seen::Absent
        }),
        row(normal, &[SshBadLine], |seen| {
            if let Seen::Good(lines) = &mut seen.ssh.authorized[0].lines {
                lines.bad_lines.push(bad_line());
            }
        }),
        row(normal, &[SshBadLine], |seen| {
            if let Seen::Good(known) = &mut seen.ssh.pub_keys {
                known.bad_lines.push(bad_line());
            }
        }),
        row(normal, &[SshElsewhere], |seen| {
            seen.ssh.elsewhere.push("AuthorizedKeysCommand /x".into());
        }),
        row(candidate, &[SshPubKeysAbsent, SshStranger], |seen| {
            seen.ssh.pub_keys = Seen::Absent;
        }),
        // The configuration knows whose a key is, whatever its comment says.
        row(candidate, &[SshPubKeysMissing, SshStranger], |seen| {
            if let Seen::Good(known) = &mut seen.ssh.pub_keys {
                known.keys.remove(1);
                known.keys[1].1.comment = "root@n2".into();
            }
        }),
        // A renewal that failed half-way: n2's key is authorized, and Ganeti has forgotten it.
        row(candidate, &[SshPubKeysMissing, SshStranger], |seen| {
            if let Seen::Good(known) = &mut seen.ssh.pub_keys {
                known.keys.remove(1);
            }
        }),
        row(normal, &[SshUnsorted, MapFaulty], |seen| {
            seen.map = Seen::Faulty("line 1".into());
        }),
    ]
}

fn private() -> Vec<Row> {
    vec![
        // A candidate's private key on a normal node: as an extra file, and in the place of its own.
        row(normal, &[SshForeignKey], |seen| {
            seen.ssh.key_files.push(key_file("loot", key("c2", "")));
        }),
        row(normal, &[SshForeignKey], |seen| {
            seen.ssh.key_files = vec![key_file("id_rsa", key("c2", ""))];
            seen.ssh.authorized = vec![authorized(&[key("c1", "a"), key("c2", "b")])];
        }),
        row(candidate, &[SshForeignKey], |seen| {
            seen.ssh.key_files.push(key_file("loot", key("c2", "")));
        }),
        // One that is only authorized, and no node's, is the administrator's business.
        row(normal, &[], |seen| {
            seen.ssh
                .key_files
                .push(key_file("id_ed25519", key("admin", "")));
        }),
        row(normal, &[SshBackup], |seen| {
            seen.ssh
                .key_files
                .push(key_file("id_rsa.backup-2026", key("old", "")));
        }),
        row(normal, &[SshUnknownKey], |seen| {
            let mut file = key_file("odd", key("", ""));
            file.key = Seen::Faulty("encrypted".into());
            seen.ssh.key_files.push(file);
        }),
        row(candidate, &[SshOwnKeyAbsent], |seen| {
            seen.ssh.key_files.clear()
        }),
        row(normal, &[SshOwnKeyAbsentHere], |seen| {
            seen.ssh.key_files.clear();
            seen.ssh.authorized = vec![authorized(&[key("c1", "a"), key("c2", "b")])];
        }),
        row(candidate, &[SshOwnKeyUnlisted], |seen| {
            seen.ssh.key_files = vec![key_file("id_rsa", key("fresh", ""))];
        }),
        row(candidate, &[SshHalves], |seen| {
            seen.ssh.key_files[1] = key_file("id_rsa.pub", key("other", ""));
        }),
        row(candidate, &[SshDsa], |seen| {
            if let Seen::Good(known) = &mut seen.ssh.pub_keys {
                known.keys[2].1.kind = "ssh-dss".into();
            }
        }),
    ]
}

fn files() -> Vec<Row> {
    vec![
        row(normal, &[SecretReadable], |seen| seen.files[0].mode = 0o444),
        row(normal, &[SecretReadable], |seen| {
            seen.files[0].group.trusted = false;
        }),
        row(normal, &[SecretReadable], |seen| seen.files[1].mode = 0o640),
        row(normal, &[FileWritable], |seen| seen.files[2].mode = 0o702),
        row(normal, &[SecretReadable, FileWritable], |seen| {
            seen.files[0].mode = 0o666
        }),
        row(normal, &[FileOwner], |seen| {
            seen.files[2].owner.trusted = false
        }),
        row(normal, &[DaemonCannotRead], |seen| {
            seen.files[2].owner.name = Some("gnt-masterd".into());
        }),
        row(normal, &[ConfigurationHere], |seen| {
            add_file(seen, "config.data", Purpose::Configuration, 0o640);
        }),
        row(normal, &[ConfigurationBackup], |seen| {
            add_file(
                seen,
                "config.data.backup-1",
                Purpose::ConfigurationBackup,
                0o600,
            );
        }),
        row(candidate, &[], |seen| {
            add_file(
                seen,
                "config.data.backup-1",
                Purpose::ConfigurationBackup,
                0o600,
            );
        }),
        row(normal, &[ClientBackup], |seen| {
            add_file(seen, "client.pem.backup-1", Purpose::ClientBackup, 0o600);
        }),
        row(normal, &[RapiKeyHere], |seen| {
            add_file(seen, "rapi.pem", Purpose::RapiKey, 0o440);
        }),
        row(candidate, &[], |seen| {
            add_file(seen, "rapi.pem", Purpose::RapiKey, 0o440)
        }),
        row(normal, &[RapiUsersHere, RapiPassword], |seen| {
            add_file(seen, "rapi/users", Purpose::RapiUsers, 0o640);
            seen.rapi_users = Seen::Good(vec![user(true, true)]);
        }),
        row(normal, &[], |seen| {
            seen.rapi_users = Seen::Good(vec![user(true, false), user(false, true)]);
        }),
        row(normal, &[], |seen| {
            add_file(seen, "x509-1/key", Purpose::MoveCertificate, 0o400);
        }),
        row(normal, &[], |seen| {
            add_file(seen, "import-export/x", Purpose::MoveTransfer, 0o700);
        }),
        row(normal, &[MoveTransfer], |seen| {
            add_file(seen, "import-export/x", Purpose::MoveTransfer, 0o755);
            seen.at = NOW + 86_400;
        }),
        // A key of root's in the hands of one of Ganeti's users.
        row(normal, &[FileOwner], |seen| {
            seen.files[1].owner.name = Some("gnt-confd".into());
        }),
        row(normal, &[MoveLeftover], |seen| {
            add_file(seen, "x509-1/key", Purpose::MoveCertificate, 0o400);
            seen.at = NOW + 86_400;
        }),
    ]
}

fn user(clear_text: bool, write: bool) -> RapiUser {
    RapiUser {
        name: "u".into(),
        clear_text,
        write,
    }
}

#[test]
fn role_as_a_table() {
    check(role());
}

#[test]
fn authorized_keys_as_a_table() {
    check(keys());
}

#[test]
fn private_keys_as_a_table() {
    check(private());
}

#[test]
fn files_as_a_table() {
    check(files());
}

/// A node whose map is broken still knows the candidates by the configuration.
#[test]
fn the_configuration_says_who_is_a_candidate_when_the_map_is_broken() {
    let mut seen = candidate();
    seen.map = Seen::Faulty("line 1".into());
    authorize(&mut seen, &[], key("c3", "root@n3"));
    let found = super::found(&seen);
    assert_eq!(super::ids(&found), [MapFaulty, SshNormalNode].into());
    seen.map = Seen::Good(vec![("uuid-n1".into(), digest(1))]);
    assert!(super::ids(&super::found(&seen)).contains(&SshNormalNode));
}
