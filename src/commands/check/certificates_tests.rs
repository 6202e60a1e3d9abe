use super::super::finding::Verdict::{self, Error, Ok, Warning};
use super::*;
use crate::tls::KeyKind;
use rustix::io::Errno;

use rules::dn::Name;
use rules::identity::Digest;

const NOW: i64 = 1_700_000_000;

pub(in super::super) fn certificate(n: u8) -> CertificateInfo {
    CertificateInfo {
        digest: Digest::from_bytes([n; 20]),
        der: [n].into(),
        common_name: Some("node1.example.com".into()),
        not_before: NOW - DAY,
        not_after: NOW + 1000 * DAY,
        x509_version: 1,
        kind: KeyKind::Rsa,
        key_bits: 2048,
        rsa: true,
        signature: "sha256WithRSAEncryption".into(),
        subject: Name::from_der([n]),
        issuer: Name::from_der([1]),
    }
}

fn verdict(findings: &[Finding], id: &str) -> Option<Verdict> {
    findings.iter().find(|f| f.id == id).map(|f| f.verdict)
}

#[test]
fn validity_has_ganetis_thresholds() {
    let table = [
        (-DAY, 1000 * DAY, Ok),
        (-DAY, 30 * DAY, Ok),
        (-DAY, 30 * DAY - 1, Warning),
        (-DAY, 7 * DAY, Warning),
        (-DAY, 7 * DAY - 1, Error),
        (-DAY, -1, Error),
        (150, DAY * 1000, Ok),
        (151, DAY * 1000, Error),
    ];
    for (from, to, expected) in table {
        let info = CertificateInfo {
            not_before: NOW + from,
            not_after: NOW + to,
            ..certificate(1)
        };
        let pem = Pem::Good(Box::new(info), 0o440);
        let found = server("s".as_ref(), &pem, false, NOW);
        assert_eq!(
            verdict(&found, "server_pem_expiry"),
            Some(expected),
            "{from} {to}"
        );
    }
}

#[test]
fn weak_keys_and_old_signatures_are_told() {
    let table = [
        (true, 2048, "sha256WithRSAEncryption", false, Ok),
        (true, 1024, "sha256WithRSAEncryption", false, Error),
        (true, 1024, "sha1WithRSAEncryption", true, Warning),
        (true, 4096, "sha1WithRSAEncryption", false, Warning),
        (false, 256, "ecdsa-with-SHA256", false, Ok),
        (false, 256, "ecdsa-with-SHA1", false, Warning),
    ];
    for (rsa, key_bits, signature, legacy, expected) in table {
        let signature = signature.to_owned();
        let info = CertificateInfo {
            rsa,
            key_bits,
            signature,
            ..certificate(1)
        };
        let found = server("s".as_ref(), &Pem::Good(Box::new(info), 0o440), legacy, NOW);
        assert_eq!(
            verdict(&found, "server_pem_key"),
            Some(expected),
            "{rsa} {key_bits}"
        );
    }
}

#[test]
fn a_key_that_others_can_read_is_an_error() {
    for (mode, expected) in [
        (0o400, Ok),
        (0o440, Ok),
        (0o640, Ok),
        (0o444, Error),
        (0o602, Error),
    ] {
        let found = server(
            "s".as_ref(),
            &Pem::Good(Box::new(certificate(1)), mode),
            false,
            NOW,
        );
        assert_eq!(
            verdict(&found, "server_pem_mode"),
            Some(expected),
            "{mode:o}"
        );
    }
}

#[test]
fn an_absent_server_pem_is_waited_for_and_a_faulty_one_is_not() {
    let found = |pem| verdict(&server("s".as_ref(), &pem, false, NOW), "server_pem");
    assert_eq!(found(Pem::Absent), Some(Warning));
    assert_eq!(found(Pem::Faulty("cut short".into())), Some(Error));
    let forbidden = Pem::Faulty(format!("cannot be read: {}", Errno::ACCESS));
    let found = server("s".as_ref(), &forbidden, false, NOW);
    assert!(
        found[0].message.ends_with(": run this as root"),
        "{found:?}"
    );
}

#[test]
fn the_clients_issuer_as_a_table() {
    let own = certificate(1);
    let table = [
        (certificate(1), true, Error), // server.pem itself
        (
            CertificateInfo {
                issuer: Name::from_der([2]),
                ..certificate(2)
            },
            false,
            Warning,
        ), // self-signed
        (
            CertificateInfo {
                issuer: Name::from_der([3]),
                ..certificate(2)
            },
            false,
            Warning,
        ), // another name
        (certificate(2), false, Warning), // an old server.pem
        (certificate(2), true, Ok),
    ];
    for (info, signed, expected) in table {
        let pem = Pem::Good(Box::new(info.clone()), 0o440);
        let found = client("c".as_ref(), &pem, &own, signed, NOW);
        assert_eq!(
            verdict(&found, "client_pem_issuer"),
            Some(expected),
            "{info:?}"
        );
    }
}

#[test]
fn the_role_follows_from_the_host_name() {
    let nodes: Vec<String> = ["n1.example.com", "n2.example.com"].map(Into::into).into();
    let role = |host| role(host, Some(&nodes), Some(&nodes[..1]));
    assert_eq!(role("n1.example.com"), Role::Candidate);
    assert_eq!(role("n1"), Role::Candidate);
    assert_eq!(role("n2"), Role::Normal);
    assert!(matches!(role("n1.example.org"), Role::Unknown(_)));
    assert!(matches!(role("n"), Role::Unknown(_)));
    assert!(matches!(
        super::role("n1", None, Some(&nodes)),
        Role::Unknown(_)
    ));
}
