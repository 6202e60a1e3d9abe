//! Who does this node's disk transfers, if `install --moves` has been here. It only looks; where there
//! is no trace of it, it says nothing.

use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::commands::divert::look::{is_a_program, scene, there};
use crate::commands::divert::place::{Place, STANDARD};
use crate::commands::divert::scene::{Scene, There};
use crate::commands::install::record::{UNDO_DIR, moves_of};
use crate::daemon::sandbox::{Error, Report, offered};

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
        None => in_force(scene, offered()),
    }
}

/// All is in its place. What the kernel has no sandbox for is told.
fn in_force(scene: &Scene, sandbox: Result<Report, Error>) -> Finding {
    let text = format!(
        "{}: `noded-proxy import-export` does transfers; Ganeti's own is kept as {}",
        scene.place,
        scene.place.kept().display()
    );
    match sandbox {
        Ok(report) if report.is_complete() => Finding::ok("moves", text),
        Ok(report) if report.filesystem => {
            Finding::ok("moves", format!("{text}; sandbox of the channel: {report}"))
        }
        Ok(report) => Finding::warning(
            "moves",
            format!("{text}; the channel could read this node's files. Its sandbox: {report}"),
        ),
        Err(error) => Finding::warning("moves", format!("{text}; no transfer begins: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::Verdict;
    use crate::commands::divert::scene::{Diversion, Kept};

    #[test]
    fn what_the_kernel_lacks_is_told() {
        let scene = Scene {
            place: Place::new(Path::new("/p")).unwrap(),
            there: There::Nothing,
            kept: Kept::Nothing,
            owned: false,
            diversion: Diversion::None,
            recorded: true,
        };
        let has = |filesystem, network| Report {
            no_new_privs: true,
            filesystem,
            network,
            signals: network,
        };
        for (report, verdict, end) in [
            (has(true, true), Verdict::Ok, "kept as /p.ganeti"),
            (
                has(true, false),
                Verdict::Ok,
                "no_new_privs, filesystem (the kernel lacks network, signals)",
            ),
            (
                has(false, false),
                Verdict::Warning,
                "no_new_privs (the kernel lacks filesystem, network, signals)",
            ),
        ] {
            let finding = in_force(&scene, Ok(report));
            assert_eq!(finding.verdict, verdict);
            assert!(finding.message.ends_with(end), "{}", finding.message);
        }
    }
}
