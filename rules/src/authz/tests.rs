use super::*;
use crate::candidates::{MapFile, parse};
use crate::identity::Digest;
use crate::names::Named;
use std::sync::Arc;

const NOW: i64 = 1_000;

fn peer(digest: u8, not_before: i64, not_after: i64) -> PeerIdentity {
    PeerIdentity {
        address: IpAddr::from([127, 0, 0, 1]),
        digest: Digest::from_bytes([digest; 20]),
        der: Arc::from([]),
        common_name: None,
        not_before,
        not_after,
    }
}

fn listed(digests: &[u8]) -> Admission {
    let text: Vec<String> = digests
        .iter()
        .map(|d| format!("uuid-{d}={}", Digest::from_bytes([*d; 20])))
        .collect();
    match parse(text.join("\n").as_bytes()) {
        MapFile::Listed(map) => Admission::Listed(Arc::new(map)),
        other => panic!("{other:?}"),
    }
}

/// What a certificate is to the cluster, for audit mode: of it, and not for clients.
type Kind = (bool, bool);

const FOREIGN: Kind = (false, false);
const MEMBER: Kind = (true, false);
const SERVER: Kind = (true, true);

fn ask(
    peer: &PeerIdentity,
    admission: &Admission,
    policy: Policy,
    known: Option<&[u8]>,
    (of_the_cluster, excludes_clients): Kind,
) -> Result<Permit, Denied> {
    let facts = Facts {
        admission,
        known,
        candidate_addresses: &HashSet::new(),
        primary_addresses: &HashMap::new(),
        cluster: Some("ganeti.example.com"),
        master_ip: None,
        of_the_cluster,
        excludes_clients,
        now: NOW,
    };
    authorise(peer, &facts, policy)
}

#[test]
fn the_rule_as_a_table() {
    let boot = Admission::Bootstrap(Digest::from_bytes([9; 20]));
    let nobody = Admission::Nobody(Nobody::NotInCluster);
    let strict = Policy {
        reject_expired: true,
        ..Policy::default()
    };
    let lax = Policy::default();
    let (now, past, future) = (peer(1, 0, 2_000), peer(1, 0, 999), peer(1, 1_001, 2_000));
    let table = [
        ("listed", &now, listed(&[1, 2]), lax, Ok(("uuid-1", None))),
        (
            "not listed",
            &now,
            listed(&[2, 3]),
            lax,
            Err(Denied::UnknownDigest),
        ),
        (
            "expired",
            &past,
            listed(&[1]),
            lax,
            Ok(("uuid-1", Some(Denied::Expired))),
        ),
        (
            "early",
            &future,
            listed(&[1]),
            lax,
            Ok(("uuid-1", Some(Denied::NotYetValid))),
        ),
        (
            "expired, strict",
            &past,
            listed(&[1]),
            strict,
            Err(Denied::Expired),
        ),
        (
            "early, strict",
            &future,
            listed(&[1]),
            strict,
            Err(Denied::NotYetValid),
        ),
        (
            "expired and unknown",
            &past,
            listed(&[2]),
            strict,
            Err(Denied::UnknownDigest),
        ),
        (
            "bootstrap, server.pem",
            &peer(9, 0, 2_000),
            boot.clone(),
            lax,
            Ok(("server.pem", None)),
        ),
        (
            "bootstrap, client.pem",
            &now,
            boot,
            lax,
            Err(Denied::BootstrapRefused),
        ),
        (
            "server.pem once listed",
            &peer(9, 0, 2_000),
            listed(&[1]),
            lax,
            Err(Denied::UnknownDigest),
        ),
        (
            "nobody",
            &now,
            nobody,
            lax,
            Err(Denied::Nobody(Nobody::NotInCluster)),
        ),
    ];
    for (case, peer, admission, policy, expected) in table {
        let found = ask(peer, &admission, policy, None, FOREIGN);
        let found = found
            .as_ref()
            .map(|p| (p.key(), p.outside_validity()))
            .map_err(|d| *d);
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn validity_includes_its_first_and_last_second() {
    let strict = Policy {
        reject_expired: true,
        ..Policy::default()
    };
    assert!(ask(&peer(1, NOW, NOW), &listed(&[1]), strict, None, FOREIGN).is_ok());
}

#[test]
fn every_reason_is_in_the_closed_list() {
    use Denied::*;
    let all = [
        UnknownDigest,
        DigestCollision,
        BootstrapRefused,
        Nobody(super::Nobody::NoGoodMap),
        Expired,
        NotYetValid,
        AddressNotCandidate,
        OtherNodesCertificate,
    ];
    let names = all.map(|denied| denied.name());
    assert!(Denied::all().map(|denied| denied.name()).eq(names));
}

#[test]
fn where_the_certificate_is_known_the_digest_alone_is_not_enough() {
    let (listed, lax) = (listed(&[1]), Policy::default());
    let mut forged = peer(1, 0, 2_000);
    forged.der = Arc::from(*b"forged");
    let found = |known: Option<&[u8]>| ask(&forged, &listed, lax, known, FOREIGN).map(|_| ());
    assert_eq!(found(Some(b"genuine")), Err(Denied::DigestCollision));
    assert_eq!((found(Some(b"forged")), found(None)), (Ok(()), Ok(())));
}

#[test]
fn audit_admits_every_certificate_of_the_cluster_and_says_what_enforce_would_do() {
    let audit = Policy {
        mode: Mode::Audit,
        ..Policy::default()
    };
    let mut forged = peer(1, 0, 2_000);
    forged.der = Arc::from(*b"forged");
    let (member, old) = (peer(1, 0, 2_000), peer(1, 0, 999));
    let boot = Admission::Bootstrap(Digest::from_bytes([9; 20]));
    let unknown = Some(Denied::UnknownDigest);
    let table = [
        (
            "listed",
            &member,
            listed(&[1]),
            MEMBER,
            Ok(("uuid-1", None)),
        ),
        // Whom the map admits, noded admits now: audit takes nothing away.
        (
            "listed, self-signed",
            &member,
            listed(&[1]),
            FOREIGN,
            Ok(("uuid-1", None)),
        ),
        (
            "not listed",
            &member,
            listed(&[2]),
            MEMBER,
            Ok(("audit", unknown)),
        ),
        (
            "foreign",
            &member,
            listed(&[2]),
            FOREIGN,
            Err(Denied::UnknownDigest),
        ),
        // Such as the one that the proxy makes for itself: server.pem signed it too.
        (
            "for servers alone",
            &member,
            listed(&[2]),
            SERVER,
            Err(Denied::UnknownDigest),
        ),
        (
            "for servers alone, listed",
            &member,
            listed(&[1]),
            SERVER,
            Ok(("uuid-1", None)),
        ),
        (
            "bootstrap",
            &member,
            boot,
            MEMBER,
            Ok(("audit", Some(Denied::BootstrapRefused))),
        ),
        (
            "expired, not listed",
            &old,
            listed(&[2]),
            MEMBER,
            Ok(("audit", unknown)),
        ),
        (
            "forged",
            &forged,
            listed(&[1]),
            MEMBER,
            Err(Denied::DigestCollision),
        ),
    ];
    for (case, peer, admission, kind, expected) in table {
        let known = Some(&b""[..]);
        let found = ask(peer, &admission, audit, known, kind);
        let found = found
            .as_ref()
            .map(|p| (p.key(), p.audited()))
            .map_err(|d| *d);
        assert_eq!(found, expected, "{case}");
    }
}
