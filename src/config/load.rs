//! Defaults, then the files, then the flags, to a [`Config`] that cannot be wrong.
//!
//! No other way leads from a file to a [`Config`], so nobody can forget to check the values.

use std::path::{Path, PathBuf};

use super::flags::{FileArgs, Overrides};
use super::keys::Config;
use super::pieces;
use super::problem::Problem;
use crate::node::files::{self, FileContent};

/// Largest file that is looked at.
const MOST: usize = 1 << 20;

/// Where the configuration is looked for when `--config` is not given. It may be absent.
pub const DEFAULT_FILE: &str = "/etc/noded-proxy/noded-proxy.toml";

impl Config {
    /// Defaults, files and flags together, with all values checked.
    pub fn load(file: &FileArgs, flags: &[&dyn Overrides]) -> Result<Self, Vec<Problem>> {
        let mut config = pieces::read(file.path(), file.config.is_some())?;
        flags.iter().for_each(|group| group.apply(&mut config));
        let problems = config.problems();
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }
}

impl FileArgs {
    /// The file that is named, or the usual one.
    pub fn path(&self) -> &Path {
        let usual = Path::new(DEFAULT_FILE);
        self.config.as_deref().unwrap_or(usual)
    }

    /// The `state_dir` of files that may be wrong otherwise; nothing if it cannot be known. Of a text
    /// that is no TOML nothing is known, but where the packaged one has it; and a pipe was read before.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let table = |path: &Path| match files::read(path, MOST) {
            FileContent::Content(text) => str::from_utf8(&text).ok()?.parse::<toml::Table>().ok(),
            _ => None,
        };
        let named = [self.path().to_owned()];
        let beside = pieces::beside(self.path()).unwrap_or_default();
        let all: Vec<_> = named
            .iter()
            .chain(&beside)
            .map(|path| table(path))
            .collect();
        let mut known = all.iter().flatten().filter_map(|one| one.get("state_dir"));
        let is_usual = self.path() == Path::new(DEFAULT_FILE) || all.iter().all(Option::is_some);
        match known.next() {
            Some(toml::Value::String(named)) => Some(named.into()),
            Some(_) => None,
            None => is_usual.then(|| Config::default().state_dir),
        }
    }

    /// The files that are read: that one, if it is there, and those beside it.
    pub fn all(&self) -> Vec<PathBuf> {
        let own = Some(self.path().to_owned()).filter(|path| path.exists());
        let beside = pieces::beside(self.path()).unwrap_or_default();
        own.into_iter().chain(beside).collect()
    }
}
