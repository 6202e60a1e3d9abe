use super::super::finding::Verdict::{self, Error, Ok as Good, Warning};
use super::*;

fn address() -> SocketAddr {
    "127.0.0.1:11811".parse().unwrap()
}

#[test]
fn a_call_of_version_as_a_table() {
    let answer = |status, body: &str| Call::Answer(status, body.into());
    let table: [(Call, bool, &[Verdict]); 8] = [
        (Call::Unreachable("refused".into()), true, &[Error]),
        (Call::Unreachable("refused".into()), false, &[Warning]),
        (Call::NoTls("alert".into()), true, &[Good, Error]),
        (Call::NoAnswer("closed".into()), true, &[Good, Error]),
        (
            answer(StatusCode::OK, "[true, 3000000]"),
            true,
            &[Good, Good],
        ),
        (
            answer(StatusCode::OK, "[false, \"no\"]"),
            true,
            &[Good, Error],
        ),
        (
            answer(StatusCode::NOT_FOUND, "[true, 1]"),
            true,
            &[Good, Error],
        ),
        (answer(StatusCode::OK, "<html>"), true, &[Good, Error]),
    ];
    for (call, joined, expected) in table {
        let found: Vec<Finding> = judge(address(), true, joined, &call);
        let verdicts: Vec<Verdict> = found.iter().map(|f| f.verdict).collect();
        assert_eq!(verdicts, expected, "{call:?}");
        assert_eq!(found[0].id, "noded_listens");
        assert!(found.iter().all(|f| {
            f.message
                .starts_with("upstream.address = 127.0.0.1:11811: ")
        }));
    }
}

#[test]
fn noded_must_be_on_loopback_alone() {
    let table: [(&str, bool, &[&str], Verdict); 8] = [
        (
            "127.0.0.1:11811",
            true,
            &["127.0.0.1:11811", "0.0.0.0:1811"],
            Good,
        ),
        (
            "127.0.0.1:11811",
            true,
            &["127.0.0.1:11811", "[::1]:11811"],
            Good,
        ),
        ("127.0.0.1:11811", true, &[], Good),
        ("127.0.0.1:11811", true, &["0.0.0.0:11811"], Error),
        ("127.0.0.1:11811", true, &["[::]:11811"], Error),
        (
            "127.0.0.1:11811",
            false,
            &["127.0.0.1:11811", "192.0.2.7:11811"],
            Error,
        ),
        ("192.0.2.7:11811", true, &["192.0.2.7:11811"], Error),
        ("192.0.2.7:11811", false, &["192.0.2.7:11811"], Warning),
    ];
    for (upstream, plain, listeners, expected) in table {
        let listeners: Vec<Listener> = listeners
            .iter()
            .map(|a| Listener::at(a.parse().unwrap()))
            .collect();
        let found = exposure(upstream.parse().unwrap(), plain, Some(&listeners));
        assert_eq!(found.verdict, expected, "{found:?}");
    }
    assert_eq!(exposure(address(), true, None).verdict, Warning);
}

#[test]
fn the_guard_is_proven_or_missed() {
    let table = [
        (Attempt::Accepted, Warning),
        (Attempt::Refused, Good),
        (Attempt::NotRoot, Warning),
        (Attempt::Failed("ENOEXEC".into()), Warning),
    ];
    for (attempt, expected) in table {
        assert_eq!(guard(address(), &attempt).verdict, expected, "{attempt:?}");
    }
    let open = guard(address(), &Attempt::Accepted).message;
    assert!(open.contains("any local user can command noded: load systemd/noded-proxy-guard.nft"));
}
