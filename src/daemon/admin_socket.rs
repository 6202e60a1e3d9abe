//! The admin listener's socket in the file system, for root and the group of the proxy's user.
//!
//! It never ends the proxy, nor does a proxy that ends take it away: the one that comes after it may
//! have put its own in its place already.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tracing::{info, warn};

use crate::config::{AdminSocket, Config};

/// The user and his group may connect.
const MODE: u32 = 0o660;
/// Its name in the runtime directory of the unit.
const NAME: &str = "admin.sock";

/// Where it is: as configured, or in the directory that systemd made for the unit
/// (`RuntimeDirectory=`).
pub(super) fn path(config: &Config) -> Option<PathBuf> {
    let unit = || std::env::var_os("RUNTIME_DIRECTORY").map(|dir| Path::new(&dir).join(NAME));
    match &config.admin_socket {
        Some(AdminSocket::At(path)) => Some(path.clone()),
        Some(AdminSocket::Off) => None,
        None => unit().filter(|path| path.is_absolute()),
    }
}

/// Opens it and tells so in the log. Call it inside a runtime.
pub(super) fn open(path: &Path) -> Option<UnixListener> {
    match at(path) {
        Ok(listener) => {
            info!(path = %path.display(), "admin socket open");
            Some(listener)
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot open the admin socket");
            None
        }
    }
}

/// Made under another name and renamed, so that nobody connects before it has its mode, and one
/// that is left over is replaced.
fn at(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(MODE))?;
    fs::rename(&new, path)?;
    Ok(listener)
}
