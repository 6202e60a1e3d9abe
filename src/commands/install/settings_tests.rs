//! A key is set, and all else stays; what is to be done about it.

use super::*;
use crate::commands::install::step::way_back;

const SAMPLE: &str = include_str!("../../../config/noded-proxy.toml");

fn wishes(mode: &str, certs: &str) -> Wishes {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Wishes {
        mode: some(mode),
        certs: some(certs).map(PathBuf::from),
    }
}

#[test]
fn one_key_changes_as_a_table() {
    let table = [
        ("", "enforce", "", "", 0),
        ("", "audit", "", "[admission]\nmode = \"audit\"\n", 1),
        (
            "# x\n[admission] # y\nmode = \"audit\" # z\nbind_peer = \"warn\"\n",
            "enforce",
            "",
            "# x\n[admission] # y\nmode = \"enforce\" # z\nbind_peer = \"warn\"\n",
            1,
        ),
        ("a = 1\n", "", "/c", "a = 1\ncandidate_certs = \"/c\"\n", 1),
        (
            "candidate_certs = \"/d\"\n",
            "",
            "/c",
            "candidate_certs = \"/d\"\n",
            0,
        ),
        // A line that only looks like the key's is left alone.
        (
            "[other]\n#mode = \"enforce\"\nx = 1\n",
            "audit",
            "",
            "[other]\n#mode = \"enforce\"\nx = 1\n\n[admission]\nmode = \"audit\"\n",
            1,
        ),
    ];
    for (text, mode, certs, expected, changes) in table {
        let (found, said) = edited(text, &wishes(mode, certs)).unwrap();
        assert_eq!((&*found, said.len()), (expected, changes), "{text}");
    }
    assert!(edited("a = ", &wishes("audit", "")).is_err());
}

#[test]
fn the_sample_keeps_its_lines() {
    let certs = "/etc/noded-proxy/candidates";
    let (found, said) = edited(SAMPLE, &wishes("audit", certs)).unwrap();
    let expected = SAMPLE
        .replacen("#mode = \"enforce\"", "mode = \"audit\"", 1)
        .replacen("#candidate_certs", "candidate_certs", 1);
    assert_eq!((&*found, said.len()), (&*expected, 2));
    let (back, _) = edited(&found, &wishes("enforce", certs)).unwrap();
    assert_eq!(
        back,
        expected.replacen("mode = \"audit\"", "mode = \"enforce\"", 1)
    );
}

#[test]
fn it_comes_first_and_a_running_proxy_reads_it_again_also_on_the_way_back() {
    let file = File {
        path: "/f".into(),
        content: Some(b"a = 1\n".to_vec()),
    };
    let lines = |steps: &[Step]| -> Vec<String> { steps.iter().map(Step::to_string).collect() };
    let mut plan = Plan {
        steps: vec![Step::Reload, Step::Prove(Proof::Behind)],
        ..Plan::default()
    };
    add(&mut plan, &file, &wishes("audit", "/nonexistent/c"), true).unwrap();
    let prove = Step::Prove(Proof::Behind).to_string();
    assert_eq!(
        lines(&plan.steps),
        [
            "/nonexistent/c: made",
            "/f: admission.mode = \"audit\", candidate_certs = \"/nonexistent/c\"",
            "systemctl reload noded-proxy.service",
            "systemctl daemon-reload",
            &prove,
        ]
    );
    assert_eq!(
        lines(&way_back(&plan.steps)),
        [
            "systemctl daemon-reload",
            "/f: as it was",
            "/nonexistent/c: removed",
            "systemctl reload noded-proxy.service",
        ]
    );
    let mut plan = Plan::default();
    add(&mut plan, &file, &wishes("enforce", ""), true).unwrap();
    assert!(plan.steps.is_empty());
    add(&mut plan, &file, &wishes("audit", ""), false).unwrap();
    assert_eq!(
        lines(&plan.steps),
        ["/f: admission.mode = \"audit\"", &prove]
    );
}
