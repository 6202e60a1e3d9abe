//! A key is set where it stands, or in the own file; all else stays. And what is to be done about it.

use super::*;
use crate::commands::install::step::way_back;
use crate::commands::manual::SAMPLE;

const OWN_PATH: &str = "/x.d/install.toml";

fn wishes(mode: &str, certs: &str) -> Wishes {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Wishes {
        mode: some(mode),
        certs: some(certs).map(PathBuf::from),
    }
}

/// The named file with this text, another one beside it, and the own one.
fn files(named: &str, other: &str, own: Option<&str>) -> Files {
    let file = |path: &str, text: Option<&str>| File {
        path: path.into(),
        content: text.map(|text| text.as_bytes().to_vec()),
    };
    Files {
        given: vec![
            file("/x.toml", Some(named)),
            file("/x.d/site.toml", Some(other)),
        ],
        own: file(OWN_PATH, own),
        has_directory: own.is_some(),
        is_alone: true,
    }
}

/// The files that change, with their new texts.
fn changed(files: &Files, wishes: &Wishes) -> Vec<(String, String)> {
    let all = changes(files, wishes).unwrap().into_iter();
    all.map(|change| {
        let path = change.file.path.display().to_string();
        (path, change.text.replacen(HEAD, "HEAD ", 1))
    })
    .collect()
}

#[test]
fn a_key_changes_where_it_stands_as_a_table() {
    let audit = "HEAD [admission]\nmode = \"audit\"\n";
    let commented = "# x\n[admission] # y\nmode = \"audit\" # z\nbind_peer = \"warn\"\n";
    type Row<'a> = (
        &'a str,
        &'a str,
        Option<&'a str>,
        (&'a str, &'a str),
        &'a [(&'a str, &'a str)],
    );
    let table: [Row<'_>; 9] = [
        ("", "", None, ("enforce", ""), &[]),
        ("", "", None, ("audit", ""), &[(OWN_PATH, audit)]),
        (
            SAMPLE,
            "",
            None,
            ("audit", "/c"),
            &[(
                OWN_PATH,
                "HEAD candidate_certs = \"/c\"\n[admission]\nmode = \"audit\"\n",
            )],
        ),
        // As administrators have it.
        (
            commented,
            "",
            None,
            ("enforce", ""),
            &[(
                "/x.toml",
                &commented.replacen("\"audit\"", "\"enforce\"", 1),
            )],
        ),
        ("candidate_certs = \"/d\"\n", "", None, ("", "/c"), &[]),
        (
            "",
            "candidate_certs = \"/d\"\n",
            None,
            ("enforce", "/c"),
            &[],
        ),
        (
            "",
            "admission.mode = \"audit\"\n",
            Some("candidate_certs = \"/d\"\n"),
            ("enforce", "/c"),
            &[("/x.d/site.toml", "admission.mode = \"enforce\"\n")],
        ),
        (
            "",
            "",
            Some("[admission]\nmode = \"audit\"\n"),
            ("enforce", "/c"),
            &[(
                OWN_PATH,
                "candidate_certs = \"/c\"\n[admission]\nmode = \"enforce\"\n",
            )],
        ),
        (
            "[admission]\nmode = \"audit\"\n",
            "",
            None,
            ("enforce", "/c"),
            &[
                ("/x.toml", "[admission]\nmode = \"enforce\"\n"),
                (OWN_PATH, "HEAD candidate_certs = \"/c\"\n"),
            ],
        ),
    ];
    for (named, other, own, (mode, certs), expected) in table {
        let found = changed(&files(named, other, own), &wishes(mode, certs));
        let expected = expected
            .iter()
            .map(|(path, text)| (path.to_string(), text.to_string()));
        assert_eq!(
            found,
            expected.collect::<Vec<_>>(),
            "{named} {mode} {certs}"
        );
    }
    assert!(changes(&files("a = ", "", None), &wishes("audit", "")).is_err());
}

/// A configuration that says the same by the files of the product.
#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let named = dir.path().join("x.toml");
    fs::write(&named, SAMPLE).unwrap();
    let mut plan = Plan::default();
    let found_ = found(&named).unwrap();
    add(&mut plan, &found_, &wishes("audit", "/etc"), false).unwrap();
    for step in &plan.steps {
        match step {
            Step::Make(path) => make(path).unwrap(),
            Step::Write(write) => fs::write(&write.path, write.to.as_ref().unwrap()).unwrap(),
            _ => {}
        }
    }
    let file = crate::config::FileArgs {
        config: Some(named.clone()),
    };
    let config = crate::config::Config::load(&file, &[]).unwrap();
    assert_eq!(config.admission.mode, rules::authz::Mode::Audit);
    assert_eq!(config.candidate_certs, Some("/etc".into()));
    assert_eq!(fs::read_to_string(&named).unwrap(), SAMPLE);
    let found_ = found(&named).unwrap();
    assert!(found_.is_alone && found_.has_directory && found_.given.len() == 1);
    let mut plan = Plan::default();
    add(&mut plan, &found_, &wishes("audit", "/etc"), true).unwrap();
    assert!(plan.steps.is_empty());
    fs::write(dir.path().join("x.d/site.toml"), "").unwrap();
    let found_ = found(&named).unwrap();
    assert!(!found_.is_alone && found_.given.len() == 2);
}

