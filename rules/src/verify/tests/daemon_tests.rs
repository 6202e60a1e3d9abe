//! Who of Ganeti's daemons cannot read what it needs.

use super::super::observed::*;
use super::nodes_tests::{candidate, file};
use crate::verify::Id::*;

/// Mode, owner and group of a file, and who cannot read it. The node's data directory is Ganeti's.
#[test]
fn who_of_ganetis_daemons_cannot_read_what_it_needs_as_a_table() {
    let judged = |directory: &str, path: &str, mode, owner: &str, group: &str| {
        let mut seen = candidate();
        let of = |name: &str| Owner {
            id: 100,
            name: Some(name.into()),
            trusted: true,
        };
        let mut top = file("/var/lib/ganeti", Purpose::Trusted, 0o755);
        top.owner = of(directory);
        let mut one = file(path, Purpose::Secret, mode);
        (one.owner, one.group) = (of(owner), of(group));
        seen.files = vec![top, one];
        let found = super::found(&seen);
        let found = found.iter().filter(|found| found.id == DaemonCannotRead);
        let who = found.map(|found| found.what.split(' ').next().unwrap().to_owned());
        who.collect::<Vec<String>>()
    };
    const NOBODY: &[&str] = &[];
    for (file, mode, owner, group, expected) in [
        ("server.pem", 0o440, "gnt-masterd", "gnt-masterd", NOBODY),
        ("server.pem", 0o440, "root", "gnt-masterd", NOBODY),
        ("server.pem", 0o440, "root", "gnt-confd", NOBODY), // its first group
        ("server.pem", 0o440, "root", "root", &["gnt-masterd"]),
        ("server.pem", 0o400, "root", "gnt-masterd", &["gnt-masterd"]),
        (
            "server.pem",
            0o040,
            "gnt-masterd",
            "gnt-masterd",
            &["gnt-masterd"],
        ),
        ("server.pem", 0o444, "root", "root", NOBODY),
        ("client.pem", 0o400, "root", "root", &["gnt-masterd"]),
        (
            "cluster-domain-secret",
            0o640,
            "gnt-masterd",
            "gnt-masterd",
            NOBODY,
        ),
        (
            "cluster-domain-secret",
            0o600,
            "root",
            "root",
            &["gnt-masterd"],
        ),
        ("config.data", 0o640, "gnt-masterd", "gnt-confd", NOBODY),
        (
            "config.data",
            0o640,
            "gnt-masterd",
            "gnt-masterd",
            &["gnt-confd"],
        ),
        ("config.data", 0o640, "root", "root", &["gnt-masterd"]),
        ("hmac.key", 0o440, "gnt-confd", "gnt-masterd", NOBODY),
        ("hmac.key", 0o440, "root", "gnt-masterd", &["gnt-confd"]),
        (
            "hmac.key",
            0o400,
            "gnt-confd",
            "gnt-masterd",
            &["gnt-masterd"],
        ),
        ("rapi.pem", 0o440, "gnt-rapi", "gnt-masterd", NOBODY),
        ("rapi.pem", 0o440, "root", "gnt-masterd", &["gnt-rapi"]),
        ("rapi/users", 0o640, "gnt-rapi", "gnt-masterd", NOBODY),
        ("rapi/users", 0o600, "root", "root", &["gnt-rapi"]),
        ("spice.pem", 0o400, "root", "root", NOBODY),
        ("hmac.key.old", 0o400, "root", "root", NOBODY),
    ] {
        let path = format!("/var/lib/ganeti/{file}");
        let found = judged("gnt-masterd", &path, mode, owner, group);
        assert_eq!(found, expected, "{file} {mode:o} {owner}:{group}");
        // Where all is root's, so are the daemons.
        if (owner, group) == ("root", "root") {
            assert_eq!(judged("root", &path, mode, owner, group), NOBODY);
        }
    }
}
