//! Does the configuration fit the unit that systemd runs the proxy in, with all its drop-ins? It asks
//! systemd for the unit's settings and changes none. Where there is no such unit it says nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::finding::Finding;
use crate::commands::program::{ASKED, Fault, run};
use crate::config::Config;

/// The unit.
const UNIT: &str = "noded-proxy.service";
/// What is asked of it.
const PROPERTIES: &str = "LoadState,TimeoutStopUSec,ProtectSystem,ProtectHome,PrivateTmp,\
                          ReadWritePaths,StateDirectory,InaccessiblePaths";

/// The settings that a configuration has to fit to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Time from the signal to end to the one that kills; `None` for any time.
    stop: Option<Duration>,
    /// All is read-only but for these directories; `None` if it is not.
    writable: Option<Vec<PathBuf>>,
    /// What is out of reach.
    hidden: Vec<PathBuf>,
}

/// Findings on the unit, as systemd has it loaded.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    match Unit::loaded() {
        Ok(unit) => unit.iter().flat_map(|unit| unit.judge(config)).collect(),
        Err(why) => {
            let text = format!("it cannot be told what {UNIT} keeps the proxy from: {why}");
            vec![Finding::warning("unit_sandbox", text)]
        }
    }
}

impl Unit {
    /// As systemd has it loaded; nothing where there is no systemd, or no such unit.
    fn loaded() -> Result<Option<Self>, Fault> {
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["show", UNIT, "--property", PROPERTIES]);
        match run(&mut systemctl, b"", ASKED) {
            Ok(said) => Ok(Self::parse(&String::from_utf8_lossy(&said.out))),
            Err(Fault::NotRun(..)) => Ok(None),
            Err(silent) => Err(silent),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        if value("LoadState") != Some("loaded") {
            return None;
        }
        let paths = |key: &str| {
            let words = value(key).unwrap_or_default().split_whitespace();
            words.map(|word| PathBuf::from(word.trim_start_matches(['-', '+'])))
        };
        let states = paths("StateDirectory").map(|name| Path::new("/var/lib").join(name));
        let strict = value("ProtectSystem") == Some("strict");
        let mut hidden: Vec<PathBuf> = paths("InaccessiblePaths").collect();
        if value("ProtectHome") == Some("yes") {
            hidden.extend(["/home", "/root", "/run/user"].map(PathBuf::from));
        }
        if value("PrivateTmp") == Some("yes") {
            hidden.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
        }
        let stop = value("TimeoutStopUSec")?;
        Some(Self {
            stop: humantime::parse_duration(stop).ok(),
            writable: strict.then(|| paths("ReadWritePaths").chain(states).collect()),
            hidden,
        })
    }

    /// Findings on what the proxy would be kept from.
    fn judge(&self, config: &Config) -> Vec<Finding> {
        let read = [
            ("server_pem", Some(config.server_pem.as_path())),
            ("ssconf_dir", Some(config.ssconf_dir.as_path())),
            ("candidate_map", config.candidate_map.as_deref()),
            ("candidate_certs", config.candidate_certs.as_deref()),
            ("candidate_bundle", config.candidate_bundle.as_deref()),
        ];
        let read = read.iter().filter_map(|(key, path)| Some((*key, (*path)?)));
        let mut findings: Vec<Finding> = read
            .filter_map(|(key, path)| self.unreadable(key, path))
            .collect();
        findings.extend(self.unwritable(&config.state_dir));
        if findings.is_empty() {
            let text = format!("{UNIT} lets the proxy reach its files");
            findings.push(Finding::ok("unit_sandbox", text));
        }
        findings.push(self.timeout(config.drain_timeout));
        findings
    }

