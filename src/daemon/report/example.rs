//! A report and a list of certificates for the tests of those that show them; it is only in tests.

use super::admission::tests::admission;
use super::*;
use crate::proxy::reason::Reason;
use crate::trust::sightings::Sighting;
use crate::trust::{CaState, Source};
use rules::authz::Denied;
use rules::policy::State;

/// 2026-11-26T10:30:00Z.
pub(crate) const NOW: i64 = 1_795_689_000;
const END: i64 = NOW + 157_679_879;

const fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 20])
}

/// A proxy in audit mode that refused one caller.
pub(crate) fn report() -> Report {
    let refusal = RefusalRecord {
        time: NOW as u64 - 200,
        peer: "192.0.2.9:40000".parse().unwrap(),
        reason: Reason::Denied(Denied::UnknownDigest).into(),
        procedure: None,
        why: Denied::UnknownDigest.to_string(),
        admitted_by_audit: false,
        common_name: Some("node9".into()),
        digest: Some(digest(2)),
    };
    Report {
        version: "0.1.0".into(),
        tls_library: "x".into(),
        host: "node1.example.com".into(),
        uptime_seconds: 2 * 86_400,
        mode: Mode::Audit,
        policy: Some(RpcPolicy {
            state: State::Enforce,
            deny: 1,
            allow_from_master_only: 2,
            refused: 5,
            audited: 0,
        }),
        health: Health::new(true, vec![Degraded::AuditMode]),
        listening: vec!["[::]:1811".parse().unwrap()],
        admission: admission(Phase::Listed, &[]),
        server_pem: Some(ServerPem {
            digest: digest(1),
            common_name: Some("ganeti.example.com".into()),
            not_after: END,
            expires_in_seconds: END - NOW,
            shown_to_clients: ServerCertificate::Ecdsa,
        }),
        client_ca_list: Some(ca_list()),
        certificates_used_by_another_node: Vec::new(),
        connections: Connections {
            open: 4,
            handshakes: 1,
        },
        upstream: Upstream {
            address: "127.0.0.1:298".parse().unwrap(),
            slots: 20,
            slots_in_use: 2,
            waiting: 0,
            warm: 1,
            down: None,
            guard: Some(GuardState::Holds),
        },
        sandbox: sandbox::Report::default(),
        last_refusals: vec![refusal],
        handover: Handover::default(),
    }
}

fn ca_list() -> ClientCaList {
    ClientCaList {
        state: CaState::Incomplete,
        certificates_not_known: 1,
        names: Vec::new(),
    }
}

/// One candidate whose certificate two nodes used, and one whose certificate is not known.
pub(crate) fn certificates() -> Certificates {
    let seen = Sighting {
        common_name: Some("n".into()),
        address: "192.0.2.1".parse().unwrap(),
        last_seen: NOW as u64 - 100,
        connections: 2,
        nodes: ["n1".into(), "n2".into()].into(),
    };
    let known = KnownCandidate {
        key: "uuid-1".into(),
        digest: digest(2),
        known_from: Some(Source::Learned),
        known_since: Some(NOW as u64 - 200),
        certificate: Some(certificate(2)),
        seen: Some(seen),
    };
    let unknown = KnownCandidate {
        key: "uuid-2".into(),
        digest: digest(3),
        known_from: None,
        known_since: None,
        certificate: None,
        seen: None,
    };
    Certificates {
        version: VERSION.into(),
        phase: Phase::Listed,
        source: Origin::RunningProxy,
        client_ca_list: Some(ca_list()),
        server_pem: Some(certificate(1)),
        candidates: vec![known, unknown],
    }
}

fn certificate(byte: u8) -> Certificate {
    let name = || Name {
        name: "CN=n".into(),
        string_types: vec!["UTF8String".into()],
    };
    Certificate {
        digest: digest(byte),
        common_name: Some("n".into()),
        subject: name(),
        issuer: name(),
        self_issued: true,
        x509_version: 1,
        key: "RSA 2048".into(),
        signature: "sha256WithRSAEncryption".into(),
        not_after: END,
    }
}
