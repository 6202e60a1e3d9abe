//! Rows on the candidate map, the certificates and the proxy.

use super::super::observed::*;
use super::nodes_tests::{NOW, candidate, digest, normal};
use super::{Row, check, row};
use crate::verify::Id::*;

fn configured(seen: &mut Observed) -> &mut Configuration {
    match &mut seen.configuration {
        Seen::Good(configured) => configured,
        _ => panic!("no configuration"),
    }
}

/// Into the map of this node and into the configuration's.
fn list(seen: &mut Observed, uuid: &str, byte: u8) {
    let text = digest(byte).to_string();
    configured(seen).candidate_certs.insert(uuid.into(), text);
    list_here(seen, uuid, byte);
}

/// Into the map of this node.
fn list_here(seen: &mut Observed, uuid: &str, byte: u8) {
    match &mut seen.map {
        Seen::Good(map) => map.push((uuid.into(), digest(byte))),
        _ => panic!("no map"),
    }
}

fn own(seen: &mut Observed) -> &mut Certificate {
    match &mut seen.certificates.client.certificate {
        Seen::Good(certificate) => certificate,
        _ => panic!("no client.pem"),
    }
}

fn proxy(seen: &mut Observed) -> &mut Proxy {
    seen.proxy.as_mut().unwrap()
}

fn fault(seen: &mut Observed, kind: &str) {
    proxy(seen).faults.push((kind.into(), "why".into()));
}

pub(super) fn rows() -> Vec<Row> {
    [map(), certificates(), of_proxy()]
        .into_iter()
        .flatten()
        .collect()
}

fn map() -> Vec<Row> {
    vec![
        row(candidate, &[MapFaulty], |seen| seen.map = Seen::Absent),
        row(candidate, &[MapFaulty], |seen| {
            seen.map = Seen::Good(vec![])
        }),
        row(candidate, &[MapFaulty], |seen| {
            seen.map = Seen::Faulty("line 1: blank line".into());
        }),
        row(candidate, &[MapEntryUnknown], |seen| {
            list(seen, "uuid-intruder", 7)
        }),
        row(candidate, &[MapEntryUnknown, MapDiffers], |seen| {
            list_here(seen, "uuid-intruder", 7);
        }),
        row(candidate, &[MapEntryNoCandidate], |seen| {
            list(seen, "uuid-n3", 3)
        }),
        row(candidate, &[MapEntryOffline], |seen| {
            configured(seen).nodes.get_mut("uuid-n2").unwrap().offline = true;
        }),
        row(candidate, &[MapEntryOffline], |seen| {
            configured(seen).nodes.get_mut("uuid-n2").unwrap().drained = true;
        }),
        row(candidate, &[MapEntryMissing], |seen| {
            configured(seen).candidate_certs.remove("uuid-n2");
            seen.map = Seen::Good(vec![("uuid-n1".into(), digest(1))]);
        }),
        row(candidate, &[MapDigestTwice, MapDiffers], |seen| {
            seen.map = Seen::Good(vec![
                ("uuid-n1".into(), digest(1)),
                ("uuid-n2".into(), digest(1)),
            ]);
        }),
        // The master's own certificate under another UUID, too: it is not stolen.
        row(
            candidate,
            &[MapDigestTwice, MapDiffers, MapEntryUnknown],
            |seen| {
                list_here(seen, "uuid-intruder", 1);
                if let Seen::Good(map) = &mut seen.map {
                    map.reverse();
                }
            },
        ),
        row(candidate, &[MapBootstrap], |seen| {
            list(seen, "bootstrap", 7)
        }),
        row(normal, &[MapBootstrap, MapCount], |seen| {
            list_here(seen, "bootstrap", 7)
        }),
        row(normal, &[MapCount, MapEntryWithoutKey], |seen| {
            list_here(seen, "uuid-intruder", 7);
        }),
        row(normal, &[MapEntryWithoutKey, SshNormalNode], |seen| {
            seen.map = Seen::Good(vec![
                ("uuid-n1".into(), digest(1)),
                ("uuid-intruder".into(), digest(7)),
            ]);
        }),
        // Without keys of Ganeti's nobody can say whose UUID it is.
        row(normal, &[SshUnsorted, SshStranger, SshSharedKey], |seen| {
            seen.ssh.pub_keys = Seen::Absent;
        }),
    ]
}