    fn hides(&self, path: &Path) -> Option<&Path> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut hidden = self.hidden.iter();
        let found = hidden.find(|dir| real.starts_with(dir) || path.starts_with(dir));
        found.map(PathBuf::as_path)
    }

    fn unreadable(&self, key: &str, path: &Path) -> Option<Finding> {
        let hidden = self.hides(path)?.display();
        let text = format!(
            "{key} = {}: {UNIT} hides {hidden} from the proxy: put it elsewhere, for instance \
             under /etc/noded-proxy",
            path.display()
        );
        Some(Finding::error("unit_sandbox", text))
    }

    fn unwritable(&self, path: &Path) -> Option<Finding> {
        let name = format!("state_dir = {}", path.display());
        let todo = match (self.hides(path), &self.writable) {
            (Some(hidden), _) => format!(
                "{UNIT} hides {} from the proxy: put it under /var/lib",
                hidden.display()
            ),
            (None, Some(dirs)) if !dirs.iter().any(|dir| path.starts_with(dir)) => format!(
                "{UNIT} lets the proxy write only in its own directories: systemctl edit \
                 noded-proxy, and there [Service] and ReadWritePaths={} on a line each; then \
                 systemctl restart noded-proxy",
                path.display()
            ),
            (None, _) => return None,
        };
        Some(Finding::error("unit_sandbox", format!("{name}: {todo}")))
    }

    fn timeout(&self, drain: Duration) -> Finding {
        let (id, asked) = ("unit_timeout", humantime::format_duration(drain));
        match self.stop {
            Some(stop) if stop <= drain => {
                let (more, stop) = (drain.as_secs() + 15, humantime::format_duration(stop));
                let text = format!(
                    "drain_timeout = {asked}: systemd kills the proxy after {stop} \
                     (TimeoutStopSec), and RPCs that run then lose their answer: systemctl edit \
                     noded-proxy, and there [Service] and TimeoutStopSec={more} on a line each"
                );
                Finding::warning(id, text)
            }
            _ => Finding::ok(id, format!("drain_timeout = {asked}: {UNIT} gives more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Error, Ok as Good, Warning};
    use super::*;

    /// As systemd 252 prints it.
    const SHIPPED: &str = "\
TimeoutStopUSec=1min 15s
ReadWritePaths=
InaccessiblePaths=-/etc/shadow -/etc/ssh -/boot -/srv -/var/log
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
StateDirectory=noded-proxy
LoadState=loaded
";

    fn verdicts(unit: &str, config: &Config) -> [Verdict; 2] {
        let found = Unit::parse(unit).unwrap().judge(config);
        let of = |id| found.iter().find(|f| f.id == id).unwrap().verdict;
        [of("unit_sandbox"), of("unit_timeout")]
    }

    #[test]
    fn where_the_state_directory_may_be() {
        let more = SHIPPED.replace("ReadWritePaths=", "ReadWritePaths=-/var/cache/x /data/y");
        let loose = SHIPPED.replace("=strict", "=full");
        let table = [
            ("/var/lib/noded-proxy", SHIPPED, Good),
            ("/var/lib/noded-proxy/more", SHIPPED, Good),
            ("/var/lib/noded-proxy2", SHIPPED, Error),
            ("/data/y", SHIPPED, Error),
            ("/data/y", &more, Good),
            ("/var/cache/x/z", &more, Good),
            ("/data/y", &loose, Good),
            ("/srv/y", &loose, Error),
            ("/tmp/y", &more, Error),
        ];
        for (dir, unit, expected) in table {
            let state_dir = dir.into();
            let config = Config {
                state_dir,
                ..Config::default()
            };
            assert_eq!(verdicts(unit, &config)[0], expected, "{dir} {unit}");
        }
    }

    #[test]
    fn what_is_hidden_cannot_be_read() {
        for (dir, expected) in [
            ("/etc/noded-proxy/candidates", Good),
            ("/srv/candidates", Error),
            ("/root/candidates", Error),
            ("/etc/ssh", Error),
        ] {
            let candidate_certs = Some(dir.into());
            let config = Config {
                candidate_certs,
                ..Config::default()
            };
            assert_eq!(verdicts(SHIPPED, &config)[0], expected, "{dir}");
        }
    }

    #[test]
    fn a_drain_has_to_end_before_systemd_kills() {
        let endless = SHIPPED.replace("1min 15s", "infinity");
        for (seconds, unit, expected) in [
            (60, SHIPPED, Good),
            (74, SHIPPED, Good),
            (75, SHIPPED, Warning),
            (3600, SHIPPED, Warning),
            (3600, &endless, Good),
        ] {
            let config = Config {
                drain_timeout: Duration::from_secs(seconds),
                ..Config::default()
            };
            assert_eq!(verdicts(unit, &config)[1], expected, "{seconds}");
        }
    }

    #[test]
    fn without_a_unit_there_is_nothing_to_say() {
        assert_eq!(
            Unit::parse("TimeoutStopUSec=1min 30s\nLoadState=not-found\n"),
            None
        );
        assert_eq!(Unit::parse(""), None);
    }

    /// The defaults fit the shipped unit.
    #[test]
    fn the_shipped_unit_gives_the_defaults_room() {
        let unit = include_str!("../../../systemd/noded-proxy.service");
        let as_systemd_says = unit.replace("TimeoutStopSec=75", "TimeoutStopUSec=75s");
        let loaded = format!("LoadState=loaded\n{as_systemd_says}");
        assert_eq!(verdicts(&loaded, &Config::default()), [Good, Good]);
    }
}
