//! The files of the configuration: the one that is named, and those in the directory beside it. Each is
//! read as strictly as the other, and a key stands in one of them alone, so that no order of files
//! decides. It judges no value.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::file;
use super::keys::Config;
use super::problem::Problem;

/// The directory of a file: `noded-proxy.d` for `noded-proxy.toml`.
pub fn directory(file: &Path) -> PathBuf {
    let directory = file.with_extension("d");
    match directory == file {
        true => file.with_extension("d.d"),
        false => directory,
    }
}

/// The files in it, in the order of their names: those that end with `.toml` and are not hidden.
pub fn beside(file: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory(file)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<PathBuf>>>()?;
    let is_hidden = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".")
    };
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml") && !is_hidden(path));
    paths.sort();
    Ok(paths)
}

/// Reads all of them. The one that is named may be absent if it is not `needed`.
pub(super) fn read(path: &Path, needed: bool) -> Result<Config, Vec<Problem>> {
    let named = match path.try_exists() {
        Ok(false) if !needed => None,
        _ => Some(file::read(path)?), // what is there and cannot be read is a fault
    };
    let unseen = |error: io::Error| {
        let name = directory(path);
        vec![Problem(format!(
            "{}: cannot be read: {error}",
            name.display()
        ))]
    };
    let beside = beside(path).map_err(unseen)?;
    if beside.is_empty() {
        return Ok(named.map(|(config, _)| config).unwrap_or_default());
    }
    let mut all = Vec::new();
    all.extend(named.map(|(_, text)| (path.to_owned(), text)));
    let mut problems = Vec::new();
    for path in beside {
        match file::read(&path) {
            Ok((_, text)) => all.push((path, text)),
            Err(more) => problems.extend(more),
        }
    }
    match problems.is_empty() {
        true => together(&all),
        false => Err(problems),
    }
}

/// One configuration of texts that are good each for itself.
fn together(all: &[(PathBuf, String)]) -> Result<Config, Vec<Problem>> {
    let mut whole = Table::new();
    let mut places: BTreeMap<String, &Path> = BTreeMap::new();
    let mut problems = Vec::new();
    for (path, text) in all {
        let table: Table = text.parse().map_err(|error| failed(all, &error))?;
        for key in keys(&table) {
            if let Some(other) = places.insert(key.clone(), path) {
                problems.push(Problem(format!(
                    "{key} stands in {} and in {}: keep one of them",
                    other.display(),
                    path.display()
                )));
            }
        }
        add(&mut whole, table);
    }
    match problems.is_empty() {
        true => Config::deserialize(whole).map_err(|error| failed(all, &error)),
        false => Err(problems),
    }
}

fn failed(all: &[(PathBuf, String)], error: &toml::de::Error) -> Vec<Problem> {
    let names: Vec<String> = all
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    let line = format!("{}: {}", names.join(" with "), error.message());
    vec![Problem(line.replace('\n', ", "))]
}

/// All keys with the names of their sections.
fn keys(table: &Table) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| match value {
        Value::Table(inner) => {
            let inner = keys(inner).into_iter();
            inner.map(|key| format!("{name}.{key}")).collect()
        }
        _ => vec![name.clone()],
    };
    table.iter().flat_map(of).collect()
}

fn add(whole: &mut Table, more: Table) {
    for (name, value) in more {
        match (whole.get_mut(&name), value) {
            (Some(Value::Table(there)), Value::Table(more)) => add(there, more),
            (_, value) => {
                whole.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FileArgs;
    use rules::authz::Mode;
    use std::fs;

    /// What becomes of these files; the first is the one that is named. `DIR` stands for theirs.
    fn load(files: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("x.d")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let config = Some(dir.path().join("x.toml"));
        Config::load(&FileArgs { config }, &[]).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines
                .join("\n")
                .replace(dir.path().to_str().unwrap(), "DIR")
        })
    }

    #[test]
    fn each_file_adds_its_keys() {
        let config = load(&[
            (
                "x.toml",
                "candidate_certs = '/c'\n[admission]\nreject_expired = true\n",
            ),
            ("x.d/install.toml", "admission.mode = 'audit'\n"),
            (
                "x.d/site.toml",
                "drain_timeout = '7s'\n[limits]\nbody = '1MiB'\n",
            ),
            ("x.d/.hidden.toml", "no_such_key = 1"),
            ("x.d/site.toml~", "no_such_key = 1"),
        ])
        .unwrap();
        assert_eq!(config.candidate_certs, Some("/c".into()));
        let admission = &config.admission;
        assert_eq!(
            (admission.mode, admission.reject_expired),
            (Mode::Audit, true)
        );
        assert_eq!(config.drain_timeout.as_secs(), 7);
        assert_eq!(load(&[("x.toml", "")]), Ok(Config::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        let table: [(&[(&str, &str)], &str); 6] = [
            (
                &[("x.toml", ""), ("x.d/a.toml", "admission.mod = 'audit'")],
                "DIR/x.d/a.toml, line 1: admission.mod: unknown key `mod`; is `mode` meant?",
            ),
            (
                &[("x.toml", ""), ("x.d/a.toml", "\nx = ")],
                "DIR/x.d/a.toml, line 2: ",
            ),
            (
                &[
                    ("x.toml", "[admission]\nmode = 'enforce'"),
                    ("x.d/a.toml", "admission.mode = 'enforce'"),
                ],
                "admission.mode stands in DIR/x.toml and in DIR/x.d/a.toml: keep one of them",
            ),
            (
                &[
                    ("x.toml", ""),
                    ("x.d/a.toml", "admin = '127.0.0.1:1'"),
                    ("x.d/b.toml", "admin = '127.0.0.1:2'"),
                ],
                "admin stands in DIR/x.d/a.toml and in DIR/x.d/b.toml: keep one of them",
            ),
            (
                &[("x.toml", ""), ("x.d/a.toml", "upstream.max_clients = 0")],
                "upstream.max_clients = 0: expected 1 to 10000",
            ),
            (
                &[("x.d/a.toml", "")],
                "--config DIR/x.toml: cannot be read: ",
            ),
        ];
        for (files, expected) in table {
            let found = load(files).unwrap_err();
            assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let config = Some(dir.path().join("x.toml"));
        fs::write(dir.path().join("x.toml"), "").unwrap();
        fs::create_dir_all(dir.path().join("x.d/a.toml")).unwrap();
        let load = || {
            let file = FileArgs {
                config: config.clone(),
            };
            Config::load(&file, &[]).map(drop).unwrap_err()[0].to_string()
        };
        assert!(
            load().contains("x.d/a.toml: cannot be read: "),
            "{}",
            load()
        );
        fs::remove_dir_all(dir.path().join("x.d")).unwrap();
        fs::write(dir.path().join("x.d"), "").unwrap();
        assert!(load().contains("x.d: cannot be read: "), "{}", load());
        assert_eq!(directory("/etc/x.d".as_ref()), Path::new("/etc/x.d.d"));
    }
}
