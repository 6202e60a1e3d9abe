//! `noded-proxy man` and `completions`: what the command line and the sample configuration say, in
//! other forms.
//!
//! Nothing is written here that `--help` or the sample does not say, except the headings and
//! references of a page.

mod sample;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use rustix::fs::Mode;

use crate::commands::cli::{Cli, ManArgs};
use crate::commands::{exit, output};
use crate::node::directory::Directory;

/// The commented configuration, source of the page in section 5.
pub(super) const SAMPLE: &str = include_str!("../../../config/noded-proxy.toml");

/// One man page.
struct Page {
    /// Its file name, such as `noded-proxy-run.8`.
    name: String,
    roff: Vec<u8>,
}

/// `noded-proxy man`: the pages of the commands on standard output, or with `--dir` all pages as
/// files.
pub fn man(args: &ManArgs) -> ExitCode {
    let done = commands().and_then(|pages| match &args.dir {
        Some(dir) => write(dir, pages),
        None => {
            pages.iter().for_each(|page| output::bytes(&page.roff));
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => exit::failure(why),
    }
}

/// Completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "noded-proxy", &mut script);
    output::bytes(&script);
    ExitCode::SUCCESS
}

fn write(dir: &Path, mut pages: Vec<Page>) -> io::Result<()> {
    let directory = Directory::open(dir)
        .map_err(|why| io::Error::other(format!("--dir {}: {why}", dir.display())))?;
    pages.push(configuration());
    for page in pages {
        directory
            .replace(page.name.as_ref(), &page.roff, Mode::from_raw_mode(0o644))
            .map_err(|why| {
                let path = dir.join(&page.name);
                io::Error::other(format!("{}: {why}", path.display()))
            })?;
    }
    Ok(())
}

/// The pages of section 8: the program, then each command that `--help` lists.
fn commands() -> io::Result<Vec<Page>> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    let man = Man::new(command.clone()).section("8").source(version());
    let mut roff = Vec::new();
    man.render(&mut roff)?;
    see_also(&["noded-proxy(8)", "noded-proxy.toml(5)"]).to_writer(&mut roff)?;
    let name = man.get_filename();
    pages.push(Page { name, roff });
    let mut shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    shown.try_for_each(|sub| add(sub, pages))
}

/// The page of section 5.
fn configuration() -> Page {
    let mut page = Roff::default();
    page.control("TH", ["noded-proxy.toml", "5", "", &version(), ""]);
    page.control("SH", ["NAME"]);
    page.text([roman("noded-proxy.toml - configuration of noded-proxy")]);
    page.control("SH", ["SYNOPSIS"]);
    let beside = crate::config::directory(crate::config::DEFAULT_FILE.as_ref());
    let beside = beside.join("*.toml").display().to_string();
    page.text([bold(crate::config::DEFAULT_FILE)]);
    page.control("br", []);
    page.text([bold(beside)]);
    sample::render(SAMPLE, &mut page);
    let mut roff = page.render().into_bytes();
    let references = see_also(&["noded-proxy(8)", "noded-proxy-check(8)"]);
    roff.extend(references.to_roff().into_bytes());
    let name = "noded-proxy.toml.5".into();
    Page { name, roff }
}

fn see_also(pages: &[&str]) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
    roff
}

fn version() -> String {
    concat!("noded-proxy ", env!("CARGO_PKG_VERSION")).into()
}
