//! What a node does for the master, each deed a call of its own: it looks, changes its keys, is told
//! that this is proven, deletes; and undoes what nobody has proven in time. What it is told it compares
//! with its own files first.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::args::{Deed, NodeArgs};
use super::here::Here;
use super::{attempt, make, possession};
use crate::config::Config;
use crate::daemon::report::words::count;
use crate::node::directory::Directory;
use crate::ssh_keys::change::{Change, Node};
use crate::ssh_keys::kept::Kept;
use crate::ssh_keys::staged;
use crate::trust::now;
use rules::ssh_keys::pairs::{self, Asked};
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
    if args.deed == Deed::Look {
        let mut sight = look(&here)?;
        possession::sign(&here, &mut sight, &challenge()?);
        let text = serde_json::to_string(&sight).map_err(|error| error.to_string())?;
        outln!("{text}");
        return Ok(true);
    }
    if args.deed == Deed::Try {
        return attempt::run(&here, config, &order()?).map(|()| true);
    }
    let sight = Sight::of(&here.seen);
    let kept = Kept::open(&here.root)?;
    let files = here.seen.ssh.authorized.iter();
    let node = Node {
        tree: &here.tree,
        files: files.map(|file| PathBuf::from(&file.path)).collect(),
        directory: PathBuf::from(&here.seen.ssh.directory),
        sight: &sight,
        kept: &kept,
        now: now(),
    };
    if args.deed == Deed::Undo {
        outwait(args, &node);
        return undo(args, &node).map(|()| true);
    }
    let _lock = kept.lock(LOCK, true)?;
    match args.deed {
        Deed::Look | Deed::Try | Deed::Undo => {}
        Deed::Keep => node.keep(args.id)?,
        Deed::Settle => outln!("a change that was begun is {}", settled(node.settle()?)),
        Deed::Make => make::run(&here, &kept, &order::<String>()?)?,
        Deed::Change => {
            let change: Change = order()?;
            vetoed(&here, &sight, &config.verify.allow_ssh_keys, &change)?;
            let gone = node.change(&change, || arm(args, change.id))?;
            outln!("{}", done(&change, gone));
        }
        Deed::Delete => {
            let names: Vec<_> = order()?;
            let deleted = delete(&here, &sight, &names)?;
            outln!("{} deleted", count(deleted, "backup"));
        }
    }
    Ok(true)
}

/// What is here, and what waits here.
fn look(here: &Here) -> Result<Sight, String> {
    let mut sight = Sight::of(&here.seen);
    if let Some(kept) = Kept::open_if_there(&here.root)? {
        sight.list = staged::list(&kept)?;
        sight.staged = staged::read(&kept)?.map(|(_, pair)| pair);
        sight.unsettled = Node::is_unsettled(&kept)?;
    }
    Ok(sight)
}

fn settled(is_undone: bool) -> &'static str {
    match is_undone {
        true => "undone, as it was not proven",
        false => "proven by this login",
    }
}

/// What was done, in words.
fn done(change: &Change, gone: usize) -> String {
    let Some(pairs) = &change.pairs else {
        return format!("{} removed", count(gone, "line"));
    };
    let mut all = Vec::new();
    let mut say = |is: bool, what: String| all.extend(is.then_some(what));
    say(
        !change.add.is_empty(),
        format!("{} added", count(change.add.len(), "line")),
    );
    say(gone > 0, format!("{} removed", count(gone, "line")));
    say(pairs.give.is_some(), "the shared pair brought".into());
    say(pairs.switch, "changed to its own pair".into());
    say(!pairs.take.is_empty(), "private key deleted".into());
    say(pairs.unstage, "unused pair deleted".into());
    match all.is_empty() {
        true => "list of pairs noted".into(),
        false => all.join(", "),
    }
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
        if let Ok(false) = node.may_wait(args.id) {
            return Ok(()); // proven, undone, or all of it is gone
        }
        let lock = node.kept.lock(LOCK, true);
        let done = lock.and_then(|_held| node.undo(Some(args.id)));
        match done {
            Err(_) if began.elapsed() < LONGEST => thread::sleep(AGAIN),
            done => return done.map(drop),
        }
    }
}

/// What the keys sign, as it is.
fn challenge() -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = io::stdin().lock().take(MOST).read_to_end(&mut text);
    read.map_err(|error| format!("standard input: {error}"))?;
    Ok(text)
}

fn order<T: DeserializeOwned>() -> Result<T, String> {
    let text = challenge()?;
    serde_json::from_slice(&text).map_err(|error| format!("standard input: {error}"))
}

/// This node's own files against the master's word.
fn vetoed(
    here: &Here,
    sight: &Sight,
    listed: &BTreeSet<String>,
    change: &Change,
) -> Result<(), String> {
    if let Some(fault) = sight.fault() {
        return Err(fault.to_owned());
    }
    if let Some(pairs) = &change.pairs {
        let asked = Asked {
            gets: pairs.give.is_some() || pairs.switch,
            take: pairs.take.clone(),
            remove: change.keys.clone(),
        };
        let why = pairs::veto(&here.seen, sight, listed, &asked);
        return why.map_or(Ok(()), |why| Err(format!("refused: {why}")));
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
    let mut all = change.keys.iter();
    let found = all.find_map(|key| Some((key, veto(sight, &current, listed, key)?)));
    found.map_or(Ok(()), |(key, why)| Err(format!("{key} stays: {why}")))
}

/// Starts what undoes the change unless it is kept.
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
