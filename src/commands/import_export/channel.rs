//! The process that talks TLS: this program once more, without root, without files. It never runs
//! one of Ganeti's commands. It gets all that it needs on standard input, and the data on standard output;
//! what it may do beside that is taken away before the first byte of a peer is read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::status::log;
use crate::commands::exit;
use crate::daemon::sandbox::{Plan, Report, enter};
use crate::moves::order::Compress;
use crate::moves::talk::{Event, LONGEST, Road, Setup, Word, line};
use crate::moves::{self};

/// Where the programs are that compress, and what they load.
const PROGRAMS: [&str; 6] = [
    "/usr",
    "/bin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/proc",
];

/// `noded-proxy move-channel`: exit status 0 when the transfer went well.
pub fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => exit::failure(why),
    }
}

fn run() -> std::io::Result<bool> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?; // the key is in memory
    let control = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let data = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    // The data's end must be this file's end, and no second descriptor may keep it open.
    rustix::stdio::dup2_stdout(File::open("/dev/null")?)?;
    let mut control_in = BufReader::new(control.try_clone()?);
    let setup: Setup = serde_json::from_slice(&next(&mut control_in)?)?;
    let report = enter(&plan(&setup)).map_err(std::io::Error::other)?;
    if !report.no_new_privs {
        return Err(std::io::Error::other("the kernel has no no_new_privs"));
    }
    tell(report, &control)?;
    let words = listen(control_in);
    Ok(moves::run(setup, data, control, &words))
}

/// Protection that is missing is told: in the log, and where files are in reach in the job, too.
fn tell(report: Report, mut control: &UnixStream) -> std::io::Result<()> {
    let text = format!("noded-proxy: the channel's sandbox is not complete: {report}");
    match (report.is_complete(), report.filesystem) {
        (true, _) => {}
        (false, true) => log(&text),
        (false, false) => control.write_all(&line(&Event::Says(text)))?,
    }
    Ok(())
}

/// What is left to it. Programs only if one is to be run.
fn plan(setup: &Setup) -> Plan {
    let (bind, connect) = match &setup.road {
        Road::Import { listen, .. } => (vec![listen.port()], vec![]),
        Road::Export { peers, .. } => (vec![], peers.iter().map(|peer| peer.port()).collect()),
    };
    let compress = Compress::parse(&setup.compress);
    let null = || vec!["/dev/null".into()]; // a tool may be a script
    let (run, read, write) = match compress.is_some_and(|compress| compress.runs_program()) {
        true => (PROGRAMS.map(Into::into).into(), null(), null()),
        false => (vec![], vec![], vec![]),
    };
    Plan {
        read,
        write,
        run,
        bind,
        connect,
        ..Plan::default()
    }
}

fn next(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LONGEST as u64).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Hears the words of the process that runs the commands. When that has gone, so does this one.
#[allow(
    clippy::exit,
    reason = "nobody is left to report to; the kernel resets the connection"
)]
fn listen(mut from: BufReader<UnixStream>) -> Receiver<Word> {
    let (sender, words) = channel();
    thread::spawn(move || {
        loop {
            match next(&mut from).map(|line| serde_json::from_slice::<Word>(&line)) {
                Ok(Ok(word)) => {
                    let _ = sender.send(word);
                }
                _ => std::process::exit(1),
            }
        }
    });
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_may_open_files_and_run_programs_only_for_a_tool_that_is_one() {
        let listen = "127.0.0.1:7000".parse().unwrap();
        for (compress, is_program) in [
            ("none", false),
            ("zstd", false),
            ("lz4", false),
            ("gzip", true),
            ("pigz", true),
        ] {
            let plan = plan(&Setup {
                key: String::new(),
                cert: String::new(),
                ca: String::new(),
                compress: compress.into(),
                magic: None,
                road: Road::Import {
                    listen,
                    names: BTreeSet::new(),
                },
            });
            let none = plan.run.is_empty() && plan.read.is_empty() && plan.write.is_empty();
            assert_eq!(none, !is_program, "{compress}");
            assert_eq!((plan.bind, plan.connect), (vec![7000], vec![]));
        }
    }
}
