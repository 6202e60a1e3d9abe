//! What stays of a file, as a table and for any bytes.

use super::*;
use proptest::prelude::*;

/// Public keys, made with `ssh-keygen`; nobody has the other halves.
pub(in crate::ssh_keys) const A: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJsJnPR3kMxRMvc4p5qd3g3ZQXw3XTYT4E5mmeX15oED";
pub(in crate::ssh_keys) const B: &str = "ecdsa-sha2-nistp256 \
     AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBP8xx6k9n9ZaRI7WNHwY8xZW\
     tz16nEuiQ99pTrTQoCYd91kWYOnzluihG5WQN3KBXVEPWpamRK6S1y51fRu12Rc=";

/// Fingerprint of a public key.
pub(in crate::ssh_keys) fn of(public: &str) -> Fingerprint {
    let parsed = authorized::parse(public.as_bytes());
    parsed.keys[0].key.fingerprint.parse().unwrap()
}

#[test]
fn what_stays_as_a_table() {
    let table = [
        (format!("{A} x\n{B} y\n"), format!("{B} y\n"), 1),
        (format!("{B} y\n{A}"), format!("{B} y\n"), 1),
        (
            format!("{A}\r\n# {A}\n\n{A} again\n"),
            format!("# {A}\n\n"),
            2,
        ),
        (format!("  \t{A}\n"), String::new(), 1),
        (format!("from=\"h\" {A}\n"), format!("from=\"h\" {A}\n"), 0),
        (
            format!("no-such-option {A}\n"),
            format!("no-such-option {A}\n"),
            0,
        ),
        (
            format!("cert-authority {A}\n"),
            format!("cert-authority {A}\n"),
            0,
        ),
        (format!("junk\n{B}"), format!("junk\n{B}"), 0),
        (String::new(), String::new(), 0),
    ];
    for (content, rest, gone) in table {
        let (found, removed) = without(content.as_bytes(), &[of(A)].into());
        assert_eq!(String::from_utf8(found.clone()).unwrap(), rest);
        assert_eq!(removed.len(), gone);
        let back = with(&found, &removed);
        assert_eq!(opens(&back, &of(A)), gone > 0, "{rest}");
        assert_eq!(with(&back, &removed), back, "once more changes nothing");
    }
    let no_break = with(B.as_bytes(), &[A.as_bytes().to_vec()]);
    assert_eq!(no_break, format!("{B}\n{A}").as_bytes());
}

#[test]
fn a_key_opens_the_door_only_without_options() {
    assert!(opens(format!("{B}\n{A} x\n").as_bytes(), &of(A)));
    assert!(!opens(format!("from=\"h\" {A}\n{B}\n").as_bytes(), &of(A)));
}

proptest! {
    #[test]
    fn no_byte_of_another_line_is_lost(
        parts in prop::collection::vec(
            prop_oneof![
                Just(format!("{A} c").into_bytes()), Just(B.into()),
                Just(format!("command=\"x\" {A}").into_bytes()),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
            0..12,
        ),
    ) {
        let content = parts.join(&b'\n');
        let (rest, removed) = without(&content, &[of(A)].into());
        prop_assert!(!opens(&rest, &of(A)));
        prop_assert_eq!(opens(&rest, &of(B)), opens(&content, &of(B)));
        prop_assert_eq!(rest.len() + removed.concat().len(), content.len());
        let (mut rest, mut removed) = (&rest[..], removed.into_iter());
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            match rest.strip_prefix(line) {
                Some(more) if !opens(line, &of(A)) => rest = more,
                _ => {
                    let next = removed.next();
                    prop_assert_eq!(next.as_deref(), Some(line));
                }
            }
        }
    }
}
