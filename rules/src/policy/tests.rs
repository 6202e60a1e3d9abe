use super::*;
use crate::procedures::{self, Effect};

const NOBODY_KNOWS: Role = Role::Unknown("nobody knows");

fn policy(text: &str) -> Policy {
    toml::from_str(text).unwrap()
}

fn strict() -> Policy {
    #[derive(Deserialize)]
    struct File {
        policy: Policy,
    }
    let text = include_str!("../../../config/policy-strict.toml");
    toml::from_str::<File>(text).unwrap().policy
}

/// `+` for a call that may pass, `?` if its arguments decide, else the list that forbids it.
fn asked(policy: &Policy, procedure: &str, role: Role) -> &'static str {
    match policy.first_look(procedure, role) {
        Ok(FirstLook::Pass) => "+",
        Ok(FirstLook::AskAgain) => "?",
        Err(forbidden) => forbidden.list.name(),
    }
}

/// The same with arguments; one that is no JSON is unseen.
fn asked_with(policy: &Policy, procedure: &str, role: Role, arguments: &str) -> &'static str {
    let value = serde_json::from_str(arguments);
    let arguments = match &value {
        Ok(value) => Arguments::Seen(value),
        Err(_) => Arguments::Unseen("no JSON"),
    };
    let result = policy.check(procedure, role, arguments);
    result.map_or_else(|forbidden| forbidden.list.name(), |()| "+")
}

#[test]
fn the_rules_as_a_table() {
    use Role::{Master, OtherCandidate as Other};
    let none = Policy::default();
    let named = policy("deny = ['run_oob']\nallow_from_master_only = ['node_info']");
    let classes = policy("deny = ['dangerous']\nallow_from_master_only = ['mutating']");
    let excepted = policy("allow_from_master_only = ['!version', 'read_only', 'dangerous']");
    let odd = policy("deny = ['!dangerous', 'run_oob', 'test_delay']");
    let (deny, master_only) = ("deny", "allow_from_master_only");
    let table = [
        ("no rules", &none, "run_oob", Other, "+"),
        (
            "no rules, unknown role",
            &none,
            "never_heard",
            NOBODY_KNOWS,
            "+",
        ),
        ("named, master too", &named, "run_oob", Master, deny),
        ("named, other", &named, "node_info", Other, master_only),
        ("named, master", &named, "node_info", Master, "+"),
        (
            "named, unknown role",
            &named,
            "node_info",
            NOBODY_KNOWS,
            master_only,
        ),
        ("not named", &named, "version", NOBODY_KNOWS, "+"),
        ("class denied", &classes, "upload_file", Master, deny),
        (
            "class for the master",
            &classes,
            "set_watcher_pause",
            Other,
            master_only,
        ),
        (
            "class for the master, asked by it",
            &classes,
            "set_watcher_pause",
            Master,
            "+",
        ),
        ("other class", &classes, "version", Other, "+"),
        (
            "unknown procedures are dangerous",
            &classes,
            "never_heard",
            Master,
            deny,
        ),
        ("excepted", &excepted, "version", Other, "+"),
        ("not excepted", &excepted, "vg_list", Other, master_only),
        (
            "unknown is dangerous here too",
            &excepted,
            "never_heard",
            Other,
            master_only,
        ),
        ("a class as exception", &odd, "run_oob", Other, "+"),
        ("outside of the exception", &odd, "test_delay", Other, deny),
    ];
    for (case, policy, procedure, role, expected) in table {
        assert_eq!(asked(policy, procedure, role), expected, "{case}");
    }
}

#[test]
fn a_refusal_names_key_and_rule() {
    let policy = policy("deny = ['dangerous']\nallow_from_master_only = ['node_info']");
    let told = |procedure, role| policy.first_look(procedure, role).unwrap_err().to_string();
    assert_eq!(
        told("run_oob", Role::Master),
        "policy.deny = \"dangerous\" forbids run_oob"
    );
    assert_eq!(
        told("node_info", Role::OtherCandidate),
        "policy.allow_from_master_only = \"node_info\" forbids node_info to candidates other than the master"
    );
    assert_eq!(
        told("node_info", NOBODY_KNOWS),
        "policy.allow_from_master_only = \"node_info\" forbids node_info: \
         the caller may be the master, but nobody knows"
    );
}

#[test]
fn rules_that_are_none_are_found_when_the_file_is_read() {
    for text in ["", "!", "Version", "a-b", "!!version", "*"] {
        let problem = text.parse::<Rule>().unwrap_err();
        assert!(problem.contains("expected a procedure"), "{problem}");
    }
    for text in ["version", "!dangerous", "read_only", "x509_cert_create"] {
        assert_eq!(
            text.parse::<Rule>().unwrap().to_string(),
            format!("{text:?}")
        );
    }
    let slip = policy("deny = ['run_obb', 'mutating']\nallow_from_master_only = ['!vesrion']");
    assert_eq!(
        slip.unknown_procedures().collect::<Vec<_>>(),
        ["run_obb", "vesrion"]
    );
}

#[test]
fn the_shipped_example_lets_every_normal_operation_through() {
    let strict = strict();
    assert_eq!(strict.unknown_procedures().next(), None);
    assert!(!strict.audit);
    let never = ["restricted_command"];
    for procedure in procedures::TABLE {
        let expected = if never.contains(&procedure.name) {
            "deny"
        } else {
            "+"
        };
        assert_eq!(
            asked(&strict, procedure.name, Role::Master),
            expected,
            "{procedure:?}"
        );
    }
}

