//! Arguments as a table: what Ganeti makes, and what it does not.

use super::*;
use proptest::prelude::*;

fn import() -> Typed {
    Typed {
        status: "/run/ganeti/import-export/x/status".into(),
        mode: "import".into(),
        key: Some("/k".into()),
        cert: Some("/c".into()),
        ca: Some("/a".into()),
        ipv4: true,
        connect_timeout: 60,
        compress: "gzip".into(),
        magic: Some("0123456789abcdef".into()),
        cmd_suffix: Some("| cat".into()),
        ..Typed::default()
    }
}

fn export() -> Typed {
    Typed {
        mode: "export".into(),
        host: Some("192.0.2.1".into()),
        port: Some(4711),
        connect_retries: 10,
        cmd_suffix: None,
        cmd_prefix: Some("cat x |".into()),
        expected_size: Some("128".into()),
        ..import()
    }
}

#[test]
fn what_ganeti_makes_is_understood() {
    let order = import().order().unwrap();
    let sink = Sink::Command("cat".into());
    assert_eq!(order.way, Way::Import { port: 0, sink });
    assert_eq!((order.family, order.size), (Family::V4, Size::Unknown));
    let order = export().order().unwrap();
    assert!(matches!(
        order.way,
        Way::Export {
            retries: 10,
            port: 4711,
            ..
        }
    ));
    assert_eq!(order.size, Size::Mebibytes(128));
    let told = Typed {
        expected_size: Some("fd".into()),
        ..export()
    };
    assert_eq!(told.order().unwrap().size, Size::Told);
}

type Change = fn(&mut Typed);

#[test]
fn what_ganeti_does_not_make_is_refused() {
    let table: [(Typed, Change, &str); 19] = [
        (
            import(),
            |t| t.status = "status".into(),
            "the path of the status file",
        ),
        (
            import(),
            |t| t.mode = "move".into(),
            "the mode is import or export",
        ),
        (import(), |t| t.key = None, "--key is missing"),
        (import(), |t| t.cert = None, "--cert is missing"),
        (import(), |t| t.ca = None, "--ca is missing"),
        (import(), |t| t.ipv6 = true, "only one of"),
        (
            import(),
            |t| t.host = Some("a".into()),
            "--host is not for an import",
        ),
        (
            import(),
            |t| t.cmd_prefix = Some("a |".into()),
            "--cmd-prefix is not for an import",
        ),
        (
            import(),
            |t| t.cmd_suffix = Some("; cat".into()),
            "--cmd-suffix has a form",
        ),
        (
            import(),
            |t| t.magic = Some("abcd".into()),
            "--magic has a value",
        ),
        (
            import(),
            |t| t.magic = Some("abc\ndef".into()),
            "--magic has a value",
        ),
        (
            import(),
            |t| t.compress = "../x".into(),
            "--compress has a value",
        ),
        (
            import(),
            |t| t.compress = "-x".into(),
            "--compress has a value",
        ),
        (
            import(),
            |t| t.compress = "zstd -T0".into(),
            "--compress has a value",
        ),
        (
            import(),
            |t| t.bind = Some("::1".into()),
            "--bind has a value",
        ),
        (
            import(),
            |t| t.expected_size = Some("-1".into()),
            "--expected-size has a value",
        ),
        (export(), |t| t.host = None, "--host is missing"),
        (export(), |t| t.port = None, "--port is missing"),
        (
            export(),
            |t| t.host = Some("a,b".into()),
            "--host has a value",
        ),
    ];
    for (mut typed, change, told) in table {
        change(&mut typed);
        let wrong = typed.order().unwrap_err().to_string();
        assert!(wrong.contains(told), "{wrong}");
    }
}

#[test]
fn tools_as_ganeti_calls_them() {
    let of = |tool| match Compress::parse(tool) {
        Some(Compress::Program { name, pack, unpack }) => (name, pack.join(" "), unpack.join(" ")),
        other => panic!("{tool}: {other:?}"),
    };
    let texts = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(of("gzip"), texts("gzip", "-1 -c", "-d -c"));
    assert_eq!(of("gzip-fast"), texts("gzip", "-1 -c", "-d -c"));
    assert_eq!(of("gzip-slow"), texts("gzip", "-c", "-d -c"));
    assert_eq!(of("lzop"), texts("lzop", "-c", "-d -c"));
    assert_eq!(of("pigz"), texts("pigz", "", "-d"));
    assert_eq!(Compress::parse("none"), Some(Compress::None));
}

proptest! {
    #[test]
    fn a_tool_is_one_plain_word(tool in ".{0,80}") {
        if let Some(Compress::Program { name, .. }) = Compress::parse(&tool) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            prop_assert!(name.chars().all(plain) && !name.starts_with(['-', '.']));
        }
    }
}
