//! The keys of the proxy's own configuration that an installation may set: which rule decides, and
//! where the candidates' certificates are. They go into a file of their own beside the one of the
//! package, which stays as the package has it; a key that stands somewhere already is changed there.
//! All else stays as it is. Only [`make`] and [`unmake`] change anything.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::slice;

use toml_edit::{DocumentMut, Value, table, value};

use super::place;
use super::plan::Plan;
use super::step::{Proof, Step, Write};
use crate::config::{beside, directory};

/// The name of that file.
const OWN: &str = "install.toml";

const CERTS: &str = "candidate_certs";

const HEAD: &str = "# Made by `noded-proxy install`; `noded-proxy uninstall` takes it away.\n";

/// What is wished for.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// The value of `admission.mode`.
    pub(super) mode: Option<String>,
    /// The directory for `candidate_certs`, if no file names one.
    pub(super) certs: Option<PathBuf>,
}

/// A file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) content: Option<Vec<u8>>,
}

/// The files of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The one that is named, then those beside it but for the installation's own.
    pub(super) given: Vec<File>,
    pub(super) own: File,
    /// Whether the directory of the own one is there.
    pub(super) has_directory: bool,
    /// Whether nothing else is in it.
    pub(super) is_alone: bool,
}

/// The files as they are; `named` may be absent.
pub(super) fn found(named: &Path) -> Result<Files, String> {
    let directory = directory(named);
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    let read = |path: PathBuf| {
        let content = place::read(&path)?;
        Ok(File { path, content })
    };
    let own = directory.join(OWN);
    let others = beside(named).map_err(failed)?.into_iter();
    let others = others.filter(|path| *path != own);
    let given = [named.to_owned()].into_iter().chain(others).map(read);
    let entries = fs::read_dir(&directory).map(|all| all.flatten().map(|entry| entry.path()));
    Ok(Files {
        given: given.collect::<Result<_, String>>()?,
        has_directory: entries.is_ok(),
        is_alone: entries.is_ok_and(|mut all| all.all(|path| path == own)),
        own: read(own)?,
    })
}

/// Adds what is to be done for the wishes, before all else. `runs`: a proxy runs with the files.
pub(super) fn add(
    plan: &mut Plan,
    files: &Files,
    wishes: &Wishes,
    runs: bool,
) -> Result<(), String> {
    if wishes.mode.is_none()
        && let Some(path) = audit_in(&files.given).or_else(|| audit_in(slice::from_ref(&files.own)))
    {
        let path = path.display();
        plan.notes.push(format!(
            "{path}: audit mode: every node of the cluster can command this one. --mode enforce ends it"
        ));
    }
    let changes = changes(files, wishes)?;
    if changes.is_empty() {
        return Ok(());
    }
    let mut steps = Vec::new();
    let names_certs = |change: &Change<'_>| change.said.iter().any(|said| said.starts_with(CERTS));
    if let Some(path) = &wishes.certs
        && changes.iter().any(names_certs)
        && !path.exists()
    {
        steps.push(Step::Make(path.clone()));
    }
    for Change { file, text, said } in changes {
        if *file == files.own && !files.has_directory {
            let directory = file.path.parent().unwrap_or_else(|| Path::new("/"));
            steps.push(Step::Make(directory.to_owned()));
        }
        steps.push(Step::Write(Write {
            path: file.path.clone(),
            from: file.content.clone(),
            to: Some(text.into_bytes()),
            what: said.join(", "),
        }));
    }
    steps.extend(runs.then_some(Step::Reread));
    plan.steps.splice(0..0, steps);
    if !matches!(plan.steps.last(), Some(Step::Prove(_))) {
        plan.steps.push(Step::Prove(Proof::Behind));
    }
    Ok(())
}

/// Adds what takes away the own file. What stands in the others is the administrator's, and stays.
pub(super) fn take_away(plan: &mut Plan, files: &Files) {
    let Files { own, .. } = files;
    if let Some(path) = audit_in(&files.given) {
        let path = path.display();
        plan.notes.push(format!(
            "{path}: admission.mode = \"audit\" stays, for a later `install`"
        ));
    }
    if own.content.is_none() {
        return;
    }
    plan.steps.push(Step::Write(Write {
        path: own.path.clone(),
        from: own.content.clone(),
        to: None,
        what: "removed".into(),
    }));
    let directory = own.path.parent().filter(|_| files.is_alone);
    plan.steps
        .extend(directory.map(|path| Step::Unmake(path.to_owned())));
}

