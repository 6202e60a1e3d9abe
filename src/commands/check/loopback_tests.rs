use super::super::finding::Verdict::{self, Error, Ok as Good, Warning};
use super::*;
use std::time::Duration;

fn address() -> SocketAddr {
    "127.0.0.1:298".parse().unwrap()
}

fn says() -> GuardWatch {
    GuardWatch::Says("/f".into())
}

#[test]
fn noded_must_be_on_loopback_alone() {
    let table: [(&str, bool, &[&str], Verdict); 8] = [
        (
            "127.0.0.1:298",
            true,
            &["127.0.0.1:298", "0.0.0.0:1811"],
            Good,
        ),
        ("127.0.0.1:298", true, &["127.0.0.1:298", "[::1]:298"], Good),
        ("127.0.0.1:298", true, &[], Good),
        ("127.0.0.1:298", true, &["0.0.0.0:298"], Error),
        ("127.0.0.1:298", true, &["[::]:298"], Error),
        (
            "127.0.0.1:298",
            false,
            &["127.0.0.1:298", "192.0.2.7:298"],
            Error,
        ),
        ("192.0.2.7:298", true, &["192.0.2.7:298"], Error),
        ("192.0.2.7:298", false, &["192.0.2.7:298"], Warning),
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
fn whose_the_port_is_as_a_table() {
    let table = [
        (&[][..], None),
        (&[("127.0.0.1:298", 0)], Some(Good)),
        (&[("127.0.0.1:298", 1000)], Some(Good)),
        (&[("127.0.0.1:298", 65_534)], Some(Error)),
        (&[("127.0.0.2:298", 65_534)], None),
    ];
    let trusted = Trusted {
        own: 1000,
        also: None,
    };
    for (sockets, expected) in table {
        let sockets: Vec<Listener> = sockets
            .iter()
            .map(|(at, uid): &(&str, u32)| Listener::of(at.parse().unwrap(), *uid))
            .collect();
        let found = owner(address(), &sockets, trusted);
        assert_eq!(found.as_ref().map(|f| f.verdict), expected, "{found:?}");
        if let Some(found) = found.filter(|f| f.verdict == Error) {
            for word in ["impersonated", "uid 65534", "start ganeti-noded"] {
                assert!(found.message.contains(word), "{found:?}");
            }
        }
    }
}

#[test]
fn a_port_that_anybody_may_take_is_a_warning_that_names_one_of_root() {
    let at = |address: &str| UpstreamConfig {
        address: address.parse().unwrap(),
        ..UpstreamConfig::default()
    };
    let table = [
        (at("127.0.0.1:298"), 1024, Good),
        (at("127.0.0.1:298"), 80, Warning),
        (at("127.0.0.1:1023"), 1024, Good),
        (at("127.0.0.1:11811"), 1024, Warning),
        (UpstreamConfig::default(), 1024, Good),
    ];
    for (upstream, unprivileged, expected) in table {
        let found = port(&upstream, unprivileged);
        assert_eq!(found.verdict, expected, "{found:?}");
        if expected == Warning {
            let wanted = format!("-p {NODED_PORT} in NODED_ARGS");
            assert!(found.message.contains(&wanted), "{found:?}");
        }
    }
}

#[test]
fn the_guard_s_word_as_a_table() {
    let said = |owned| {
        Ok(Said {
            port: 298,
            loaded: Duration::ZERO,
            renewed: Duration::ZERO,
            owned,
        })
    };
    let table: [(GuardWatch, Result<Said, Missing>, Option<Verdict>); 6] = [
        (GuardWatch::NotNeeded, Err(Missing::Silent), None),
        (GuardWatch::Off, Err(Missing::Silent), Some(Warning)),
        (says(), Err(Missing::Silent), Some(Error)),
        (says(), Err(Missing::OtherPort(1)), Some(Error)),
        (says(), said(true), Some(Good)),
        (says(), said(false), Some(Warning)),
    ];
    for (watch, word, expected) in table {
        let found = guard(address(), &watch, word.clone());
        assert_eq!(found.as_ref().map(|f| f.verdict), expected, "{found:?}");
        if let Some(found) = found.filter(|f| f.verdict == Error) {
            let restart = "systemctl restart noded-proxy-guard";
            assert!(found.message.contains(restart), "{found:?}");
            let other = matches!(word, Err(Missing::OtherPort(_)));
            assert_eq!(found.message.contains("noded_port = 298"), other);
        }
    }
}

#[test]
fn that_nobody_is_kept_out_is_proven_or_missed() {
    let table = [
        (Attempt::Accepted, says(), Error),
        (Attempt::Accepted, GuardWatch::Off, Warning),
        (Attempt::Refused, says(), Good),
        (Attempt::NotRoot, says(), Warning),
        (Attempt::Failed("ENOEXEC".into()), says(), Warning),
    ];
    for (attempt, watch, expected) in table {
        let found = kept_out(address(), &watch, &attempt);
        assert_eq!(found.verdict, expected, "{attempt:?}");
        let open = found.message.contains("any local user can command noded");
        assert_eq!(open, attempt == Attempt::Accepted);
    }
}
