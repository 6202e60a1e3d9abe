//! The keys of the proxy's own configuration that an installation may set: which rule decides, and
//! where the candidates' certificates are. All else in the file stays as it is. Only
//! [`make`] and [`unmake`] change anything.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Value, table, value};

use super::plan::Plan;
use super::step::{Proof, Step, Write};

/// What is wished for.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// The value of `admission.mode`.
    pub(super) mode: Option<String>,
    /// The directory for `candidate_certs`, if the file names none.
    pub(super) certs: Option<PathBuf>,
}

/// The file as it is.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) content: Option<Vec<u8>>,
}

/// Adds what is to be done for the wishes, before all else. `runs`: a proxy runs with the file.
pub(super) fn add(plan: &mut Plan, file: &File, wishes: &Wishes, runs: bool) -> Result<(), String> {
    let name = file.path.display();
    let failed = |why: String| format!("{name}: {why}");
    let text = std::str::from_utf8(file.content.as_deref().unwrap_or_default())
        .map_err(|error| failed(error.to_string()))?;
    let (new, said) = edited(text, wishes).map_err(failed)?;
    if said.is_empty() {
        return Ok(());
    }
    let mut steps = Vec::new();
    if let Some(directory) = wishes.certs.as_deref().filter(|path| !path.exists()) {
        steps.push(Step::Make(directory.to_owned()));
    }
    steps.push(Step::Write(Write {
        path: file.path.clone(),
        from: file.content.clone(),
        to: Some(new.into_bytes()),
        what: said.join(", "),
    }));
    steps.extend(runs.then_some(Step::Reread));
    plan.steps.splice(0..0, steps);
    if !matches!(plan.steps.last(), Some(Step::Prove(_))) {
        plan.steps.push(Step::Prove(Proof::Behind));
    }
    Ok(())
}

/// The text with the wishes in it, and what was changed, in words.
fn edited(text: &str, wishes: &Wishes) -> Result<(String, Vec<String>), String> {
    let (mut text, mut said) = (text.to_owned(), Vec::new());
    let document = parsed(&text)?;
    if let Some(mode) = &wishes.mode {
        let now = document.get("admission").and_then(|all| all.get("mode"));
        let now = now.and_then(|mode| mode.as_str()).unwrap_or("enforce");
        if now != mode {
            text = with(&text, Some("admission"), "mode", mode)?;
            said.push(format!("admission.mode = \"{mode}\""));
        }
    }
    if let Some(path) = &wishes.certs
        && document.get("candidate_certs").is_none()
    {
        let path = path.to_str().ok_or("candidate_certs: not text")?;
        text = with(&text, None, "candidate_certs", path)?;
        said.push(format!("candidate_certs = \"{path}\""));
    }
    Ok((text, said))
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