/// The file that has the proxy in audit mode.
fn audit_in(files: &[File]) -> Option<&Path> {
    let mode = |file: &File| {
        let document = parsed(&text(file).ok()?).ok()?;
        Some(document.get("admission")?.get("mode")?.as_str()? == "audit")
    };
    let file = files.iter().find(|file| mode(file) == Some(true));
    file.map(|file| &*file.path)
}

/// A file that changes: its new text, and what changed in words.
struct Change<'a> {
    file: &'a File,
    text: String,
    said: Vec<String>,
}

/// The files that change.
fn changes<'a>(files: &'a Files, wishes: &Wishes) -> Result<Vec<Change<'a>>, String> {
    let all = files.given.iter().chain([&files.own]);
    let unchanged = all.map(|file| {
        let (text, said) = (text(file)?, Vec::new());
        Ok(Change { file, text, said })
    });
    let mut all = unchanged.collect::<Result<Vec<_>, String>>()?;
    let own = all.len() - 1;
    if let Some(mode) = &wishes.mode {
        let (at, now) = place_of(&all, Some("admission"), "mode").unwrap_or((own, None));
        if now.as_deref().unwrap_or("enforce") != mode {
            let change = &mut all[at];
            change.text = with(&change.text, Some("admission"), "mode", mode)?;
            change.said.push(format!("admission.mode = \"{mode}\""));
        }
    }
    if let Some(path) = &wishes.certs
        && place_of(&all, None, CERTS).is_none()
    {
        let path = path.to_str().ok_or("candidate_certs: not text")?;
        let change = &mut all[own];
        change.text = with(&change.text, None, CERTS, path)?;
        change.said.push(format!("{CERTS} = \"{path}\""));
    }
    if files.own.content.is_none() {
        all[own].text.insert_str(0, HEAD);
    }
    all.retain(|change| !change.said.is_empty());
    Ok(all)
}

fn text(file: &File) -> Result<String, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", file.path.display());
    let text = file.content.clone().unwrap_or_default();
    let text = String::from_utf8(text).map_err(|error| failed(&error))?;
    parsed(&text).map_err(|why| failed(&why))?;
    Ok(text)
}

/// In which of the files a key stands, and its value if that is a text.
fn place_of(
    all: &[Change<'_>],
    section: Option<&str>,
    key: &str,
) -> Option<(usize, Option<String>)> {
    all.iter().enumerate().find_map(|(at, change)| {
        let document = parsed(&change.text).ok()?;
        let table = match section {
            Some(section) => document.get(section)?,
            None => document.as_item(),
        };
        Some((at, table.get(key)?.as_str().map(str::to_owned)))
    })
}

fn parsed(text: &str) -> Result<DocumentMut, String> {
    text.parse::<DocumentMut>()
        .map_err(|error| error.to_string().replace('\n', " "))
}

/// The text with this key: in the place of its commented line, if the sample's is there.
fn with(text: &str, section: Option<&str>, key: &str, to: &str) -> Result<String, String> {
    let mut wanted = parsed(text)?;
    let table = match section {
        Some(section) => wanted.entry(section).or_insert_with(table),
        None => wanted.as_item_mut(),
    };
    let mut new = Value::from(to);
    if let Some(old) = table.get(key).and_then(|item| item.as_value()) {
        *new.decor_mut() = old.decor().clone(); // its comment
    }
    table[key] = value(new);
    let commented = format!("#{key} = ");
    let line = text.lines().find(|line| line.starts_with(&commented));
    let in_place = line.map(|line| text.replacen(line, &format!("{key} = {}", value(to)), 1));
    let same =
        |text: &String| values(text).is_some_and(|all| Some(all) == values(&wanted.to_string()));
    Ok(in_place.filter(same).unwrap_or_else(|| wanted.to_string()))
}

/// What a text says, whatever it looks like.
fn values(text: &str) -> Option<toml::Table> {
    text.parse().ok()
}

/// Makes a directory that everybody may read.
pub(super) fn make(path: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| error.to_string())
}

/// Removes a directory that is empty.
pub(super) fn unmake(path: &Path) -> Result<(), String> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
