//! Who does this node's disk transfers, if `install --moves` has been here. It only looks; where there
//! is no trace of it, it says nothing.

use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::commands::divert::look::{is_a_program, scene, there};
use crate::commands::divert::place::{Place, STANDARD};
use crate::commands::divert::scene::{Scene, There};
use crate::commands::install::record::{UNDO_DIR, moves_of};

/// Whether the place is whole.
pub(super) fn check() -> Option<Finding> {
    // Only root may read it; then the usual places are looked at.
    let recorded = moves_of(Path::new(UNDO_DIR)).unwrap_or_default();
    let mut usual = STANDARD.map(PathBuf::from).into_iter();
    let usual = usual.find(|path| path.symlink_metadata().is_ok());
    let place = Place::new(&recorded.clone().or(usual)?).ok()?;
    let is_ours = || matches!(there(place.path()), Ok(There::Ours(_)));
    let is_kept = || place.kept().symlink_metadata().is_ok();
    if recorded.is_none() && !is_kept() && !is_ours() {
        return None;
    }
    Some(match scene(Some(place.path()), recorded.as_deref()) {
        Ok(scene) => judge(&scene),
        Err(why) => Finding::warning("moves", why),
    })
}

fn judge(scene: &Scene) -> Finding {
    match scene.fault(&is_a_program) {
        Some(fault) => Finding::warning("moves", fault),
        None => Finding::ok(
            "moves",
            format!(
                "{}: `noded-proxy import-export` does transfers; Ganeti's own is kept as {}",
                scene.place,
                scene.place.kept().display()
            ),
        ),
    }
}
