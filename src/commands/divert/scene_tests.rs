use super::*;

fn place() -> Place {
    Place::new(Path::new("/g/import-export")).unwrap()
}

fn text() -> String {
    place().text(Path::new("/p")).unwrap()
}

fn ours() -> There {
    There::Ours(text().into())
}

/// On Debian, as Ganeti's package left it.
fn scene() -> Scene {
    Scene {
        place: place(),
        there: There::Other,
        kept: Kept::Nothing,
        owned: true,
        diversion: Diversion::None,
        recorded: false,
    }
}

fn whole() -> Scene {
    Scene {
        there: ours(),
        kept: Kept::Other,
        diversion: Diversion::Ours,
        recorded: true,
        ..scene()
    }
}

fn plain(scene: Scene) -> Scene {
    Scene {
        owned: false,
        diversion: Diversion::None,
        ..scene
    }
}

/// The acts by their names, or the refusal.
fn named(acts: Result<Vec<Act>, String>) -> String {
    let name = |act: &Act| format!("{act:?}").split('(').next().unwrap().to_owned();
    match acts {
        Ok(acts) => acts.iter().map(name).collect::<Vec<_>>().join(" "),
        Err(why) => format!("refused: {why}"),
    }
}

#[test]
fn on_and_off_from_each_state() {
    let newer = || Scene {
        there: There::Other,
        ..whole()
    };
    let middle = || Scene {
        there: There::Other,
        kept: Kept::Same,
        ..whole()
    };
    let lost = || Scene {
        kept: Kept::Nothing,
        ..whole()
    };
    let other = || There::Ours(place().text(Path::new("/q")).unwrap().into());
    for (what, scene, on, off) in [
        ("untouched", scene(), "Remember Divert Put", ""),
        ("plain, untouched", plain(scene()), "Remember Put", ""),
        ("whole", whole(), "", "PutBack Undivert Forget"),
        ("plain, whole", plain(whole()), "", "PutBack Forget"),
        (
            "another program",
            Scene {
                there: other(),
                ..whole()
            },
            "Put",
            "PutBack Undivert Forget",
        ),
        (
            "killed after the record",
            Scene {
                recorded: true,
                ..scene()
            },
            "Divert Put",
            "Forget",
        ),
        (
            "killed after the diversion",
            Scene {
                kept: Kept::Nothing,
                ..middle()
            },
            "Put",
            "Undivert Forget",
        ),
        (
            "killed after the second name",
            middle(),
            "Put",
            "PutBack Undivert Forget",
        ),
        (
            "plain, killed after the second name",
            plain(middle()),
            "Put",
            "PutBack Forget",
        ),
        (
            "killed after all is back",
            Scene {
                there: There::Other,
                ..lost()
            },
            "Put",
            "Undivert Forget",
        ),
        (
            "diversion removed by hand",
            Scene {
                diversion: Diversion::None,
                ..whole()
            },
            "Divert",
            "PutBack Forget",
        ),
        (
            "record removed by hand",
            Scene {
                recorded: false,
                ..whole()
            },
            "Remember",
            "PutBack Undivert",
        ),
        (
            "plain, a newer Ganeti",
            plain(newer()),
            "Put",
            "PutBack Forget",
        ),
        (
            "somebody's file beside",
            plain(Scene {
                recorded: false,
                ..newer()
            }),
            "Remember Put",
            "",
        ),
        (
            "the small file was deleted",
            Scene {
                there: There::Nothing,
                ..whole()
            },
            "Put",
            "PutBack Undivert Forget",
        ),
    ] {
        assert_eq!(named(scene.on(&text())), on, "on: {what}");
        assert_eq!(named(scene.off()), off, "off: {what}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let gone = Scene {
        there: There::Nothing,
        owned: false,
        ..scene()
    };
    let by_other = Scene {
        diversion: Diversion::Other("by x, to /y".into()),
        ..scene()
    };
    let foreign = Scene {
        there: There::Other,
        ..whole()
    };
    let lost = Scene {
        kept: Kept::Nothing,
        ..whole()
    };
    let removed = Scene {
        owned: false,
        ..lost.clone()
    };
    for (scene, on, off) in [
        (gone, "is missing: is Ganeti here?", ""),
        (by_other, "has it diverted already (by x, to /y)", ""),
        (
            foreign,
            "somebody has put it there",
            "somebody has put it there",
        ),
        (
            lost.clone(),
            "is gone from /g/import-export.ganeti",
            "is gone from",
        ),
        (plain(lost), "is gone from", "is gone from"),
        (removed, "is gone from", "Remove Undivert Forget"),
    ] {
        for (said, expected) in [(scene.on(&text()), on), (scene.off(), off)] {
            let said = named(said);
            let is_so = match expected {
                "" => said.is_empty(),
                _ => said.contains(expected),
            };
            assert!(is_so, "{said}: {expected}: {scene:?}");
        }
    }
}

#[test]
fn a_place_that_is_not_whole_is_told() {
    let with = |there, kept| Scene {
        there,
        kept,
        ..whole()
    };
    for (scene, expected) in [
        (whole(), None),
        (plain(whole()), None),
        (with(ours(), Kept::Nothing), Some("is gone from")),
        (
            with(There::Other, Kept::Same),
            Some("has not come to its end"),
        ),
        (
            with(There::Other, Kept::Nothing),
            Some("has not come to its end"),
        ),
        (
            with(There::Other, Kept::Other),
            Some("somebody has put it there"),
        ),
        (
            plain(with(There::Other, Kept::Other)),
            Some("a newer Ganeti"),
        ),
        (with(There::Nothing, Kept::Other), Some("is missing")),
        (
            Scene {
                diversion: Diversion::None,
                ..whole()
            },
            Some("dpkg would replace it"),
        ),
    ] {
        let told = scene.fault(&|path| path == Path::new("/p"));
        let fits = match (&told, expected) {
            (None, None) => true,
            (Some(told), Some(word)) => told.contains(word),
            _ => false,
        };
        assert!(fits, "{told:?}: {expected:?}");
    }
    let told = whole().fault(&|_| false).unwrap();
    assert!(
        told.contains("/p is missing, Ganeti's own does transfers"),
        "{told}"
    );
}

#[test]
fn what_was_done_is_taken_back_by_its_inverse() {
    for act in [
        Act::Remember(place()),
        Act::Divert(place()),
        Act::Put(place(), text().into()),
        Act::PutBack(place(), Some(text().into())),
    ] {
        let back = act.inverse().and_then(|back| back.inverse());
        assert_eq!(back, Some(act));
    }
    assert_eq!(Act::PutBack(place(), None).inverse(), None);
    let words = Act::Divert(place()).to_string();
    let expected = "dpkg-divert --package noded-proxy --no-rename --divert /g/import-export.ganeti \
                    --add /g/import-export";
    assert_eq!(words, expected);
}
