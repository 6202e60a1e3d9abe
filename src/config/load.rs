//! Defaults, then the files, then the flags, to a [`Config`] that cannot be wrong.
//!
//! No other way leads from a file to a [`Config`], so nobody can forget to check the values.

use std::path::{Path, PathBuf};

use super::flags::{FileArgs, Overrides};
use super::keys::Config;
use super::pieces;
use super::problem::Problem;

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

    /// The `state_dir` of a file that may be wrong otherwise; nothing if it cannot be known. Of a text
    /// that is no TOML nothing is known, but where the packaged one has it.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let usual = Config::default().state_dir;
        let text = std::fs::read_to_string(self.path()).ok();
        let table = text.and_then(|text| text.parse::<toml::Table>().ok());
        match table.map(|mut table| table.remove("state_dir")) {
            Some(Some(toml::Value::String(named))) => Some(named.into()),
            Some(None) => Some(usual),
            Some(Some(_)) => None,
            None => (self.path() == Path::new(DEFAULT_FILE)).then_some(usual),
        }
    }

    /// The files that are read: that one, if it is there, and those beside it.
    pub fn all(&self) -> Vec<PathBuf> {
        let own = Some(self.path().to_owned()).filter(|path| path.exists());
        let beside = pieces::beside(self.path()).unwrap_or_default();
        own.into_iter().chain(beside).collect()
    }
}
