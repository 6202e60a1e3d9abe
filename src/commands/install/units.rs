//! What systemd says of units. It asks, and changes none.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use super::plan::UnitState;
use crate::commands::program::{ASKED, Fault, run};

const PROPERTIES: &str = "LoadState,UnitFileState,ActiveState,ExecStart,User,EnvironmentFiles";

/// A unit's properties.
#[derive(Debug, Default)]
pub(super) struct Shown(HashMap<String, String>);

impl Shown {
    /// As systemd knows it; that there is no systemd is seen later. Or systemd does not answer, which
    /// is not to know no unit.
    pub(super) fn of(unit: &str) -> Result<Self, Fault> {
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["show", unit, "--property", PROPERTIES]);
        match run(&mut systemctl, b"", ASKED) {
            Ok(said) => Ok(Self::parse(&String::from_utf8_lossy(&said.out))),
            Err(Fault::NotRun(..)) => Ok(Self::default()),
            Err(silent) => Err(silent),
        }
    }

    fn parse(text: &str) -> Self {
        let mut all = HashMap::<String, String>::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let known = all.entry(key.into()).or_default();
            *known = format!("{known} {value}").trim().into(); // one line for each file
        }
        Self(all)
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    pub(super) fn state(&self) -> UnitState {
        UnitState {
            enabled: self.get("UnitFileState") == "enabled",
            active: ["active", "activating", "reloading"].contains(&self.get("ActiveState")),
        }
    }

    /// The command that it runs, with its arguments.
    pub(super) fn command(&self) -> &str {
        let text = self.get("ExecStart");
        let after = text.split_once("argv[]=").map(|(_, rest)| rest);
        let command = after.and_then(|rest| rest.split_once(" ; "));
        command.map_or("", |(command, _)| command)
    }

    /// The program.
    pub(super) fn program(&self) -> Option<PathBuf> {
        self.command().split_whitespace().next().map(PathBuf::from)
    }

    /// The value of an option of that command.
    pub(super) fn argument(&self, option: &str) -> Option<PathBuf> {
        let mut words = self.command().split_whitespace();
        words.find(|word| *word == option)?;
        words.next().map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_as_systemd_252_shows_it() {
        let shown = Shown::parse(
            "ExecStart={ path=/usr/sbin/noded-proxy ; argv[]=/usr/sbin/noded-proxy run --config \
             /etc/x.toml ; ignore_errors=no ; start_time=[n/a] ; status=0/0 }\n\
             User=noded-proxy\nEnvironmentFiles=/etc/default/ganeti (ignore_errors=yes)\n\
             EnvironmentFiles=/var/x (ignore_errors=yes)\n\
             LoadState=loaded\nActiveState=inactive\nUnitFileState=enabled\n",
        );
        assert!(shown.is_loaded());
        let state = UnitState {
            enabled: true,
            active: false,
        };
        assert_eq!(shown.state(), state);
        assert_eq!(shown.argument("--config"), Some("/etc/x.toml".into()));
        assert_eq!(shown.argument("--rules"), None);
        assert_eq!(shown.program(), Some("/usr/sbin/noded-proxy".into()));
        assert!(
            shown
                .get("EnvironmentFiles")
                .contains("/etc/default/ganeti")
        );
        assert!(!Shown::parse("LoadState=not-found\n").is_loaded());
    }
}
