//! The master asks all nodes which keys they have, each by a login of its own: a node that cannot be
//! reached, or says what cannot be believed, is one that was not seen.

use std::collections::BTreeMap;
use std::time::Duration;

use super::possession;
use super::turns::Turns;
use crate::commands::ssh::call::{Call, End, Said, Ssh};
use crate::commands::ssh::each::on_each;
use crate::commands::ssh::members::Member;
use crate::ssh_keys::staged::is_true;
use rules::shown::printable;
use rules::ssh_keys::sight::Sight;

/// Nodes that are asked at a time.
const AT_A_TIME: usize = 8;
/// Most bytes of an answer: some ten thousand keys.
const MOST: usize = 8 << 20;
/// What Ganeti takes no part with.
pub(super) const OFFLINE: &str = "offline: done when it is back";

/// A deed of a node, by a login of its own.
pub(super) fn call<'a>(command: &'a str, input: &'a [u8]) -> Call<'a> {
    Call {
        input,
        most: MOST,
        deadline: Duration::from_secs(60),
        fresh: true,
        ..Call::new(command)
    }
}

/// What each node says, or why it says nothing.
pub(super) type Sights = BTreeMap<String, Result<Sight, String>>;

/// What all say. One that should answer and does not, or has lost its turn, is not asked again: it may
/// take its time.
pub(super) fn all(ssh: Ssh<'_>, turns: &mut Turns) -> Sights {
    let sights = each(ssh, turns);
    for (name, said) in &sights {
        match said {
            Err(why) if why != OFFLINE => turns.lose(name, why),
            _ => {}
        }
    }
    sights
}

fn each(ssh: Ssh<'_>, turns: &Turns) -> Sights {
    let members = &ssh.cluster.members;
    let said = on_each(members, AT_A_TIME, |member: &Member| match member.offline {
        true => Err(OFFLINE.into()),
        false => match turns.lost(&member.name) {
            Some(why) => Err(why.clone()),
            None => look(ssh, member),
        },
    });
    let names = members.iter().map(|member| member.name.clone());
    names.zip(said).collect()
}

/// What one says, with a proof for each private key by which something can be taken away.
fn look(ssh: Ssh<'_>, member: &Member) -> Result<Sight, String> {
    let challenge = possession::challenge(&member.name)?;
    let call = call("noded-proxy ssh-keys node look", challenge.as_bytes());
    let mut sight = sight(&ssh.run(member, &call))?;
    possession::check(&mut sight, &challenge);
    Ok(sight)
}

/// What an answer means.
fn sight(said: &Said) -> Result<Sight, String> {
    if said.end != End::Status(0) {
        return Err(said.why());
    }
    let read: Result<Sight, _> = serde_json::from_slice(&said.out);
    let sight = read.map_err(|error| printable(&format!("its answer: {error}")))?;
    let listed = sight.list.iter().flat_map(|list| list.own.values());
    let mut pairs = listed.chain(&sight.staged);
    match sight.fault() {
        Some(fault) => Err(printable(fault)),
        None if !pairs.all(is_true) => Err("a key that it tells is another than it says".into()),
        None => Ok(sight),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(status: i32, out: &[u8]) -> Said {
        Said {
            end: End::of(Some(status)),
            out: out.into(),
            err: Vec::new(),
        }
    }

    #[test]
    fn answers_as_a_table() {
        let good =
            br#"{"version":2,"lines":[],"files":[],"faults":[],"unknown":0,"unsettled":false}"#;
        assert!(sight(&said(0, good)).is_ok());
        let line =
            br#"{"version":2,"lines":[{"path":"x","number":1,"key":"SHA256:\u001b","comment":
                       "","options":false}],"files":[],"faults":[],"unknown":0,"unsettled":false}"#;
        for (status, out, word) in [
            (
                0,
                &br#"{"version":9,"lines":[],"files":[],"faults":[],"unknown":0,"unsettled":false}"#[..],
                "version",
            ),
            (
                0,
                br#"{"version":2,"lines":[],"files":[],"faults":["a\u001b"],"unknown":0,"unsettled":false}"#,
                "a\\u{1b}",
            ),
            (
                0,
                br#"{"version":2,"lines":[],"files":[],"faults":[],"unknown":0,"unsettled":false,"more":1}"#,
                "more",
            ),
            (0, line, "SHA256"),
            (0, b"", "EOF"),
            (127, b"", "noded-proxy is not there"),
            (64, b"wrong", "wrong"),
        ] {
            let why = sight(&said(status, out)).unwrap_err();
            assert!(
                why.contains(word) && !why.contains('\u{1b}'),
                "{word}: {why}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            if let Err(why) = sight(&said(0, &bytes)) {
                prop_assert_eq!(printable(&why), why);
            }
        }
    }
}