#[test]
fn what_uninstall_takes_away_as_a_table() {
    let certs = SAMPLE.replacen("#candidate_certs", "candidate_certs", 1);
    let audit = certs.replacen("#mode = \"enforce\"", "mode = \"audit\"", 1);
    let own = "/x.d/install.toml: removed";
    let stays = "/x.toml: admission.mode = \"audit\" stays, for a later `install`";
    type Row<'a> = (&'a str, Option<&'a str>, bool, &'a [&'a str], &'a [&'a str]);
    let table: [Row<'_>; 7] = [
        (SAMPLE, None, true, &[], &[]),
        (SAMPLE, Some("x"), true, &[own, "/x.d: removed"], &[]),
        (SAMPLE, Some("x"), false, &[own], &[]),
        // An administrator's word, even where it is the sample's comment.
        (&certs, None, true, &[], &[]),
        (&audit, None, true, &[], &[stays]),
        (&audit, Some("x"), false, &[own], &[stays]),
        ("", None, true, &[], &[]),
    ];
    for (at, (named, own, is_alone, expected, notes)) in table.into_iter().enumerate() {
        let files = Files {
            is_alone,
            ..files(named, "", own)
        };
        let mut plan = Plan::default();
        take_away(&mut plan, &files);
        let lines: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
        assert_eq!(lines, expected, "row {at}");
        assert_eq!(plan.notes, notes, "row {at}");
    }
}

#[test]
fn audit_mode_that_is_there_is_told_unless_it_is_asked_for() {
    let audit = "[admission]\nmode = \"audit\"\n";
    let nothing = Wishes::default();
    let table: [(&str, Option<&str>, &Wishes, Option<&str>); 6] = [
        ("", None, &nothing, None),
        (audit, None, &nothing, Some("/x.toml")),
        ("", Some(audit), &nothing, Some(OWN_PATH)),
        (audit, None, &wishes("audit", ""), None),
        (audit, None, &wishes("enforce", ""), None),
        ("[admission]\nmode = \"enforce\"\n", None, &nothing, None),
    ];
    for (at, (named, own, wishes, expected)) in table.into_iter().enumerate() {
        let mut plan = Plan::default();
        add(&mut plan, &files(named, "", own), wishes, true).unwrap();
        let expected: Vec<String> = expected
            .map(|path| {
                format!(
                    "{path}: audit mode: every node of the cluster can command this one. --mode \
                     enforce ends it"
                )
            })
            .into_iter()
            .collect();
        assert_eq!(plan.notes, expected, "row {at}");
    }
}

#[test]
fn it_comes_first_and_a_running_proxy_reads_it_again_also_on_the_way_back() {
    let lines = |steps: &[Step]| -> Vec<String> { steps.iter().map(Step::to_string).collect() };
    let mut plan = Plan {
        steps: vec![Step::Reload, Step::Prove(Proof::Behind)],
        ..Plan::default()
    };
    let none = files("a = 1\n", "", None);
    add(&mut plan, &none, &wishes("audit", "/nonexistent/c"), true).unwrap();
    let prove = Step::Prove(Proof::Behind).to_string();
    assert_eq!(
        lines(&plan.steps),
        [
            "/nonexistent/c: made",
            "/x.d: made",
            "/x.d/install.toml: admission.mode = \"audit\", candidate_certs = \"/nonexistent/c\"",
            "systemctl reload noded-proxy.service",
            "systemctl daemon-reload",
            &prove,
        ]
    );
    assert_eq!(
        lines(&way_back(&plan.steps)),
        [
            "systemctl daemon-reload",
            "/x.d/install.toml: as it was",
            "/x.d: removed",
            "/nonexistent/c: removed",
            "systemctl reload noded-proxy.service",
        ]
    );
    let mut plan = Plan::default();
    add(&mut plan, &none, &wishes("enforce", ""), true).unwrap();
    assert!(plan.steps.is_empty());
    let some = files("", "", Some("[admission]\nmode = \"audit\"\n"));
    add(&mut plan, &some, &wishes("enforce", ""), false).unwrap();
    let write = "/x.d/install.toml: admission.mode = \"enforce\"";
    assert_eq!(lines(&plan.steps), [write, &prove]);
}