/// What the strict policy says of each procedure to a candidate that is not the master: nothing but
/// reading.
#[test]
fn the_shipped_example_leaves_other_candidates_nothing_but_reading() {
    let strict = strict();
    for procedure in procedures::TABLE {
        let expected = match (procedure.name, procedure.effect, procedure.mildest_effect()) {
            ("restricted_command", ..) => "deny",
            (_, Effect::ReadOnly, _) => "+",
            (_, _, Effect::ReadOnly) => "?",
            _ => "allow_from_master_only",
        };
        for role in [Role::OtherCandidate, NOBODY_KNOWS] {
            assert_eq!(
                asked(&strict, procedure.name, role),
                expected,
                "{procedure:?}"
            );
        }
        let successor = asked(&strict, procedure.name, Role::Successor);
        let expected = if expected == "deny" { "deny" } else { "+" };
        assert_eq!(successor, expected, "{procedure:?}");
    }
    assert_eq!(
        asked(&strict, "new_one", Role::OtherCandidate),
        "allow_from_master_only"
    );
    let only_master = "allow_from_master_only";
    for (procedure, arguments, expected) in [
        ("node_info", r#"[[], [["kvm", {}]]]"#, "+"),
        (
            "node_info",
            r#"[[], [["kvm", {"kvm_path": "/x"}]]]"#,
            only_master,
        ),
        ("node_info", "{", only_master),
        (
            "node_verify",
            r#"[{"filelist": ["/etc/shadow"]}, "c", {}]"#,
            only_master,
        ),
        (
            "write_ssconf_files",
            r#"[{"master_node": "me"}]"#,
            only_master,
        ),
    ] {
        let said = asked_with(&strict, procedure, Role::OtherCandidate, arguments);
        assert_eq!(said, expected, "{procedure} {arguments}");
    }
}

#[test]
fn exceptions_that_open_the_master_s_role_are_found() {
    let list = "allow_from_master_only = ['dangerous', '!write_ssconf_files(master_node)', \
                '!upload_file', '!write_ssconf_files(a, cluster_tags)', '!write_ssconf_files', \
                'write_ssconf_files', '!dangerous']";
    let policy = policy(list);
    let holes: Vec<String> = policy.holes().map(Rule::to_string).collect();
    let expected = [
        "\"!write_ssconf_files(a, cluster_tags)\"",
        "\"!write_ssconf_files\"",
        "\"!dangerous\"",
    ];
    assert_eq!(holes, expected);
    assert!(strict().holes().next().is_none());
}

#[test]
fn rules_on_arguments_as_a_table() {
    let forbids = policy("deny = ['upload_file(/a, /b)', 'node_info(kvm_path)']");
    let except = policy("allow_from_master_only = ['dangerous', '!write_ssconf_files(x, y)']");
    let class = policy("deny = ['read_only']");
    let (deny, only_master) = ("deny", "allow_from_master_only");
    let table = [
        (&forbids, "upload_file", r#"[["/a", 1]]"#, deny),
        (&forbids, "upload_file", r#"[["/c", 1]]"#, "+"),
        (&forbids, "upload_file", r#"[[1]]"#, deny), // another form: the worst
        (&forbids, "upload_file", "{", deny),
        (&forbids, "upload_file_single", r#"["/a"]"#, "+"),
        (
            &forbids,
            "node_info",
            r#"[[], [["kvm", {"kvm_path": 1, "z": 1}]]]"#,
            deny,
        ),
        (&forbids, "node_info", r#"[[], [["kvm", {"z": 1}]]]"#, "+"),
        (&except, "write_ssconf_files", r#"[{"x": 1, "y": 1}]"#, "+"),
        (
            &except,
            "write_ssconf_files",
            r#"[{"x": 1, "z": 1}]"#,
            only_master,
        ),
        (&except, "write_ssconf_files", "[1]", only_master),
        (&except, "write_ssconf_files", "{", only_master),
        // A class that only the mildest arguments have is not got round either.
        (&class, "node_info", "[[], []]", deny),
        (
            &class,
            "node_info",
            r#"[[], [["kvm", {"kvm_path": 1}]]]"#,
            "+",
        ),
        (&class, "node_info", "{", deny),
    ];
    for (policy, procedure, arguments, expected) in table {
        let said = asked_with(policy, procedure, Role::OtherCandidate, arguments);
        assert_eq!(said, expected, "{procedure} {arguments}");
        let first = asked(policy, procedure, Role::OtherCandidate);
        assert!(
            ["?", expected].contains(&first),
            "{procedure} {arguments}: {first}"
        );
    }
    let told = except.check(
        "write_ssconf_files",
        Role::OtherCandidate,
        Arguments::Unseen("a key is there twice"),
    );
    assert_eq!(
        told.unwrap_err().to_string(),
        "policy.allow_from_master_only = \"dangerous\" forbids write_ssconf_files to candidates \
         other than the master; its arguments could not be judged: a key is there twice"
    );
    for (text, part) in [
        ("version(a)", "no arguments that a rule can name"),
        ("dangerous(a)", "no arguments that a rule can name"),
        ("upload_file()", "no arguments that a rule can name"),
        ("upload_file(/a", "expected a procedure"),
    ] {
        let problem = text.parse::<Rule>().unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    let shown = "!upload_file(/a, /b)";
    assert_eq!(
        shown.parse::<Rule>().unwrap().to_string(),
        format!("{shown:?}")
    );
}
