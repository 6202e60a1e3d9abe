//! Programs of Debian's package prometheus. Where it is missing the tests say so loudly and pass;
//! with `NODED_PROXY_REQUIRE_LAB=1` they fail.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return true;
    }
    let why = format!("{program} is not installed (tests/lab/setup installs it)");
    let required = std::env::var_os("NODED_PROXY_REQUIRE_LAB").is_some_and(|v| v == "1");
    assert!(!required, "{why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln: that would be captured, and nobody would know.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
    false
}

/// Runs promtool; what it said, and whether it was content. `None`: it is not installed.
pub(crate) fn promtool(args: &[&str], file: &Path) -> Option<(bool, String)> {
    if !has("promtool") {
        return None;
    }
    let output = Command::new("promtool")
        .args(args)
        .arg(file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    Some((output.status.success(), said))
}
