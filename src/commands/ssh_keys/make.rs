//! Makes a pair on this node, which waits until all nodes know it. Its private half never leaves the
//! node, and is in no place where ssh looks.

use std::process::{Command, Stdio};

use super::here::Here;
use crate::ssh_keys::kept::Kept;
use crate::ssh_keys::pair::Given;
use crate::ssh_keys::staged;
use rules::ssh_keys::pairs::list::comment;

/// What `ssh-keygen` writes.
const NEW: &str = "new";
/// One key of 512 on P-256 is not read back: another one is.
const TRIES: usize = 8;

/// Makes one for a file of this name, unless one waits.
pub(super) fn run(here: &Here, kept: &Kept, file: &str) -> Result<(), String> {
    let kind = match file {
        "id_rsa" => "rsa",
        "id_ecdsa" => "ecdsa",
        _ => return Err("no name of a pair".into()),
    };
    for _ in 0..TRIES {
        if staged::read(kept)?.is_some() {
            return Ok(());
        }
        staged::write(kept, &made(here, kept, kind)?)?;
    }
    Err("no pair that can be read".into())
}

fn made(here: &Here, kept: &Kept, kind: &str) -> Result<Given, String> {
    let public = format!("{NEW}.pub");
    let clear = || kept.remove(NEW).and_then(|()| kept.remove(&public));
    clear()?;
    let run = Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            kind,
            "-N",
            "",
            "-C",
            &comment(&here.seen.host),
            "-f",
        ])
        .arg(kept.path(NEW))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("ssh-keygen: {error}"))?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        return Err(format!("ssh-keygen: {}", said.trim()));
    }
    let read = |name: &str| -> Result<String, String> {
        let content = kept.read(name)?.ok_or("ssh-keygen made nothing")?;
        String::from_utf8(content).map_err(|error| error.to_string())
    };
    let (private, public) = (read(NEW)?, read(&public)?);
    clear()?;
    Ok(Given { private, public })
}
