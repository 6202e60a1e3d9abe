//! What dpkg says of a path. It asks, and changes nothing.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use super::place::Place;
use super::scene::Diversion;
use crate::commands::program::{ASKED, Fault, run};

/// Whether a package has the place, and where dpkg puts it. Where there is no dpkg nobody has it.
pub(super) fn of(place: &Place) -> Result<(bool, Diversion), String> {
    let ask = |words: &[&str]| said(words, place.path());
    let Some(by) = ask(&["dpkg-divert", "--listpackage"])? else {
        return Ok((false, Diversion::None));
    };
    let owners = ask(&["dpkg-query", "--search"])?.unwrap_or_default();
    let to = ask(&["dpkg-divert", "--truename"])?.unwrap_or_default();
    Ok((is_owned(&owners), diversion(&by, &to, &place.kept())))
}

/// Lines of `dpkg-query --search`: those of diversions name no owner.
fn is_owned(text: &str) -> bool {
    let of_diversion =
        |line: &str| line.starts_with("diversion by ") || line.starts_with("local diversion ");
    text.lines().any(|line| !of_diversion(line))
}

fn diversion(by: &str, to: &str, kept: &Path) -> Diversion {
    match by {
        "" => Diversion::None,
        "noded-proxy" if Path::new(to) == kept => Diversion::Ours,
        "LOCAL" => Diversion::Other(format!("locally, to {to}")),
        _ => Diversion::Other(format!("by {by}, to {to}")),
    }
}

/// What a command prints of the path; nothing if there is no such command. dpkg-query has status 1 for
/// a path that nobody has.
fn said(words: &[&str], path: &Path) -> Result<Option<String>, String> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(path).env("LC_ALL", "C");
    let said = match run(&mut command, b"", ASKED) {
        Err(Fault::NotRun(_, error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match said.status.code() {
        Some(0 | 1) => Ok(Some(String::from_utf8_lossy(&said.out).trim().to_owned())),
        _ => {
            let why = String::from_utf8_lossy(&said.err);
            Err(format!("{}: {}", words.join(" "), why.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_from_a_diversion() {
        let diverted = "diversion by noded-proxy from: /p\ndiversion by noded-proxy to: /p.ganeti";
        for (text, owned) in [
            ("", false),
            (diverted, false),
            ("local diversion from: /p\nlocal diversion to: /q", false),
            ("ganeti: /p", true),
            (&format!("{diverted}\nganeti, ganeti-3.0: /p"), true),
        ] {
            assert_eq!(is_owned(text), owned, "{text}");
        }
    }

    #[test]
    fn only_a_diversion_to_the_right_place_is_ours() {
        let kept = Path::new("/p.ganeti");
        let other = |text: &str| Diversion::Other(text.into());
        for (by, to, expected) in [
            ("", "/p", Diversion::None),
            ("noded-proxy", "/p.ganeti", Diversion::Ours),
            (
                "noded-proxy",
                "/elsewhere",
                other("by noded-proxy, to /elsewhere"),
            ),
            ("LOCAL", "/p.distrib", other("locally, to /p.distrib")),
            ("backup", "/p.ganeti", other("by backup, to /p.ganeti")),
        ] {
            assert_eq!(diversion(by, to, kept), expected, "{by} {to}");
        }
    }
}