fn certificates() -> Vec<Row> {
    vec![
        row(candidate, &[ServerPem], |seen| {
            seen.certificates.server.certificate = Seen::Absent;
        }),
        row(candidate, &[ServerPem], |seen| {
            seen.certificates.server.key_fault = Some("it does not fit".into());
        }),
        row(candidate, &[ClientPem], |seen| {
            seen.certificates.client.certificate = Seen::Absent;
        }),
        row(normal, &[], |seen| {
            seen.certificates.client.certificate = Seen::Absent
        }),
        row(normal, &[ClientPem], |seen| {
            seen.certificates.client.certificate = Seen::Faulty("no certificate".into());
        }),
        row(candidate, &[ClientKey], |seen| {
            seen.certificates.client.key_fault = Some("it does not fit".into());
        }),
        row(normal, &[ClientIssuer], |seen| {
            own(seen).signed_by_server = Some(false)
        }),
        // Before Ganeti 2.12.5: they sign themselves in the cluster's name.
        row(normal, &[ClientIssuer], |seen| {
            own(seen).signed_by_server = Some(false);
            own(seen).common_name = Some("ganeti.example.com".into());
        }),
        row(normal, &[ClientIssuerTypes], |seen| {
            own(seen).issuer_name = Some(SameName::OtherTypes);
        }),
        row(normal, &[ClientName], |seen| {
            own(seen).common_name = Some("n4".into())
        }),
        // A normal node with a candidate's, a candidate with another's, each with its key.
        row(normal, &[ClientName, ClientStolen], |seen| {
            own(seen).digest = digest(2);
            own(seen).common_name = Some("n2".into());
        }),
        row(candidate, &[ClientName, ClientStolen], |seen| {
            own(seen).digest = digest(2);
            own(seen).common_name = Some("n2".into());
        }),
        row(candidate, &[ClientName, ClientStolen], |seen| {
            seen.configuration = Seen::Absent;
            own(seen).digest = digest(2);
            own(seen).common_name = Some("n2".into());
        }),
        row(normal, &[ClientStolen], |seen| {
            let mut backup = seen.certificates.client.clone();
            if let Seen::Good(certificate) = &mut backup.certificate {
                certificate.digest = digest(2);
            }
            seen.certificates.client_backups.push(backup);
        }),
        row(normal, &[ClientKey, ClientName], |seen| {
            own(seen).digest = digest(2);
            own(seen).common_name = Some("n2".into());
            seen.certificates.client.key_fault = Some("only the certificate was taken".into());
        }),
        row(candidate, &[ClientNotListed], |seen| {
            own(seen).digest = digest(7)
        }),
        row(normal, &[ServicePem], |seen| {
            seen.certificates.services[0].key_fault = Some("it does not fit".into());
        }),
        row(candidate, &[ServicePem], |seen| {
            seen.certificates.services[0].certificate = Seen::Faulty("cut".into());
        }),
        row(candidate, &[], |seen| {
            seen.certificates.services[0].certificate = Seen::Absent;
        }),
        row(normal, &[CertificateExpired], |seen| {
            service(seen).not_after = NOW - 1
        }),
        row(normal, &[CertificateExpires], |seen| {
            service(seen).not_after = NOW + 86_400
        }),
        row(normal, &[CertificateNotYetValid], |seen| {
            service(seen).not_before = NOW + 151
        }),
        row(normal, &[CertificateWeak], |seen| {
            service(seen).key_bits = 1024
        }),
        row(normal, &[CertificateWeak], |seen| {
            service(seen).signature = "sha1WithRSAEncryption".into();
        }),
        row(normal, &[CertificateExpired], |seen| {
            own(seen).not_after = NOW - 1
        }),
        row(normal, &[CertificateExpires], |seen| {
            own(seen).not_after = NOW + 86_400
        }),
        row(normal, &[CertificateNotYetValid], |seen| {
            own(seen).not_before = NOW + 151
        }),
        row(normal, &[], |seen| own(seen).not_before = NOW + 149),
        row(normal, &[CertificateWeak], |seen| own(seen).key_bits = 1024),
        row(normal, &[CertificateWeak], |seen| {
            own(seen).signature = "sha1WithRSAEncryption".into();
        }),
        row(normal, &[], |seen| {
            (own(seen).key_bits, own(seen).rsa) = (256, false);
        }),
    ]
}

fn service(seen: &mut Observed) -> &mut Certificate {
    match &mut seen.certificates.services[0].certificate {
        Seen::Good(certificate) => certificate,
        other => panic!("{other:?}"),
    }
}

fn of_proxy() -> Vec<Row> {
    vec![
        row(normal, &[], |seen| seen.proxy = None),
        row(normal, &[ProxyDown], |seen| {
            seen.proxy = Some(Proxy {
                down: Some("nobody answers".into()),
                ..Proxy::default()
            });
        }),
        // The guard, which nobody needs, is no matter then.
        row(normal, &[ProxyUnused], |seen| {
            seen.proxy = Some(Proxy {
                down: Some("nobody answers".into()),
                unused: true,
                faults: vec![("guard_missing".into(), "why".into())],
                ..Proxy::default()
            });
        }),
        row(normal, &[ProxyNotReady], |seen| proxy(seen).ready = false),
        row(normal, &[ProxyAudit], |seen| {
            proxy(seen).audit = true;
            fault(seen, "audit_mode");
        }),
        row(normal, &[ProxyMap], |seen| fault(seen, "candidate_map")),
        row(normal, &[ProxyGuard], |seen| fault(seen, "guard_missing")),
        row(normal, &[NodedDown], |seen| fault(seen, "noded_down")),
        row(normal, &[NodedOpen], |seen| fault(seen, "noded_exposed")),
        row(normal, &[NodedOpen], |seen| {
            proxy(seen).past.push("nobody can connect".into())
        }),
        row(normal, &[ProxyDegraded], |seen| fault(seen, "state")),
        row(normal, &[CertificateShared], |seen| {
            let nodes = vec!["n1".into(), "n2".into()];
            proxy(seen).shared.push((digest(1), nodes));
        }),
    ]
}

#[test]
fn map_as_a_table() {
    check(map());
}

#[test]
fn certificates_as_a_table() {
    check(certificates());
}

#[test]
fn proxy_as_a_table() {
    check(of_proxy());
}
