//! Which disk transfers run on this node now, by either program. It only looks.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// How many run. One may be several processes, with the same status file.
pub(in crate::commands) fn running() -> usize {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_root = processes.filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == 0));
    let lines = of_root.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let status_files = lines.filter_map(|line| status_file(&line));
    status_files.collect::<BTreeSet<_>>().len()
}

/// The status file of a transfer, by a command line of `/proc`; nothing if it is something else.
fn status_file(line: &[u8]) -> Option<Vec<u8>> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let is_named = |word: &&[u8]| {
        let name = word.rsplit(|byte| *byte == b'/').next();
        matches!(name, Some(b"import-export" | b"import-export.ganeti"))
    };
    // Behind an interpreter, or behind this program.
    let at = words.iter().take(3).position(is_named)?;
    let (status, mode) = (words.get(at + 1)?, words.get(at + 2)?);
    let is_transfer = status.starts_with(b"/") && matches!(*mode, b"import" | b"export");
    is_transfer.then(|| status.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_told_by_its_command_line() {
        for (line, expected) in [
            (
                "/usr/bin/python3 /usr/lib/ganeti/import-export /run/s import --key=k",
                true,
            ),
            (
                "/usr/bin/python3 /usr/lib/ganeti/import-export.ganeti /run/s export",
                true,
            ),
            (
                "/usr/sbin/noded-proxy import-export /run/s export --host=h",
                true,
            ),
            ("/bin/sh /usr/lib/ganeti/import-export /run/s import", true),
            ("/usr/sbin/noded-proxy import-export --help", false),
            ("vi /usr/lib/ganeti/import-export", false),
            ("grep a b import-export /run/s import", false),
            (
                "/usr/bin/python3 /usr/lib/ganeti/import-export run/s import",
                false,
            ),
            ("", false),
        ] {
            let found = status_file(line.replace(' ', "\0").as_bytes());
            let status = expected.then(|| b"/run/s".to_vec());
            assert_eq!(found, status, "{line}");
        }
    }
}
