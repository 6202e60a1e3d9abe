use super::Effect::*;
use super::Timeout::*;
use super::*;

#[test]
fn the_table_is_sorted_without_repeats() {
    assert!(TABLE.windows(2).all(|two| two[0].name < two[1].name));
}

#[test]
fn names_are_found_and_strangers_share_one_label() {
    assert_eq!(find("version").map(|p| p.timeout), Some(Urgent));
    assert_eq!(
        find("instance_os_add").map(|p| p.timeout.duration().as_secs()),
        Some(86_400)
    );
    assert_eq!(find("run_oob").map(|p| p.effect), Some(Dangerous));
    let names = ["node_info", "no_such_method", "", "other"].map(|name| label(name).name());
    assert_eq!(names, ["node_info", "other", "other", "other"]);
}

/// The handlers of Ganeti 3.1.1, one a line: what follows `perspective_` in `lib/server/noded.py`.
const GANETI_3_1: &str = include_str!("ganeti-3.1.txt");

#[test]
fn no_procedure_of_ganeti_3_1_is_missing() {
    assert_eq!(GANETI_3_1.lines().count(), 109);
    for name in GANETI_3_1.lines() {
        assert!(find(name).is_some(), "{name}");
    }
}

#[test]
fn what_is_in_no_release_since_2_8_is_not_in_the_table() {
    let gone = [
        "blockdev_export",
        "blockdev_getsize",
        "master_info",
        "os_get",
    ];
    for row in TABLE {
        let known = GANETI_3_1.lines().any(|name| name == row.name);
        assert!(known || gone.contains(&row.name), "{row:?}");
    }
}

#[test]
fn each_effect_has_its_reason_and_no_path_is_read_only() {
    for row in TABLE {
        assert!(!row.why.is_empty(), "{row:?}");
        let names = [
            "runs ",
            "any file",
            "any folder",
            "any host",
            "command line",
            "any disk",
        ];
        if names.iter().any(|part| row.why.starts_with(part)) {
            assert_eq!(row.effect, Dangerous, "{row:?}");
        }
    }
}
