use super::*;

#[test]
fn the_sample_file_equals_the_defaults() {
    let sample = include_str!("../../config/noded-proxy.toml");
    assert_eq!(file::parse(sample, "sample").unwrap(), Config::default());
    // and with every key uncommented it still does
    let keys: Vec<String> = sample
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| line.strip_prefix('#').unwrap_or(line).to_owned())
        .collect();
    let mut all = file::parse(&keys.join("\n"), "sample").unwrap();
    assert_eq!(all.candidate_map.take(), Some(Config::default().map_path()));
    assert_eq!(
        all.candidate_certs.take(),
        Some("/etc/noded-proxy/candidates".into())
    );
    assert_eq!(
        all.candidate_bundle.take(),
        Some("/etc/noded-proxy/candidates.pem".into())
    );
    assert_eq!(
        all.upstream.fast_slots.take(),
        Some(Config::default().upstream.fast_slots())
    );
    assert_eq!(
        all.limits.reserved.take(),
        Some(Config::default().limits.reserved())
    );
    let defaults = Config::default().limits;
    let found = all.limits.body_in_memory.take();
    assert_eq!(found, Some(defaults.body_in_memory()));
    assert_eq!(all.limits.spool.take(), Some(defaults.spool()));
    assert_eq!(
        all.admin_socket.take(),
        Some(AdminSocket::At("/run/noded-proxy/admin.sock".into()))
    );
    assert_eq!(all.log.format.take(), Some(LogFormat::Text));
    assert_eq!(all, Config::default());
}

#[test]
fn one_limit_alone_makes_no_configuration_wrong() {
    for (limit, in_memory, spool) in [
        ("body = '1MiB'", 1 << 20, 4 << 30),
        ("body = '1TiB'", 16 << 20, 2 << 40),
        ("memory = '8MiB'", 1 << 20, 4 << 30),
    ] {
        let config = file::parse(&format!("limits.{limit}"), "test").unwrap();
        assert_eq!(config.problems(), [], "{limit}");
        let limits = config.limits;
        assert_eq!(
            (limits.body_in_memory(), limits.spool()),
            (in_memory, spool)
        );
    }
}

#[test]
fn the_sample_file_names_every_key() {
    let sample = include_str!("../../config/noded-proxy.toml");
    let source = concat!(
        include_str!("keys.rs"),
        include_str!("sections.rs"),
        include_str!("upstream.rs"),
        include_str!("limits.rs")
    );
    let keys = source.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("    pub ")?.split_once(':')?;
        name.chars()
            .all(|c| c.is_ascii_lowercase() || c == '_')
            .then_some(name)
    });
    let missing: Vec<&str> = keys
        .filter(|key| {
            let sections = [
                "admission",
                "client_ca_list",
                "policy",
                "verify",
                "upstream",
                "limits",
                "log",
                "moves",
                "typed_admin", // no key
            ];
            !sections.contains(key)
        })
        .filter(|key| {
            !sample
                .lines()
                .any(|l| l.trim_start_matches('#').starts_with(&format!("{key} =")))
        })
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn problems_name_key_value_and_expectation() {
    let table = [
        (
            "listen = []",
            r#"listen = []: expected at least one ADDR:PORT"#,
        ),
        (
            "upstream.address = '[::]:1811'",
            "upstream.address = [::]:1811: expected another address than listen's own",
        ),
        (
            "upstream.max_clients = 0",
            "upstream.max_clients = 0: expected 1 to 10000",
        ),
        (
            "upstream.fast_slots = 20",
            "upstream.fast_slots = 20: expected less than upstream.max_clients",
        ),
        (
            "limits.reserved = 512",
            "limits.reserved = 512: expected less than limits.connections and limits.handshakes",
        ),
        (
            "limits.header_timeout = '0s'",
            "limits.header_timeout = 0s: expected 1ms to 1day",
        ),
    ];
    for (text, expected) in table {
        let config = file::parse(text, "test").unwrap();
        let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems, [expected], "{text}");
    }
}

