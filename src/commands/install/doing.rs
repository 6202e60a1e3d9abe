//! Does the steps of a plan, one line for each, and takes all of them back when one fails. It decides
//! nothing about the node.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::hooks;
use super::nodeds;
use super::place;
use super::plan::Source;
use super::proof;
use super::record::Keep;
use super::settings;
use super::step::{Manager, Step, Unit, way_back};
use crate::commands::divert::act;
use crate::commands::divert::scene::Act;
use crate::commands::program;
use crate::config::Config;

/// Time for a command of a step. systemd has bounds of its own, which are shorter unless an
/// administrator wants RPCs to be waited for.
const CHANGE: Duration = Duration::from_secs(15 * 60);

/// Prints a line. That nobody reads it must not end the work in the middle.
pub(super) fn say(word: &str, text: &str) {
    let _ = writeln!(io::stdout().lock(), "{word:<5} {text}");
}

/// Signals that ask to end: they are heard between two steps.
pub(super) struct Signals {
    runtime: Runtime,
    caught: Vec<Signal>,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let caught = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
        drop(inside);
        Ok(Self { runtime, caught })
    }

    /// Whether one came within this time.
    pub(super) fn came_within(&mut self, time: Duration) -> bool {
        let [int, term, hup] = &mut self.caught[..] else {
            return false;
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = int.recv() => true,
                _ = term.recv() => true,
                _ = hup.recv() => true,
                () = sleep(time) => false,
            }
        })
    }
}

/// What the steps around noded need.
pub(super) struct Around {
    pub(super) config: Config,
    pub(super) defaults: PathBuf,
    pub(super) public: u16,
    /// Where noded's arguments come from.
    pub(super) noded: (Source, PathBuf),
}

/// What the steps need.
pub(super) struct Doer {
    /// Nothing where noded stays as it is.
    pub(super) around: Option<Around>,
    pub(super) keep: Keep,
    pub(super) signals: Signals,
}

impl Doer {
    /// Does all steps, or none: why not.
    pub(super) fn all(&mut self, steps: &[Step]) -> Result<(), String> {
        if steps.iter().any(|step| matches!(step, Step::Noded(..))) {
            self.keep.begin()?;
        }
        for (index, step) in steps.iter().enumerate() {
            let done = match self.signals.came_within(Duration::ZERO) {
                true => Err("a signal asked to end".into()),
                false => self.step(step),
            };
            match done {
                Ok(more) => {
                    say("ok", &step.to_string());
                    more.iter().for_each(|line| say("", line));
                }
                Err(why) => {
                    say("FAIL", &format!("{step}: {why}"));
                    let left = self.back(&steps[..=index]);
                    return Err(match left {
                        0 => {
                            self.keep.end()?;
                            format!("{why}. All is back as it was")
                        }
                        _ => format!(
                            "{why}. {left} of the lines above could not be taken back (LEFT): do \
                             that by hand"
                        ),
                    });
                }
            }
        }
        self.keep.end()
    }

    /// Takes back; how many lines could not be.
    fn back(&mut self, begun: &[Step]) -> usize {
        let mut left = 0;
        let mut is_open = false;
        for step in way_back(begun) {
            let done = match is_open {
                true => Err("the guard does not run".into()),
                false => self.step(&step),
            };
            match done {
                Ok(_) => say("back", &step.to_string()),
                Err(why) => {
                    // noded must not come back behind a guard that is not there.
                    is_open |= step == Step::Start(vec![Unit::Guard]);
                    left += 1;
                    say("LEFT", &format!("{step}: {why}"));
                }
            }
        }
        left
    }

    /// One step; what is to be said of it besides.
    fn step(&mut self, step: &Step) -> Result<Vec<String>, String> {
        if let (true, Some(around)) = (step.unguards(), &self.around) {
            let (source, path) = &around.noded;
            nodeds::guard_may_go(source, place::read(path)?.as_deref())?;
        }
        if let Step::Noded(Manager::Systemd, ..) = step {
            // systemd counts these starts; what was tried some times in a row must come back, too.
            let words = ["systemctl", "reset-failed", "ganeti-noded.service"];
            let _ = run(&words.map(String::from)); // it may know no such failure
        }
        for command in step.commands() {
            run(&command)?;
        }
        match step {
            Step::Keep(record, _) => self.keep.save(record)?,
            Step::Forget(_) => self.keep.forget()?,
            Step::Write(write) => {
                place::write(&write.path, write.from.as_deref(), write.to.as_deref())?;
            }
            Step::Link(link) => hooks::link(link)?,
            Step::Unlink(link) => hooks::unlink(link)?,
            Step::Make(path) => settings::make(path)?,
            Step::Unmake(path) => settings::unmake(path)?,
            Step::Noded(_, port, _) => proof::await_noded(*port)?,
            Step::Stop(units) => {
                let names = units.iter().map(|unit| unit.name().to_owned());
                let words = ["systemctl".into(), "reset-failed".into()].into_iter();
                let _ = run(&words.chain(names).collect::<Vec<_>>()); // it may not have failed
            }
            Step::Prove(what) => {
                let around = self.around.as_ref().ok_or("nobody has looked at noded")?;
                return proof::prove(*what, &around.config, &around.defaults, around.public);
            }
            Step::Moves(Act::Remember(place)) => self.keep.remember_moves(place.path())?,
            Step::Moves(Act::Forget(_)) => self.keep.forget_moves()?,
            Step::Moves(act) => act::perform(act)?,
            Step::Reread | Step::Reload | Step::Enable(_) | Step::Disable(_) | Step::Start(_) => {}
        }
        Ok(Vec::new())
    }
}

/// Runs a command that changes something, to its end.
fn run(words: &[String]) -> Result<(), String> {
    let [program, arguments @ ..] = words else {
        return Ok(());
    };
    let program::Output { status, out, err } =
        program::run(Command::new(program).args(arguments), b"", CHANGE)?;
    if status.success() {
        return Ok(());
    }
    let text = [out, err].concat();
    let text = String::from_utf8_lossy(&text);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().take(400).collect();
    let text = text.trim_end_matches('.'); // a sentence goes on behind it
    Err(format!("{}: {status}: {text}", words.join(" ")))
}
