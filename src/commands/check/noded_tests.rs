use super::super::finding::Verdict::{self, Error, Ok as Good, Warning};
use super::*;

fn address() -> SocketAddr {
    "127.0.0.1:298".parse().unwrap()
}

#[test]
fn a_call_of_version_as_a_table() {
    let by = |server, status, body: &str| Call::Answer(status, server, body.into());
    let answer = |status, body: &str| by(Server::Processes, status, body);
    let table: [(Call, bool, &[Verdict]); 10] = [
        (Call::Unreachable("refused".into()), true, &[Error]),
        (Call::Unreachable("refused".into()), false, &[Warning]),
        (Call::NoTls("alert".into()), true, &[Good, Error]),
        (Call::NoAnswer("closed".into()), true, &[Good, Error]),
        (
            answer(StatusCode::OK, "[true, 3000000]"),
            true,
            &[Good, Good, Good],
        ),
        (
            by(Server::Threads, StatusCode::OK, "[true, 3020000]"),
            true,
            &[Good, Good, Warning],
        ),
        (
            by(Server::Unknown, StatusCode::OK, "[true, 3000000]"),
            true,
            &[Good, Good, Good],
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
        assert!(
            found
                .iter()
                .all(|f| { f.message.starts_with("upstream.address = 127.0.0.1:298: ") })
        );
    }
}
