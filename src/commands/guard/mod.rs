//! `noded-proxy guard`: closes noded's port to local users for as long as it runs, and says so,
//! again and again, to whoever wants to know. `noded-proxy-guard.service` runs it.
//!
//! It says that the guard holds only after it has tried the port as nobody. It never reads the
//! proxy's configuration: a mistake there must not open noded.

mod nft;
mod rules;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::as_nobody::{self, Attempt};
use crate::commands::cli::GuardArgs;
use crate::commands::exit;
use crate::daemon::systemd;
use crate::node::files::{self, FileContent};
use crate::proxy::upstream::now;
use ::rules::guard::Said;
use nft::Loaded;
use rules::Form;

/// Most rules that are read, in bytes.
const MOST: usize = 64 << 10;
/// Time from one look at nft to the next: so long the port may be open before systemd loads the
/// rules anew.
const LOOK: Duration = Duration::from_millis(100);
/// Looks from one word that the guard holds to the next.
const SAY: u32 = 10;
/// Where it is tried whether the rules keep nobody out. noded never listens there.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 11, 8, 11);

/// Exit status 0 after SIGTERM, 1 when the guard cannot hold.
pub fn main(args: &GuardArgs) -> ExitCode {
    let guard = Guard {
        rules: args.rules.clone(),
        state: args.state.clone(),
    };
    let done = guard.run();
    let _ = fs::remove_file(&guard.state);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => exit::failure(format!(
            "guard: {why}: noded's port is NOT closed to local users"
        )),
    }
}

struct Guard {
    rules: PathBuf,
    state: PathBuf,
}

impl Guard {
    fn run(&self) -> Result<(), String> {
        let text = self.read()?;
        let port = rules::port(&text).ok_or_else(|| {
            let name = self.rules.display();
            format!("{name}: no line `define noded_port = NUMBER` in it")
        })?;
        let (mut loaded, form) = self.load(&text)?;
        try_as_nobody(port)?;
        let mut said = Said {
            port,
            loaded: now(),
            renewed: now(),
            owned: form == Form::Owned,
        };
        self.say(&said)?;
        errln!("noded-proxy: guard: port {port} is closed to all users but root and the proxy's");
        systemd::ready(&format!("port {port} is closed to local users"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(self.hold(&mut loaded, &mut said))
    }

    fn read(&self) -> Result<String, String> {
        let name = self.rules.display();
        match files::read(&self.rules, MOST) {
            FileContent::Content(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            FileContent::Absent => Err(format!("{name}: absent")),
            FileContent::TooLarge => Err(format!("{name}: more than {MOST} bytes")),
            FileContent::Unreadable(why) => Err(format!("{name}: {why}")),
        }
    }

    /// Loads the rules with an owner where that is possible.
    fn load(&self, text: &str) -> Result<(Loaded, Form), String> {
        let file = self.state.with_extension("nft");
        write(&file, &rules::text(text, Form::Owned), 0o600)?;
        if let Err(owned) = nft::check(&file) {
            write(&file, &rules::text(text, Form::Plain), 0o600)?;
            nft::check(&file)?;
            errln!(
                "noded-proxy: guard: WARNING: nft or kernel does not know `flags owner`: after a \
                 `flush ruleset` of somebody's the port is open for up to a second ({owned})"
            );
            return Ok((nft::load(&file, Form::Plain)?, Form::Plain));
        }
        Ok((nft::load(&file, Form::Owned)?, Form::Owned))
    }

    /// Until SIGTERM, or until the rules are gone.
    async fn hold(&self, loaded: &mut Loaded, said: &mut Said) -> Result<(), String> {
        let caught = |kind| signal(kind).map_err(|error| error.to_string());
        let mut term = caught(SignalKind::terminate())?;
        let mut int = caught(SignalKind::interrupt())?;
        for look in 1u32.. {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                () = sleep(LOOK) => {}
            }
            let say = look.is_multiple_of(SAY);
            loaded.hold(say)?;
            if say {
                said.renewed = now();
                self.say(said)?;
            }
        }
        Ok(())
    }

    fn say(&self, said: &Said) -> Result<(), String> {
        let new = self.state.with_extension("new");
        write(&new, &said.to_string(), 0o644)?;
        fs::rename(&new, &self.state).map_err(|error| format!("{}: {error}", self.state.display()))
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let opened = options.open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// Rules that can be loaded may still be wrong. They are tried on a socket of our own, so noded
/// need not run, and its log has nothing of it.
fn try_as_nobody(port: u16) -> Result<(), String> {
    let elsewhere = SocketAddr::from((ELSEWHERE, port));
    let (address, _ours) = match TcpListener::bind(elsewhere) {
        Ok(ours) => (elsewhere, Some(ours)),
        // A noded on all addresses has this one, too, and can be tried itself.
        Err(_) => (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None),
    };
    match as_nobody::connect(address) {
        Attempt::Refused => Ok(()),
        Attempt::Accepted => Err(format!(
            "the rules are loaded and let the user nobody connect to port {port} all the same"
        )),
        Attempt::NotRoot => Err("it must be run by root".into()),
        Attempt::Failed(why) => Err(format!("port {port} cannot be tried as nobody: {why}")),
    }
}
