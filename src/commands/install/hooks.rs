//! The hooks of this package, which Ganeti runs: links to the package's files, so that an upgrade
//! renews them. A file that is something else is never replaced or removed. What is there comes in
//! as a value; only [`link`] and [`unlink`] change anything.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::flags::NodeArgs;
use super::hooks_dir;
use super::plan::Plan;
use super::step::{Link, Proof, Step};

/// Where packages put them.
const FROM: [&str; 2] = [
    "/usr/share/noded-proxy/hooks",
    "/usr/local/share/noded-proxy/hooks",
];
/// Where Ganeti looks, and what it is to find.
const HOOKS: [(&str, &str); 4] = [
    (
        "cluster-verify-post.d/noded-proxy",
        "cluster-verify-post.d/noded-proxy",
    ),
    ("config-update-post.d/noded-proxy", "certs-distribute"),
    ("node-add-post.d/noded-proxy", "certs-distribute"),
    ("node-modify-post.d/noded-proxy", "certs-distribute"),
];

/// Those of `ssh-keys`, which it puts there itself.
pub(in crate::commands) const OF_SSH_KEYS: [(&str, &str); 3] = [
    ("config-update-post.d/noded-proxy-ssh-keys", "ssh-keys"),
    ("node-add-post.d/noded-proxy-ssh-keys", "ssh-keys"),
    ("node-modify-post.d/noded-proxy-ssh-keys", "ssh-keys"),
];

/// What is where a hook of this package is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    /// The link.
    Ours,
    Other,
}

/// A hook, and what is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    link: Link,
    there: There,
    /// Whether the package has it.
    exists: bool,
}

/// What there is now of the hooks that `install` puts there.
pub(super) fn found(args: &NodeArgs) -> Vec<Hook> {
    all(args, &HOOKS)
}

/// The same of all that this package may have put there.
pub(super) fn ever_put(args: &NodeArgs) -> Vec<Hook> {
    all(args, &[&HOOKS[..], &OF_SSH_KEYS].concat())
}

fn all(args: &NodeArgs, which: &[(&str, &str)]) -> Vec<Hook> {
    let dir = hooks_dir::of_ganeti(args.hooks_dir.as_deref(), args.daemon_util.as_deref());
    let links = here(&dir, args.hooks_from.as_deref(), which);
    let hook = |link: Link| Hook {
        there: there_is(&link.path, &link.target),
        exists: link.target.exists(),
        link,
    };
    links.into_iter().map(hook).collect()
}

/// The links that these hooks are.
pub(in crate::commands) fn here(
    dir: &Path,
    from: Option<&Path>,
    which: &[(&str, &str)],
) -> Vec<Link> {
    let known = FROM.map(Path::new);
    let there = known.into_iter().find(|path| path.exists());
    let from = from.or(there).unwrap_or(known[0]);
    let link = |(place, file): &(&str, &str)| Link {
        path: dir.join(place),
        target: from.join(file),
    };
    which.iter().map(link).collect()
}

fn there_is(path: &Path, target: &Path) -> There {
    match fs::read_link(path) {
        Ok(to) if to == target => There::Ours,
        Err(error) if error.kind() == ErrorKind::NotFound => There::Nothing,
        _ => There::Other,
    }
}

/// Adds the links that are not there to what `install` does. They come last: Ganeti may run a hook
/// at any moment.
pub(super) fn add(plan: &mut Plan, hooks: &[Hook]) -> Result<(), String> {
    if let Some(Hook { link, .. }) = hooks.iter().find(|hook| !hook.exists) {
        let target = link.target.display();
        return Err(format!(
            "{target} is missing: install the package, or say with --hooks-from where its hooks are"
        ));
    }
    if let Some(Hook { link, .. }) = hooks.iter().find(|hook| hook.there == There::Other) {
        let path = link.path.display();
        return Err(format!(
            "{path} is there and is not of `install`: remove it, then try again"
        ));
    }
    let new = hooks.iter().filter(|hook| hook.there == There::Nothing);
    let mut steps: Vec<Step> = new.map(|hook| Step::Link(hook.link.clone())).collect();
    if steps.is_empty() {
        return Ok(());
    }
    plan.steps.retain(|step| !matches!(step, Step::Prove(_)));
    plan.steps.append(&mut steps);
    plan.steps.push(Step::Prove(Proof::Behind));
    Ok(())
}

/// Adds their removal to what `uninstall` does, before all else: a hook tells of a proxy that is
/// down.
pub(super) fn take_away(plan: &mut Plan, hooks: &[Hook]) {
    let ours = hooks.iter().filter(|hook| hook.there == There::Ours);
    let steps = ours.map(|hook| Step::Unlink(hook.link.clone()));
    plan.steps.splice(0..0, steps);
}

/// Makes a link, and the folder for it.
pub(in crate::commands) fn link(link: &Link) -> Result<(), String> {
    let made = match there_is(&link.path, &link.target) {
        There::Ours => return Ok(()),
        There::Other => return Err("somebody has put something there in the meantime".into()),
        There::Nothing => link.path.parent().map_or(Ok(()), fs::create_dir_all),
    };
    made.and_then(|()| symlink(&link.target, &link.path))
        .map_err(|error| error.to_string())
}

/// Removes a link, and the folders above it that are empty then.
pub(in crate::commands) fn unlink(link: &Link) -> Result<(), String> {
    match there_is(&link.path, &link.target) {
        There::Ours => fs::remove_file(&link.path).map_err(|error| error.to_string())?,
        There::Nothing => {}
        There::Other => return Err("somebody has changed it in the meantime".into()),
    }
    for folder in link.path.ancestors().skip(1).take(2) {
        let _ = fs::remove_dir(folder); // it may have other hooks
    }
    Ok(())
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
