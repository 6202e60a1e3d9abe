//! What this node's files say, as `verify` reads them. Nothing is changed or decided.

use std::path::{Path, PathBuf};

use super::args::PlaceArgs;
use crate::config::Config;
use crate::node::tree::Tree;
use crate::trust::now;
use crate::verify::{Places, observe};
use rules::verify::observed::Observed;

/// This node.
pub(super) struct Here {
    pub(super) tree: Tree,
    /// What `/` is.
    pub(super) root: PathBuf,
    pub(super) seen: Observed,
}

impl Here {
    pub(super) fn look(place: &PlaceArgs, config: &Config) -> Result<Self, String> {
        let root = place.root.clone().unwrap_or_else(|| "/".into());
        let (tree, host) = match &place.root {
            Some(root) => (Tree::recorded(root), None),
            None => (Tree::live(), Some(host())),
        };
        let tree = tree.map_err(|error| format!("{}: {error}", root.display()))?;
        let places = Places {
            data: config.ssconf_dir.clone(),
            server_pem: config.server_pem.clone(),
            map: config.map_path(),
        };
        let seen = observe(&tree, &places, host.as_deref(), now());
        Ok(Self { tree, root, seen })
    }

    /// A path of the node, as this machine has it.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn host() -> String {
    let host = rustix::system::uname();
    host.nodename().to_string_lossy().into_owned()
}
