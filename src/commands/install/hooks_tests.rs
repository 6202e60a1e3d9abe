//! What is done about hooks, as a table; and links that are made and taken away again.

use super::*;

fn hook(there: There, exists: bool) -> Hook {
    let link = Link {
        path: "/hooks/x.d/noded-proxy".into(),
        target: "/share/x.d/noded-proxy".into(),
    };
    Hook {
        link,
        there,
        exists,
    }
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(Step::to_string).collect()
}

#[test]
fn what_install_and_uninstall_do_about_hooks() {
    const LINK: &str = "/hooks/x.d/noded-proxy: a link to /share/x.d/noded-proxy";
    let (linked, gone) = (
        [LINK.to_owned(), Step::Prove(Proof::Behind).to_string()],
        ["/hooks/x.d/noded-proxy: removed".to_owned()],
    );
    type Added<'a> = Result<&'a [String], &'a str>;
    let table: [(There, bool, Added, &[String]); 4] = [
        (There::Nothing, true, Ok(&linked), &[]),
        (There::Ours, true, Ok(&[]), &gone),
        (There::Other, true, Err("not of `install`"), &[]),
        (There::Ours, false, Err("is missing"), &gone),
    ];
    for (there, exists, added, taken) in table {
        let mut plan = Plan::default();
        match (add(&mut plan, &[hook(there, exists)]), added) {
            (Ok(()), Ok(expected)) => assert_eq!(lines(&plan), expected),
            (Err(why), Err(word)) => assert!(why.contains(word), "{why}"),
            (found, _) => panic!("{there:?}: {found:?}"),
        }
        let mut plan = Plan::default();
        take_away(&mut plan, &[hook(there, exists)]);
        assert_eq!(lines(&plan), taken);
    }
}

#[test]
fn it_is_proven_once_and_hooks_come_before_that() {
    let (reload, prove) = (Step::Reload, Step::Prove(Proof::Behind));
    let mut plan = Plan {
        steps: vec![reload.clone(), prove.clone()],
        ..Plan::default()
    };
    let new = hook(There::Nothing, true);
    add(&mut plan, std::slice::from_ref(&new)).unwrap();
    assert_eq!(plan.steps, [reload, Step::Link(new.link), prove]);
}

#[test]
fn a_link_comes_and_goes_with_its_folder_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let hooks = dir.path().join("hooks");
    let one = Link {
        path: hooks.join("x.d/noded-proxy"),
        target: dir.path().join("target"),
    };
    link(&one).unwrap();
    link(&one).unwrap();
    assert_eq!(there_is(&one.path, &one.target), There::Ours);
    unlink(&one).unwrap();
    unlink(&one).unwrap();
    assert!(!hooks.exists());

    fs::create_dir_all(hooks.join("x.d")).unwrap();
    fs::write(&one.path, "mine").unwrap();
    assert!(link(&one).is_err() && unlink(&one).is_err());
    assert_eq!(fs::read(&one.path).unwrap(), b"mine");
    fs::rename(&one.path, hooks.join("x.d/other")).unwrap();
    link(&one).unwrap();
    unlink(&one).unwrap();
    assert!(hooks.join("x.d/other").exists());
}
