//! Defaults, then the file, then the flags, to a [`Config`] that cannot be wrong.
//!
//! No other way leads from a file to a [`Config`], so nobody can forget to check the values.

use super::file;
use super::flags::{FileArgs, Overrides};
use super::keys::Config;
use super::problem::Problem;

/// Where the configuration is looked for when `--config` is not given. It may be absent.
pub const DEFAULT_FILE: &str = "/etc/noded-proxy/noded-proxy.toml";

impl Config {
    /// Defaults, file and flags together, with all values checked.
    pub fn load(file: &FileArgs, flags: &[&dyn Overrides]) -> Result<Self, Vec<Problem>> {
        let mut config = match &file.config {
            Some(path) => file::read(path)?,
            None => file::read_if_present(DEFAULT_FILE.as_ref())?,
        };
        flags.iter().for_each(|group| group.apply(&mut config));
        let problems = config.problems();
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }
}