#[test]
fn a_wrong_file_is_one_line_that_names_the_key() {
    let table = [
        ("lisen = 1", "lisen"),
        ("drain_timeout = 'soon'", "drain_timeout"),
        ("drain_timeout = 5", "drain_timeout"),
        ("limits.body = 'much'", "limits.body"),
        ("admin = 'localhost'", "admin"),
        ("log.level = 'loud'", "log.level"),
        ("policy.deny = ['*']", "policy.deny"),
        ("moves.metrics = 'x.prom'", "moves.metrics"),
        ("moves.metrics = '/x/moves.txt'", "moves.metrics"),
        ("x = [", "line 1"),
    ];
    for (text, key) in table {
        let problem = file::parse(text, "test").unwrap_err().to_string();
        assert!(
            problem.contains(key) && !problem.contains('\n'),
            "{text}: {problem}"
        );
    }
}

#[test]
fn a_file_that_may_be_absent_must_be_readable_if_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let absent = pieces::read(&dir.path().join("none.toml"), false);
    assert_eq!(absent.unwrap(), Config::default());
    // Root may read everything, so the test takes what nobody can: a loop of links, a directory.
    let link = dir.path().join("loop.toml");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    for path in [link.as_path(), dir.path()] {
        let told = pieces::read(path, false).unwrap_err();
        assert!(told[0].to_string().contains("cannot be read"), "{told:?}");
    }
}

#[test]
fn an_unknown_key_names_the_known_one_that_is_like_it() {
    for (text, expected) in [
        ("sandbx = 'off'", "is `sandbox` meant?"),
        ("[limits]\nconections = 3", "is `connections` meant?"),
        ("[upstream]\nmax_client = 3", "is `max_clients` meant?"),
        ("[limits]\nbody_memory = 3", "is `body_in_memory` meant?"),
        ("colour = 'red'", "unknown field `colour`, expected one of"),
    ] {
        let found = file::parse(text, "test").unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn a_key_or_section_that_stands_twice_is_named() {
    for (text, expected) in [
        ("admin = 1\nadmin = 2\n", "f, line 2: duplicate key: admin"),
        ("[policy]\n[policy]\n", "f, line 2: duplicate key: policy"),
        (
            "policy.deny = []\npolicy.deny = []",
            "f, line 2: duplicate key: deny",
        ),
    ] {
        let found = file::parse(text, "f").unwrap_err().to_string();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn commands_ask_where_they_are_told_and_else_at_the_socket_that_is_named() {
    let mut config = Config::default();
    assert_eq!(config.admin_to_ask().to_string(), "127.0.0.1:9811");
    config.admin_socket = Some(AdminSocket::At("/run/x".into()));
    assert_eq!(config.admin_to_ask().to_string(), "unix:/run/x");
    for typed in ["127.0.0.1:1", "unix:/run/y"] {
        config.set_admin(&typed.parse().unwrap());
        assert_eq!(config.admin_to_ask().to_string(), typed);
    }
    assert_eq!(config.admin.port(), 1);
    assert_eq!(config.admin_socket, Some(AdminSocket::At("/run/y".into())));
    config = Config::default();
    config.admin_socket = Some(AdminSocket::Off);
    assert_eq!(config.admin_to_ask().to_string(), "127.0.0.1:9811");
}

#[test]
fn the_state_directory_of_a_wrong_file_as_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noded-proxy.toml");
    let usual = Some("/var/lib/noded-proxy".into());
    for (text, expected) in [
        ("state_dir = '/x'\nno_such_key = 1", Some("/x".into())),
        ("no_such_key = 1", usual),
        ("state_dir = 1", None),
        ("state_dir = '/x'\nlisten = ", None),
    ] {
        std::fs::write(&path, text).unwrap();
        let config = Some(path.clone());
        assert_eq!(FileArgs { config }.state_dir(), expected, "{text}");
    }
    let config = Some(path.clone());
    let file = FileArgs { config };
    let beside = dir.path().join("noded-proxy.d");
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(&path, "no_such_key = 1").unwrap();
    std::fs::write(beside.join("own.toml"), "state_dir = '/y'").unwrap();
    assert_eq!(file.state_dir(), Some("/y".into()));
    std::fs::write(beside.join("own.toml"), "state_dir = ").unwrap();
    assert_eq!(file.state_dir(), None);
    std::fs::remove_file(beside.join("own.toml")).unwrap();
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    assert_eq!(file.state_dir(), None, "a pipe is not read again");
}
