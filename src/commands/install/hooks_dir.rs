//! Where the Ganeti of this node looks for hooks: `ganeti/hooks` in the directory that its `configure`
//! called `--sysconfdir`. Its `daemon-util` has that in it, and is read here and never run.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::look::daemon_util;

/// Where Ganeti's packages have it.
const USUAL: &str = "/etc";
/// What is read of the script.
const MOST: u64 = 1 << 20;

/// The directory that is named, or that of the Ganeti here.
pub(in crate::commands) fn of_ganeti(given: Option<&Path>, script: Option<&Path>) -> PathBuf {
    if let Some(given) = given {
        return given.into();
    }
    let text = daemon_util(script).and_then(|path| {
        let mut text = Vec::new();
        let mut file = File::open(path).ok()?.take(MOST);
        file.read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    });
    let found = text.as_deref().and_then(sysconfdir).unwrap_or(USUAL);
    Path::new(found).join("ganeti/hooks")
}

/// The directory in the text of `daemon-util`: newer ones set `SYSCONFDIR`, older ones have it in
/// `defaults_file` alone. Nothing is expanded.
fn sysconfdir(text: &str) -> Option<&str> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("readonly ")
                .unwrap_or(line)
                .strip_prefix(name)
        });
        line.map(|value| value.trim_end().trim_matches(['"', '\'']))
    };
    let newer = value("SYSCONFDIR=").map(|value| {
        let value = value.strip_prefix("${SYSCONFDIR:-").unwrap_or(value);
        let value = value.strip_prefix("${GANETI_ROOTDIR:-}").unwrap_or(value);
        value.strip_suffix('}').unwrap_or(value)
    });
    let older = || value("defaults_file=")?.strip_suffix("/default/ganeti");
    let found = newer.or_else(older)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    (found.starts_with('/') && found.chars().all(plain)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_ganeti_looks_as_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("daemon-util");
        let upstream = "/usr/local/etc/ganeti/hooks";
        for (text, expected) in [
            ("", "/etc/ganeti/hooks"),
            (
                "readonly SYSCONFDIR=${SYSCONFDIR:-${GANETI_ROOTDIR:-}/etc}\n\
                 readonly defaults_file=\"$SYSCONFDIR/default/ganeti\"\n",
                "/etc/ganeti/hooks",
            ),
            (
                "readonly SYSCONFDIR=${SYSCONFDIR:-${GANETI_ROOTDIR:-}/usr/local/etc}\n",
                upstream,
            ),
            (
                "#!/bin/bash\ndefaults_file=/usr/local/etc/default/ganeti\n",
                upstream,
            ),
            (
                "readonly defaults_file=\"/usr/local/etc/default/ganeti\"\n",
                upstream,
            ),
            ("SYSCONFDIR=\"/opt/x/etc\"\n", "/opt/x/etc/ganeti/hooks"),
            ("SYSCONFDIR=$(find /)\n", "/etc/ganeti/hooks"),
            (
                "readonly defaults_file=\"$SYSCONFDIR/default/ganeti\"\n",
                "/etc/ganeti/hooks",
            ),
        ] {
            std::fs::write(&script, text).unwrap();
            let found = of_ganeti(None, Some(&script));
            assert_eq!(found, Path::new(expected), "{text}");
        }
        let named = of_ganeti(Some("/mine".as_ref()), Some(&script));
        assert_eq!(named, Path::new("/mine"));
        let missing = of_ganeti(None, Some(&dir.path().join("none")));
        assert_eq!(missing, Path::new("/etc/ganeti/hooks"));
    }
}
