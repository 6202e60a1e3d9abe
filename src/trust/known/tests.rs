use super::*;
use crate::tls::mint::{CertificateBuilder, common_name, p256_key};
use crate::tls::{KeyKind, certificates_with};
use proptest::prelude::*;
use rules::Named;
use rules::admission::Nobody;
use rules::authz::{Denied, Facts, Policy, authorise};
use rules::candidates::{MapFile, parse};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

fn listed(digests: &[u8]) -> Admission {
    let text: Vec<String> = digests
        .iter()
        .map(|d| format!("u{d}={}", Digest::from_bytes([*d; 20])))
        .collect();
    match parse(text.join("\n").as_bytes()) {
        MapFile::Listed(map) => Admission::Listed(Arc::new(map)),
        other => panic!("{other}"),
    }
}

fn certificate(digest: u8, subject: &str, issuer: &str) -> CertificateInfo {
    let name = |text: &str| Name::from_der(text.as_bytes());
    CertificateInfo {
        digest: Digest::from_bytes([digest; 20]),
        der: Arc::from(subject.as_bytes()),
        common_name: None,
        not_before: 0,
        not_after: 0,
        subject: name(subject),
        issuer: name(issuer),
        x509_version: 1,
        rsa: true,
        kind: KeyKind::Rsa,
        key_bits: 2048,
        signature: String::new(),
    }
}

fn known(list: &[CertificateInfo], admission: &Admission) -> (Known, Vec<Collision>) {
    let found = list.iter().map(|info| KnownCertificate {
        info: info.clone(),
        source: Source::Learned,
        since: None,
    });
    Known::gather(found.map(Arc::new), admission)
}

fn names(list: &CaList) -> Vec<String> {
    let text = |name: &Name| String::from_utf8_lossy(name.der()).into_owned();
    list.names.iter().map(text).collect()
}

#[test]
fn the_client_ca_list_as_a_table() {
    use WhenIncomplete::{Empty, Partial};
    let server = certificate(9, "cluster", "cluster");
    let signed = certificate(1, "n1", "cluster");
    let old = certificate(2, "cluster'", "cluster'"); // the same name in another string type
    let left = certificate(3, "n3", "other");
    let all = [signed, old, left];
    let nobody = Admission::Nobody(Nobody::NoGoodMap);
    let boot = Admission::Bootstrap(server.digest);
    type Row<'a> = (
        &'a str,
        Admission,
        WhenIncomplete,
        &'a str,
        usize,
        &'a [&'a str],
    );
    let table: [Row<'_>; 6] = [
        (
            "all known",
            listed(&[1, 2]),
            Empty,
            "complete",
            0,
            &["cluster", "cluster'", "n1"],
        ),
        (
            "only what the map lists",
            listed(&[1]),
            Empty,
            "complete",
            0,
            &["cluster", "n1"],
        ),
        (
            "one is missing",
            listed(&[1, 4]),
            Empty,
            "incomplete",
            1,
            &[],
        ),
        (
            "one is missing",
            listed(&[1, 4]),
            Partial,
            "partial",
            1,
            &["cluster", "n1"],
        ),
        ("bootstrap", boot, Empty, "complete", 0, &["cluster"]),
        ("nobody", nobody, Partial, "nobody", 0, &[]),
    ];
    for (case, admission, policy, state, missing, expected) in table {
        let (known, collisions) = known(&all, &admission);
        let list = CaList::new(&admission, &known, &server, policy);
        assert_eq!(
            (list.state.name(), list.missing, collisions.len()),
            (state, missing, 0),
            "{case}"
        );
        assert_eq!(names(&list), expected, "{case}");
    }
}

#[test]
fn a_list_that_tls_cannot_carry_is_cut_to_the_issuers_and_then_to_nothing() {
    let server = certificate(9, "cluster", "cluster");
    let long = |n: u8| format!("{n:030000}");
    let admission = listed(&[1, 2, 3]);
    let list = |issuer: fn(u8) -> String| {
        let all = [1, 2, 3].map(|n| certificate(n, &long(n), &issuer(n)));
        CaList::new(
            &admission,
            &known(&all, &admission).0,
            &server,
            WhenIncomplete::Empty,
        )
    };
    assert_eq!(names(&list(|_| "cluster".into())), ["cluster"]);
    let self_signed = list(|n| format!("{n:030000}"));
    assert_eq!(
        (self_signed.state.name(), self_signed.names.len()),
        ("too_long", 0)
    );
}

/// Nobody can make two certificates with one SHA-1 digest, so the digest function is another here.
#[test]
fn two_certificates_with_one_digest_are_told_apart_by_their_bytes() {
    let mint = || {
        let key = p256_key().unwrap();
        let minted = CertificateBuilder::new(common_name("node1").unwrap(), key).mint();
        let pem = minted.unwrap().pem().unwrap();
        let weak = |_: &[u8]| Digest::from_bytes([1; 20]);
        certificates_with(&pem, weak).unwrap().remove(0)
    };
    let (genuine, forged) = (mint(), mint());
    assert_eq!(genuine.digest, forged.digest);
    let admission = listed(&[1]);
    let (both, collisions) = known(&[genuine.clone(), forged.clone()], &admission);
    assert_eq!(
        (both.iter().count(), collisions.len()),
        (1, 1),
        "the first counts"
    );
    let ask = |shown: &CertificateInfo| {
        let peer = shown.as_peer(IpAddr::from([127, 0, 0, 1]));
        let facts = Facts {
            admission: &admission,
            known: both.der(&peer.digest),
            candidate_addresses: &HashSet::new(),
            primary_addresses: &HashMap::new(),
            cluster: None,
            master_ip: None,
            of_the_cluster: true,
            excludes_clients: false,
            now: peer.not_before,
        };
        authorise(&peer, &facts, Policy::default()).map(|_| ())
    };
    assert_eq!(ask(&genuine), Ok(()));
    assert_eq!(ask(&forged), Err(Denied::DigestCollision));
}

proptest! {
    #[test]
    fn no_bytes_are_a_bundle_that_panics(pem in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(crate::tls::certificates(&pem).is_err());
    }

    #[test]
    fn no_base64_is_a_bundle_that_panics(text in "([A-Za-z0-9+/]{4}){0,100}") {
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        );
        // Whatever it holds, nothing is admitted by it: only the map lists digests.
        if let Ok(list) = crate::tls::certificates(pem.as_bytes()) {
            prop_assert!(known(&list, &Admission::Nobody(Nobody::NoGoodMap)).0 == Known::default());
        }
        prop_assert!(crate::tls::Credentials::from_pem(pem.as_bytes()).is_err());
    }
}
