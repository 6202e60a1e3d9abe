//! `noded-proxy verify`: what is wrong with this node's certificates, SSH keys and files.
//!
//! [`crate::verify`] looks, [`rules::verify`] judges, and this shows. Nothing here changes a file but
//! the one of `--metrics`.

pub mod args;
mod cluster;
mod line;
mod looked;
mod metrics;
mod proxy;
mod text;

use std::path::Path;
use std::process::ExitCode;

use super::{exit, output};
use crate::config::{Config, FileArgs, Problem};
use crate::node::tree::Tree;
use crate::trust::now;
use crate::verify::{Places, answer, observe};
use args::VerifyArgs;
use looked::{COULD_NOT_LOOK, Looked};
use rules::verify::judge;
use rules::verify::observed::Observed;

/// `noded-proxy verify`, to the exit status.
pub fn main(args: &VerifyArgs) -> ExitCode {
    let config = match Config::load(&file(args), &args.proxy.overrides()) {
        Ok(config) => config,
        Err(problems) => return wrong_configuration(args, &problems),
    };
    let seen = match look(args, &config) {
        Ok(seen) => seen,
        Err(why) => return could_not_look(args, &why),
    };
    if args.observed {
        return observed(&seen);
    }
    if args.cluster {
        return match cluster::run(args, &config, places(&config), seen) {
            Ok(status) => ExitCode::from(status),
            Err(why) => could_not_look(args, &why),
        };
    }
    let looked = Looked::of(&seen, judge(&seen, &config.verify));
    let path = args.metrics.as_deref();
    match path.map(|path| metrics::write(path, &looked)) {
        Some(Err(why)) => {
            if !args.nagios {
                show(args, &looked);
            }
            could_not_look(args, &why)
        }
        Some(Ok(())) | None => ExitCode::from(show(args, &looked)),
    }
}

/// What was read, for the master; no text of it is made safe for a terminal.
fn observed(seen: &Observed) -> ExitCode {
    match answer::write(seen) {
        Ok(line) => {
            output::bytes(line.as_bytes());
            ExitCode::SUCCESS
        }
        Err(why) => exit::failure(why),
    }
}

/// A recorded tree has nothing to do with this machine's configuration, and nobody vouches for what
/// stands in the tree itself.
fn file(args: &VerifyArgs) -> FileArgs {
    let mut file = args.proxy.file.clone();
    if args.root.is_some() && file.config.is_none() {
        file.config = Some("/dev/null".into()); // the defaults
    }
    file
}

fn places(config: &Config) -> Places {
    Places {
        data: config.ssconf_dir.clone(),
        server_pem: config.server_pem.clone(),
        map: config.map_path(),
    }
}

fn look(args: &VerifyArgs, config: &Config) -> Result<Observed, String> {
    let places = places(config);
    match &args.root {
        Some(root) => {
            let tree = Tree::recorded(root);
            let tree = tree.map_err(|error| format!("--root {}: {error}", root.display()))?;
            let seen = observe(&tree, &places, None, now());
            is_node(&tree, &places, &seen).map_err(|why| {
                let root = root.display();
                format!("--root {root}: this is no tree of a node: {why}")
            })?;
            Ok(seen)
        }
        None => {
            let tree = Tree::live().map_err(|error| format!("/: {error}"))?;
            let host = rustix::system::uname();
            let host = host.nodename().to_string_lossy();
            let mut seen = observe(&tree, &places, Some(&host), now());
            seen.proxy = Some(proxy::ask(config));
            Ok(seen)
        }
    }
}

/// Whether a recorded tree has what each node has. Findings about anything else would be wrong.
fn is_node(tree: &Tree, places: &Places, seen: &Observed) -> Result<(), String> {
    let data = &places.data;
    if !tree.about(data).is_some_and(|found| found.is_directory) {
        return Err(format!("it has no directory {}", data.display()));
    }
    match seen.host.is_empty() {
        true => Err("its /etc/hostname does not name it".into()),
        false => Ok(()),
    }
}

/// Prints what was asked for, and returns the exit status that goes with it.
fn show(args: &VerifyArgs, looked: &Looked) -> u8 {
    if args.hook {
        let (line, status) = line::hook(looked);
        outln!("{line}");
        return status;
    }
    if args.nagios {
        let (line, status) = line::nagios(looked);
        outln!("{line}");
        return status;
    }
    if args.json {
        outln!("{:#}", text::json(looked, args.root.as_deref()));
    } else {
        out!("{}", text::render(looked));
    }
    looked.status()
}

fn wrong_configuration(args: &VerifyArgs, problems: &[Problem]) -> ExitCode {
    if args.hook || args.nagios {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return could_not_look(args, &all.join("; "));
    }
    exit::wrong_configuration(problems)
}

/// For those who read one line, it is on standard output.
fn could_not_look(args: &VerifyArgs, why: &str) -> ExitCode {
    if args.hook {
        outln!("{}", line::unable(&host(args.root.as_deref()), why));
        return ExitCode::from(COULD_NOT_LOOK);
    }
    if args.nagios {
        let (line, status) = line::unknown(&host(args.root.as_deref()), why);
        outln!("{line}");
        return ExitCode::from(status);
    }
    errln!("noded-proxy: {why}");
    ExitCode::from(COULD_NOT_LOOK)
}

fn host(root: Option<&Path>) -> String {
    match root {
        Some(root) => root.display().to_string(),
        None => {
            let host = rustix::system::uname();
            host.nodename().to_string_lossy().into_owned()
        }
    }
}
