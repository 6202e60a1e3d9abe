//! Links to the hook of this package, where Ganeti runs it, or their removal. A file that is something
//! else is never touched.

use super::args::HooksArgs;
use crate::commands::install::hooks::{OF_SSH_KEYS, here, link, unlink};
use crate::commands::install::hooks_dir;

/// Puts them there, or takes them away; whether all is so.
pub(super) fn main(args: &HooksArgs) -> Result<bool, String> {
    let dir = hooks_dir::of_ganeti(args.hooks_dir.as_deref(), None);
    for hook in here(&dir, args.hooks_from.as_deref(), &OF_SSH_KEYS) {
        let (path, target) = (hook.path.display(), hook.target.display());
        let told = |why: String| format!("{path}: {why}");
        if args.remove {
            unlink(&hook).map_err(told)?;
            outln!("ok    {path}: removed");
        } else if hook.target.exists() {
            link(&hook).map_err(told)?;
            outln!("ok    {path}: a link to {target}");
        } else {
            return Err(format!(
                "{target} is missing: install the package, or use --hooks-from"
            ));
        }
    }
    Ok(true)
}
