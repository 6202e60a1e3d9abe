//! `noded-proxy guard`: closes noded's port to local users for as long as it runs, and says so,
//! again and again, to whoever wants to know. `noded-proxy-guard.service` runs it.
//!
//! It says that the guard holds only after it has tried the port as nobody, and tries each address
//! where somebody begins to listen. It never reads the
//! proxy's configuration: a mistake there must not open noded.

mod begun;
mod nft;
mod rules;
mod trial;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::commands::cli::GuardArgs;
use crate::commands::exit;
use crate::daemon::systemd;
use crate::node::files::{self, FileContent};
use crate::proxy::upstream::{now, why_file};
use ::rules::guard::Said;
use begun::Begun;
use nft::Loaded;
use rules::Form;
use trial::Trial;

/// The port that these rules guard.
pub(super) fn guarded_port(rules: &str) -> Option<u16> {
    rules::port(rules)
}

/// Most rules that are read, in bytes.
const MOST: usize = 64 << 10;
/// Time from one look at nft to the next: so long the port may be open before systemd loads the
/// rules anew.
const LOOK: Duration = Duration::from_millis(100);
/// Looks from one word that the guard holds to the next.
const SAY: u32 = 10;

/// Exit status 0 after SIGTERM, 1 when the guard cannot hold.
pub fn main(args: &GuardArgs) -> ExitCode {
    let guard = Guard {
        rules: args.rules.clone(),
        state: args.state.clone(),
    };
    let begun = Begun::note(&guard.state);
    let done = guard.run();
    let _ = fs::remove_file(&guard.state);
    match done {
        Ok(()) => {
            begun.forget();
            guard.forget_why();
            ExitCode::SUCCESS
        }
        Err(why) => {
            guard.say_why(&why);
            exit::failure(format!(
                "guard: {why}: noded's port is NOT closed to local users"
            ))
        }
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
        let mut trial = Trial::begin(port)?;
        let mut said = Said {
            port,
            loaded: now(),
            renewed: now(),
            owned: form == Form::Owned,
        };
        self.say(&said)?;
        self.forget_why();
        errln!("noded-proxy: guard: port {port} is closed to all users but root and the proxy's");
        systemd::ready(&format!("port {port} is closed to local users"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(self.hold(&mut loaded, &mut trial, &mut said))
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

    /// Until SIGTERM, or until the rules are gone or let somebody through.
    async fn hold(
        &self,
        loaded: &mut Loaded,
        trial: &mut Trial,
        said: &mut Said,
    ) -> Result<(), String> {
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
                trial.again()?;
                said.renewed = now();
                self.say(said)?;
            }
        }
        Ok(())
    }

    /// Leaves the reason for whoever asks why there is no guard.
    fn say_why(&self, why: &str) {
        let why: String = why.chars().take(1000).collect();
        let _ = write(&why_file(&self.state), &why, 0o644);
    }

    fn forget_why(&self) {
        let _ = fs::remove_file(why_file(&self.state));
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
