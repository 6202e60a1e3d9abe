//! Whatever the file holds: one value changes, all else stays, the way back is exact, and a real
//! shell reads what was meant. No test writes a file.

use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::commands::program::run;

const MOVED: &str = "-d -b 127.0.0.1 -p 298 --no-ssl";

#[test]
fn a_change_as_a_table() {
    let table = [
        (
            "NODED_ARGS=\"\"\nRAPI_ARGS=\"-x\"\n",
            "NODED_ARGS=\"@\"\nRAPI_ARGS=\"-x\"\n",
        ),
        ("a=1 NODED_ARGS='-d'; b=2", "a=1 NODED_ARGS=\"@\"; b=2"),
        (
            "NODED_ARGS=1\nNODED_ARGS=\"2\\\n 3\" # why\n",
            "NODED_ARGS=1\nNODED_ARGS=\"@\" # why\n",
        ),
        ("NODED_ARGS=\n", "NODED_ARGS=\"@\"\n"),
        ("# NODED_ARGS=1\n", "# NODED_ARGS=1\nNODED_ARGS=\"@\"\n"),
        ("X=1", "X=1\nNODED_ARGS=\"@\"\n"),
        ("", "NODED_ARGS=\"@\"\n"),
    ];
    for (text, expected) in table {
        let (found, was) = set(text.as_bytes(), MOVED).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&found),
            expected.replace('@', MOVED)
        );
        assert_eq!(back(&found, &was).unwrap(), text.as_bytes(), "{text}");
    }
}

#[test]
fn what_was_edited_since_is_kept() {
    let (set_, was) = set(b"NODED_ARGS='-d'\n", MOVED).unwrap();
    let edited = [&set_[..], b"RAPI_ARGS=\"-x\"\n"].concat();
    assert_eq!(
        back(&edited, &was).unwrap(),
        b"NODED_ARGS='-d'\nRAPI_ARGS=\"-x\"\n"
    );
    let (added, was) = set(b"X=1", MOVED).unwrap();
    let edited = [&added[..], b"Y=2\n"].concat();
    assert_eq!(back(&edited, &was).unwrap(), b"X=1\nY=2\n");
}

#[test]
fn what_a_shell_may_see_differently_is_refused() {
    for text in [
        "NODED_ARGS+=1",
        "NODED_ARGS=$X",
        "NODED_ARGS=-b 1",
        "X='",
        "Y=1\\",
        "true \\\n",
        "true\\\n",
    ] {
        assert!(set(text.as_bytes(), MOVED).is_err(), "{text}");
    }
}

/// What is the same at the beginning and at the end of both is all but the value.
fn only_the_value_differs(before: &[u8], after: &[u8], was: &Was) -> bool {
    match was {
        Was::Nothing(added) => after == [before, added].concat(),
        Was::Value(word) => {
            let new = format!("\"{MOVED}\"").into_bytes();
            (0..before.len() + 1).any(|at| {
                before[at..].starts_with(word)
                    && after[at..].starts_with(&new)
                    && before[..at] == after[..at]
                    && before[at + word.len()..] == after[at + new.len()..]
            })
        }
    }
}

/// What the shell has in the variables then.
fn shell(text: &[u8]) -> Vec<u8> {
    let script =
        ". /dev/stdin 2>/dev/null; printf '%s|' \"$NODED_ARGS\" \"$A\" \"$B\" \"$RAPI_ARGS\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", script]);
    // Its input is a file that is whole before it starts.
    let said = run(bash.env_clear(), text, Duration::from_secs(600)).unwrap();
    assert!(said.status.success() && said.err.is_empty(), "{said:?}");
    said.out
}

/// Lines such as an administrator writes.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("NODED_ARGS"), Just("A"), Just("B"), Just("RAPI_ARGS")];
    let value = prop_oneof![
        Just("".to_owned()),
        "[a-z0-9./-]{1,6}",
        "\"[-a-z0-9 #'./\t]{0,8}\"",
        "'[-a-z0-9 #\".\n]{0,8}'",
        "[a-z]{1,3}\\\\ [a-z]{1,3}",
        "\"[a-z]{1,3} \\\\\n [a-z]{1,3}\"",
        "[a-z]{1,2}\"[ #a-z]{0,3}\"'[ ;a-z]{0,3}'",
    ];
    let end = prop_oneof![
        Just("\n"),
        Just("  # it's \"odd\n"),
        Just("; "),
        Just("\n\n\t")
    ];
    let start = prop_oneof![Just(""), Just("  "), Just("export ")];
    let assignment = (start, name, value, end).prop_map(|(s, n, v, e)| format!("{s}{n}={v}{e}"));
    prop_oneof![
        8 => assignment,
        1 => Just("# NODED_ARGS=\"-x\" isn't \\\n".to_owned()),
        1 => Just("true; [ -e /x ] && A=3\n".to_owned()),
        1 => Just("if true; then B=\"7\"; fi\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_keep_all_but_the_value(bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0usize..64) {
        let at = at.min(bytes.len());
        let middle = [&bytes[..at], b"\nNODED_ARGS='-d'\n", &bytes[at..]].concat();
        for content in [&bytes, &middle] {
            if let Ok((after, was)) = set(content, MOVED) {
                prop_assert!(only_the_value_differs(content, &after, &was));
                prop_assert_eq!(value(&after), Ok(MOVED.to_owned()));
                prop_assert_eq!(&back(&after, &was).unwrap(), content);
            }
        }
    }

    #[test]
    fn lines_of_an_administrator_are_read_as_the_shell_reads_them(lines in prop::collection::vec(line(), 0..6)) {
        let text = lines.concat().into_bytes();
        let (after, was) = set(&text, MOVED).unwrap();
        prop_assert_eq!(back(&after, &was).unwrap(), text.clone());
        let (before, now) = (shell(&text), shell(&after));
        let old = value(&text).unwrap();
        let rest = before.strip_prefix(format!("{old}|").as_bytes());
        prop_assert!(rest.is_some(), "{:?} is not {old:?}", String::from_utf8_lossy(&before));
        prop_assert_eq!([MOVED.as_bytes(), b"|", rest.unwrap()].concat(), now);
    }
}
