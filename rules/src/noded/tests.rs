use super::*;

/// The proxy's user in these tests.
const PROXY: u32 = 997;
const NOBODY: u32 = 65_534;

fn trusted() -> Trusted {
    Trusted {
        own: PROXY,
        also: None,
    }
}

/// Addresses and users.
type Sockets<'a> = &'a [(&'a str, u32)];

fn seen(sockets: Sockets<'_>, noded: &str) -> Seen {
    let sockets: Vec<Listening> = sockets
        .iter()
        .map(|(address, uid)| Listening {
            address: address.parse().unwrap(),
            uid: *uid,
        })
        .collect();
    look(&sockets, noded.parse().unwrap(), trusted())
}

#[test]
fn who_answers_as_a_table() {
    use Answers::{Elsewhere, Impostor, Nobody, Noded};
    let v4 = "127.0.0.1:298";
    let table: [(&str, Sockets<'_>, Answers); 20] = [
        (v4, &[], Nobody),
        (v4, &[("127.0.0.1:298", 0)], Noded),
        (v4, &[("127.0.0.1:298", PROXY)], Noded),
        (v4, &[("127.0.0.1:298", NOBODY)], Impostor(NOBODY)),
        (v4, &[("127.0.0.1:299", NOBODY)], Nobody),
        // Another address of the port is not reached.
        (v4, &[("127.0.0.2:298", NOBODY)], Nobody),
        (v4, &[("[::1]:298", NOBODY)], Nobody),
        (v4, &[("192.0.2.1:298", NOBODY)], Nobody),
        (v4, &[("192.0.2.1:298", 0)], Nobody),
        // All addresses are.
        (v4, &[("0.0.0.0:298", 0)], Noded),
        (v4, &[("0.0.0.0:298", NOBODY)], Impostor(NOBODY)),
        (v4, &[("[::]:298", NOBODY)], Impostor(NOBODY)),
        (v4, &[("[::ffff:127.0.0.1]:298", NOBODY)], Impostor(NOBODY)),
        // The very address comes first: another user's [::] for IPv6 alone takes nothing away.
        (v4, &[("[::]:298", NOBODY), ("127.0.0.1:298", 0)], Noded),
        // Of several that the kernel may choose, one stranger is enough.
        (
            v4,
            &[("127.0.0.1:298", 0), ("127.0.0.1:298", 33)],
            Impostor(33),
        ),
        ("[::1]:298", &[("0.0.0.0:298", NOBODY)], Nobody),
        ("[::1]:298", &[("[::]:298", NOBODY)], Impostor(NOBODY)),
        ("[::ffff:127.0.0.1]:298", &[("127.0.0.1:298", 0)], Noded),
        ("192.0.2.1:298", &[("127.0.0.1:298", NOBODY)], Elsewhere),
        ("192.0.2.1:298", &[("192.0.2.1:298", 33)], Impostor(33)),
    ];
    for (noded, sockets, expected) in table {
        assert_eq!(
            seen(sockets, noded).answers,
            expected,
            "{noded} {sockets:?}"
        );
    }
}

#[test]
fn exposed_is_what_noded_may_have_opened_beyond_loopback() {
    let table: [(Sockets<'_>, Option<&str>); 8] = [
        (&[("127.0.0.1:298", 0), ("[::1]:298", 0)], None),
        (&[("0.0.0.0:298", 0)], Some("0.0.0.0:298")),
        (&[("[::]:298", PROXY)], Some("[::]:298")),
        (
            &[("127.0.0.1:298", 0), ("192.0.2.1:298", 0)],
            Some("192.0.2.1:298"),
        ),
        (&[("192.0.2.1:298", 0)], Some("192.0.2.1:298")),
        (&[("0.0.0.0:1811", 0)], None),
        (&[("127.0.0.1:298", 0), ("192.0.2.1:298", NOBODY)], None),
        (&[("[::ffff:127.0.0.1]:298", 0)], None),
    ];
    for (sockets, expected) in table {
        let exposed = seen(sockets, "127.0.0.1:298").exposed;
        let exposed = exposed.map(|address| address.to_string());
        assert_eq!(exposed.as_deref(), expected, "{sockets:?}");
    }
}

#[test]
fn root_and_the_own_user_are_trusted() {
    for (uid, expected) in [(0, true), (PROXY, true), (1, false), (NOBODY, false)] {
        assert_eq!(trusted().has(uid), expected, "{uid}");
    }
    let root = Trusted { own: 0, also: None };
    assert!(!root.has(PROXY));
    let also = Some(PROXY);
    assert!(Trusted { also, ..root }.has(PROXY));
}

#[test]
fn whose_connection_it_is_as_a_table() {
    let held = |uid| Some(Held { uid, inode: 7 });
    // Older kernels call a socket that nobody holds root's.
    let waits = Some(Held { uid: 0, inode: 0 });
    let impostor = Err(Stranger::Impostor(NOBODY));
    let table = [
        (held(0), held(0), Ok(())),
        (held(0), waits, Ok(())),
        (held(PROXY), waits, Ok(())),
        (held(0), None, Ok(())),
        (held(NOBODY), waits, impostor),
        (held(NOBODY), None, impostor),
        (held(NOBODY), held(NOBODY), impostor),
        // The impostor accepted and made room for the real one.
        (held(0), held(NOBODY), impostor),
        (None, held(NOBODY), impostor),
        // noded has stopped, and its child still serves the connection.
        (None, held(0), Ok(())),
        (held(NOBODY), held(0), Ok(())),
        (None, waits, Err(Stranger::Gone)),
        (None, None, Err(Stranger::Gone)),
        (waits, waits, Err(Stranger::Gone)),
    ];
    for (listener, other_end, expected) in table {
        let found = may_send(listener, other_end, trusted());
        assert_eq!(found, expected, "{listener:?} {other_end:?}");
    }
}

#[test]
fn a_port_that_only_root_may_take_needs_no_proof() {
    let seen = |answers| {
        let exposed = None;
        Ok::<_, ()>(Seen { answers, exposed })
    };
    let here = "127.0.0.1:298".parse().unwrap();
    for (found, noded, unprivileged, expected) in [
        (seen(Answers::Noded), here, Some(1024), true),
        (seen(Answers::Nobody), here, Some(1024), true),
        (seen(Answers::Noded), here, Some(299), true),
        (seen(Answers::Noded), here, Some(298), false),
        (seen(Answers::Noded), here, Some(0), false),
        (seen(Answers::Noded), here, None, false),
        (seen(Answers::Impostor(33)), here, Some(1024), false),
        (Err(()), here, Some(1024), false),
        (
            seen(Answers::Noded),
            "127.0.0.1:11811".parse().unwrap(),
            Some(1024),
            false,
        ),
        (
            seen(Answers::Noded),
            "192.0.2.1:298".parse().unwrap(),
            Some(1024),
            false,
        ),
    ] {
        let so = only_root_listens(&found, noded, unprivileged);
        assert_eq!(so, expected, "{found:?} {noded} {unprivileged:?}");
    }
}
