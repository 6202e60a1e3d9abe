//! Modes and owners of files on a recorded tree, and files that should not be there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::faults::{Row, check};
use super::tree::Recorded;
use super::{MASTER, NORMAL, document, ids};

#[test]
fn faults_of_files_are_found() {
    let rows: [Row; 17] = [
        (
            NORMAL,
            |t, _| t.put("etc/ssh/ssh_host_rsa_key", "x", 0o640),
            &["secret_readable"],
        ),
        (
            NORMAL,
            |t, _| t.put("etc/ssh/ssh_host_ed25519_key", "x", 0o622),
            &["file_writable"],
        ),
        (
            MASTER,
            |t, _| t.data("tempres.data", "{}", 0o604),
            &["secret_readable"],
        ),
        (
            MASTER,
            |t, _| t.data("locks.data", "{}", 0o602),
            &["file_writable"],
        ),
        (
            NORMAL,
            |tree, _| {
                let directory = "run/ganeti/import-export/export-disk0-x";
                tree.put(&format!("{directory}/status"), "{}", 0o600);
                tree.put(
                    "run/ganeti/import-export/import-disk0-y/status",
                    "{}",
                    0o600,
                );
                tree.age(directory, Duration::from_secs(90_000));
            },
            &["move_transfer"],
        ),
        (
            NORMAL,
            |t, _| t.chmod("var/lib/ganeti/server.pem", 0o644),
            &["secret_readable"],
        ),
        (
            NORMAL,
            |t, _| t.chmod("var/lib/ganeti/client.pem", 0o644),
            &["secret_readable"],
        ),
        (
            NORMAL,
            |t, _| t.chmod("root/.ssh/id_rsa", 0o644),
            &["secret_readable"],
        ),
        (
            NORMAL,
            |t, _| t.chmod("var/lib/ganeti/ssconf_node_list", 0o646),
            &["file_writable"],
        ),
        (
            NORMAL,
            |t, _| t.chmod("etc/ganeti/hooks/cluster-verify-post.d/x", 0o777),
            &["file_writable"],
        ),
        (
            NORMAL,
            |t, _| t.put("usr/local/etc/ganeti/hooks/node-add-post.d/x", "", 0o777),
            &["file_writable"],
        ),
        (
            NORMAL,
            |t, _| t.data("config.data.backup-1", "{}", 0o600),
            &["configuration_backup"],
        ),
        (
            NORMAL,
            |t, _| t.configuration(&[0, 1], &[]),
            &["configuration_here"],
        ),
        (
            NORMAL,
            |t, cluster| t.data("client.pem.backup-1", &cluster.clients[2].pem, 0o600),
            &["client_backup"],
        ),
        (
            NORMAL,
            |t, cluster| t.data("rapi.pem", &cluster.pki.self_signed("api").pem, 0o440),
            &["rapi_key_here"],
        ),
        (
            NORMAL,
            |t, _| t.data("rapi/users", "u password write\n", 0o640),
            &["rapi_password", "rapi_users_here"],
        ),
        (
            NORMAL,
            |tree, _| {
                tree.put("run/ganeti/crypto/x509-1/key", "x", 0o400);
                tree.age("run/ganeti/crypto/x509-1/key", Duration::from_secs(90_000));
            },
            &["move_leftover"],
        ),
    ];
    check(&rows);
}

#[test]
fn files_of_other_users_are_found_and_those_of_ganetis_own_are_not() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT TESTED: only root can give files away");
    }
    let tree = Recorded::of(NORMAL);
    let server = tree.path("var/lib/ganeti/server.pem");
    std::os::unix::fs::chown(&server, Some(65_534), Some(65_533)).unwrap();
    let (_, found) = document(&tree, &[]);
    let expected = BTreeSet::from(["file_owner", "secret_readable"]); // its group may read it
    assert_eq!(ids(&found), expected, "{found:#}");
    let users = "root:x:0:0:root:/root:/bin/bash\ngnt-masterd:x:65534:65533::/:/bin/false\n";
    tree.put("etc/passwd", users, 0o644);
    tree.put("etc/group", "root:x:0:\ngnt-masterd:x:65533:\n", 0o644);
    let (_, found) = document(&tree, &[]);
    // Now that Ganeti has users of its own, they cannot read what is root's alone.
    let found = found["findings"].as_array().unwrap().iter();
    let found: Vec<String> = found
        .map(|found| {
            format!(
                "{} {}",
                found["id"].as_str().unwrap(),
                found["what"].as_str().unwrap()
            )
        })
        .collect();
    let expected =
        "daemon_cannot_read gnt-masterd cannot read it: mode 0440, owner root, group root";
    assert_eq!(found, [expected; 2]); // client.pem, hmac.key
    for name in ["client.pem", "hmac.key"] {
        let path = tree.path("var/lib/ganeti").join(name);
        std::os::unix::fs::chown(&path, Some(65_534), Some(65_533)).unwrap();
    }
    let users = users.to_owned() + "gnt-confd:x:65532:65532::/:/bin/false\n";
    tree.put("etc/passwd", &users, 0o644);
    let hmac = tree.path("var/lib/ganeti/hmac.key");
    std::os::unix::fs::chown(&hmac, Some(65_532), Some(65_533)).unwrap();
    let (_, found) = document(&tree, &[]);
    assert_eq!(ids(&found), BTreeSet::new(), "{found:#}");
    // A key of root's is root's alone.
    std::os::unix::fs::chown(tree.path("root/.ssh/id_rsa"), Some(65_534), None).unwrap();
    let (_, found) = document(&tree, &[]);
    assert_eq!(ids(&found), ["file_owner"].into(), "{found:#}");
}
