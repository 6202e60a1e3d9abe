//! Runs nft(8): loads the guard's rules, holds them, and looks whether they are there. It touches
//! no table but the guard's own.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::rules::{Form, TABLE};
use crate::commands::program::{self, ASKED, Output};

/// Time for nft to load the rules.
const PATIENCE: Duration = Duration::from_secs(5);

/// Rules that are loaded. They go when this is dropped.
pub(super) struct Loaded {
    /// The process that owns the table, if it has an owner.
    owner: Option<Child>,
    /// The table as it was loaded.
    listing: String,
}

/// Whether nft and the kernel would load this file.
pub(super) fn check(file: &Path) -> Result<(), String> {
    run(Command::new("nft").args(["--check", "-f"]).arg(file)).map(|_| ())
}

/// Loads a file.
pub(super) fn load(file: &Path, form: Form) -> Result<Loaded, String> {
    let mut loaded = Loaded {
        owner: None,
        listing: String::new(),
    };
    match form {
        Form::Plain => {
            run(Command::new("nft").arg("-f").arg(file))?;
        }
        Form::Owned => loaded.owner = Some(owner(file)?),
    }
    let end = Instant::now() + PATIENCE;
    loop {
        loaded.still_there()?;
        match list() {
            Ok(listing) => {
                loaded.listing = listing;
                return Ok(loaded);
            }
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

/// An nft that has loaded a file and stays: the table belongs to it.
fn owner(file: &Path) -> Result<Child, String> {
    let file = std::path::absolute(file).map_err(|error| error.to_string())?;
    let mut nft = Command::new("nft")
        .arg("-i")
        .stdin(Stdio::piped())
        .stdout(Stdio::null()) // only a prompt
        .spawn()
        .map_err(|error| format!("nft: {error}"))?;
    let include = format!("include \"{}\"\n", file.display());
    let said = match &mut nft.stdin {
        Some(stdin) => stdin
            .write_all(include.as_bytes())
            .and_then(|()| stdin.flush()),
        None => Ok(()),
    };
    said.map(|()| nft).map_err(|error| format!("nft: {error}"))
}

/// The table without what is counted.
fn list() -> Result<String, String> {
    let listed = run(Command::new("nft")
        .args(["-s", "list", "table"])
        .args(TABLE))?;
    Ok(String::from_utf8_lossy(&listed.out).into_owned())
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = program::run(command, b"", ASKED)?;
    match output.status.success() {
        true => Ok(output),
        false => {
            let said = String::from_utf8_lossy(&output.err);
            Err(format!("nft: {}", one_line(&said)))
        }
    }
}

/// What nft says of a rule, without the line that points at a place in it.
fn one_line(said: &str) -> String {
    let points = |line: &&str| line.chars().all(|c| matches!(c, '^' | '~' | ' '));
    let lines = said.lines().map(str::trim).filter(|line| !points(line));
    lines.collect::<Vec<_>>().join("; ")
}

impl Loaded {
    /// Whether the process that owns the table lives.
    fn still_there(&mut self) -> Result<(), String> {
        match self.owner.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                Err(format!("the nft that held the rules has ended: {status}"))
            }
            Some(Err(error)) => Err(format!("nft: {error}")),
            Some(Ok(None)) | None => Ok(()),
        }
    }

    /// Whether the rules are in force. A table with an owner cannot change while he lives; another
    /// one is compared with what was loaded where `compare` asks for it.
    pub(super) fn hold(&mut self, compare: bool) -> Result<(), String> {
        self.still_there()?;
        if self.owner.is_some() || !compare {
            return Ok(());
        }
        match list()? == self.listing {
            true => Ok(()),
            false => Err("somebody has changed the rules".into()),
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        match &mut self.owner {
            Some(nft) => {
                let _ = nft.kill();
                let _ = nft.wait();
            }
            None => {
                let _ = run(Command::new("nft").args(["delete", "table"]).args(TABLE));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn what_nft_says_is_a_line() {
        let said = "f:12:43-49: Error: Could not process rule: No such file or directory\n\
                    \t\toifname \"lo\" jump nothing\n\t\t             ^^^^^^^\n";
        let expected = "f:12:43-49: Error: Could not process rule: No such file or directory; \
                        oifname \"lo\" jump nothing";
        assert_eq!(one_line(said), expected);
    }
}
