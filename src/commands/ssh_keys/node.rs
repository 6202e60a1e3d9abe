//! What a node does for the master, each deed a call of its own: it looks, removes, is told that this
//! is proven, deletes; and undoes what nobody has proven in time. What it is told to remove it
//! compares with its own files first.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::args::{Deed, NodeArgs};
use super::here::Here;
use crate::config::Config;
use crate::daemon::report::words::count;
use crate::node::directory::Directory;
use crate::ssh_keys::change::{Node, Removal};
use crate::ssh_keys::kept::Kept;
use crate::trust::now;
use rules::ssh_keys::sight::Sight;
use rules::ssh_keys::{Fingerprint, veto};
use rules::verify::observed::Seen;

/// Largest order that is taken.
const MOST: u64 = 4 << 20;
/// Pause between two tries to undo, and how long there are any.
const AGAIN: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(86_400);
/// The lock under which files are changed.
const LOCK: &str = "lock";

/// Does it; what is told goes to standard output.
pub(super) fn run(args: &NodeArgs, config: &Config) -> Result<bool, String> {
    let here = Here::look(&args.place, config)?;
    let sight = Sight::of(&here.seen);
    if args.deed == Deed::Look {
        let text = serde_json::to_string(&sight).map_err(|error| error.to_string())?;
        outln!("{text}");
        return Ok(true);
    }
    let kept = Kept::open(&here.root)?;
    let files = here.seen.ssh.authorized.iter();
    let node = Node {
        tree: &here.tree,
        files: files.map(|file| PathBuf::from(&file.path)).collect(),
        kept: &kept,
        now: now(),
    };
    if args.deed == Deed::Undo {
        outwait(args, &node);
        return undo(args, &node).map(|()| true);
    }
    let _lock = kept.lock(LOCK, true)?;
    match args.deed {
        Deed::Look | Deed::Undo => {}
        Deed::Keep => node.keep(args.id)?,
        Deed::Remove => {
            let removal: Removal = order()?;
            vetoed(&here, &sight, &config.verify.allow_ssh_keys, &removal)?;
            let gone = node.remove(&removal, || arm(args, removal.id))?;
            outln!("{} removed", count(gone, "line"));
        }
        Deed::Delete => {
            let names: Vec<_> = order()?;
            let deleted = delete(&here, &sight, &names)?;
            outln!("{} deleted", count(deleted, "backup"));
        }
    }
    Ok(true)
}

/// Sleeps until it is time to undo, or nothing is left to undo.
fn outwait(args: &NodeArgs, node: &Node<'_>) {
    let _ = rustix::process::setsid(); // the call that started it ends first
    let mut left = args.undo_after;
    while left > 0 && node.waits(args.id) {
        thread::sleep(Duration::from_secs(1));
        left -= 1;
    }
}

/// Tries until it is done, or nothing is left to undo: a disk may be full for a while, and Ganeti may
/// write into the same file.
fn undo(args: &NodeArgs, node: &Node<'_>) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let lock = node.kept.lock(LOCK, true);
        let done = lock.and_then(|_held| node.undo(Some(args.id)));
        match done {
            Err(_) if began.elapsed() < LONGEST => thread::sleep(AGAIN),
            done => return done.map(drop),
        }
    }
}

fn order<T: DeserializeOwned>() -> Result<T, String> {
    let mut text = Vec::new();
    let read = io::stdin().lock().take(MOST).read_to_end(&mut text);
    read.map_err(|error| format!("standard input: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("standard input: {error}"))
}

/// This node's own files against the master's word.
fn vetoed(
    here: &Here,
    sight: &Sight,
    listed: &BTreeSet<String>,
    removal: &Removal,
) -> Result<(), String> {
    if let Some(fault) = sight.fault() {
        return Err(fault.to_owned());
    }
    let keys = match &here.seen.ssh.pub_keys {
        Seen::Absent => &[][..], // as on normal nodes
        Seen::Good(all) if all.bad_lines.is_empty() => &all.keys,
        Seen::Good(_) | Seen::Faulty(_) => {
            return Err("this node's ganeti_pub_keys cannot be read".into());
        }
    };
    let current = keys.iter();
    let current = current.filter_map(|(_, key)| key.fingerprint.parse().ok());
    let current = current.collect();
    let mut all = removal.keys.iter();
    let found = all.find_map(|key| Some((key, veto(sight, &current, listed, key)?)));
    found.map_or(Ok(()), |(key, why)| Err(format!("{key} stays: {why}")))
}

/// Starts what undoes the removal unless it is kept.
fn arm(args: &NodeArgs, id: u64) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut guard = Command::new(program);
    guard.args(["ssh-keys", "node", "undo", "--id", &id.to_string()]);
    guard.args(["--undo-after", &args.undo_after.to_string()]);
    for (flag, path) in [
        ("--config", &args.place.file.config),
        ("--root", &args.place.root),
    ] {
        if let Some(path) = path {
            guard.arg(flag).arg(path);
        }
    }
    guard
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/");
    let started = guard.spawn();
    started
        .map(drop)
        .map_err(|error| format!("what would undo it does not start: {error}"))
}

/// Deletes private keys that were put aside, if each still is what was looked at.
fn delete(here: &Here, sight: &Sight, names: &[(String, Fingerprint)]) -> Result<usize, String> {
    let folder = Path::new(&here.seen.ssh.directory);
    let told = |error: io::Error| format!("{}: {error}", folder.display());
    let real = here.tree.real(folder).map_err(told)?;
    let directory = Directory::open(&real).map_err(told)?;
    let mut deleted = 0;
    for (name, key) in names {
        let mut files = sight.files.iter();
        let is_it = files.any(|f| f.name == *name && f.key == *key && f.private && f.is_backup());
        if is_it && directory.remove(name.as_ref()).map_err(told)? {
            deleted += 1;
        }
    }
    Ok(deleted)
}
