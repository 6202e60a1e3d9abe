//! What a transfer needs before it runs: pipes, files, the peer's addresses, and the process of the
//! channel. It decides nothing about a peer.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::read_to_string;
use std::io::{self, PipeReader, PipeWriter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::pipe::fcntl_setpipe_size;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};

use super::group::{Joint, open};
use super::status::log;
use crate::moves::order::{Compress, Family, Order, Way};
use crate::moves::shell::{Sink, Source};
use crate::moves::talk::{Road, Setup, line};

/// Users from here on are nobody's: above all that systemd, containers and directories give away, and
/// there is one for each number of a process.
const OWN: u32 = 2_100_000_000;

/// The same where a container has 65536 users, and how many there are.
const OWN_INSIDE: (u32, u32) = (65_520, 14);

/// A pipe holds so much, or what the kernel allows.
const PIPE: usize = 1 << 20;

/// The command and its pipe.
pub(super) struct Place {
    /// What the shell runs.
    pub(super) text: String,
    /// What it is joined to.
    pub(super) joint: Joint,
    /// Of an import: this process's hold on the pipe.
    pub(super) held: Option<PipeWriter>,
}

/// What the channel reads or writes, and the command at the other end, if there is one.
fn ends(way: &Way) -> io::Result<(Stdio, Option<Place>)> {
    let told = |path: &Path| {
        let path = path.to_owned();
        move |error| io::Error::other(format!("{}: {error}", path.display()))
    };
    let plain = |fd: io::Result<OwnedFd>| Ok((Stdio::from(fd?), None));
    match way {
        Way::Import { sink, .. } => match sink {
            Sink::Stdout => plain(io::stdout().as_fd().try_clone_to_owned()),
            Sink::File(path) => Ok((open(path, true).map_err(told(path))?.into(), None)),
            Sink::Command(text) => {
                let (from, to) = pipe()?;
                let stdio = Stdio::from(to.try_clone()?);
                let place = Place {
                    text: text.clone(),
                    joint: Joint::Reads(from, to.try_clone()?),
                    held: Some(to),
                };
                Ok((stdio, Some(place)))
            }
        },
        Way::Export { source, .. } => match source {
            Source::Stdin => plain(io::stdin().as_fd().try_clone_to_owned()),
            Source::File(path) => Ok((open(path, false).map_err(told(path))?.into(), None)),
            Source::Command(text) => {
                let (from, to) = pipe()?;
                let place = Place {
                    text: text.clone(),
                    joint: Joint::Writes(to),
                    held: None,
                };
                Ok((Stdio::from(from), Some(place)))
            }
        },
    }
}

/// The channel, its command, and the way to it.
pub(super) type Begun = (Child, Option<Place>, OwnedWriteHalf);

/// What Ganeti's exporter may call this node.
pub(super) type Names = BTreeSet<String>;

/// Starts the channel. Its words come from what stands beside it.
pub(super) async fn begin(
    order: &Order,
    names: Names,
) -> io::Result<(Begun, BufReader<OwnedReadHalf>)> {
    there_is(&order.tool)?;
    let setup = setup(order, names)?;
    let (data, place) = ends(&order.way)?;
    let (channel, control) = channel(data)?;
    let (events, mut words) = tokio::net::UnixStream::from_std(control)?.into_split();
    words.write_all(&line(&setup)).await?;
    Ok(((channel, place, words), BufReader::new(events)))
}

/// Whether there is such a compression tool, where it is a program: the channel's sandbox would tell
/// it as one that may not be run.
fn there_is(tool: &str) -> io::Result<()> {
    let Some(Compress::Program { name, .. }) = Compress::parse(tool) else {
        return Ok(());
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let why = || io::Error::other(format!("compression tool {name}: no such program in PATH"));
    is_in(&path, &name).then_some(()).ok_or_else(why)
}

/// Whether the channel finds a program there. It works in `/`, whatever this process works in.
fn is_in(path: &OsStr, name: &str) -> bool {
    let runs = |at: PathBuf| {
        let found = Path::new("/").join(at).join(name).metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).any(runs)
}

fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (from, to) = io::pipe()?;
    let _ = fcntl_setpipe_size(&to, PIPE); // a smaller one is only slower
    Ok((from, to))
}

/// What the channel's process gets.
fn setup(order: &Order, names: Names) -> io::Result<Setup> {
    let read = |path: &Path| {
        let text = read_to_string(path);
        text.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    };
    Ok(Setup {
        key: read(&order.files.key)?,
        cert: read(&order.files.cert)?,
        ca: read(&order.files.ca)?,
        compress: order.tool.clone(),
        magic: order.magic.as_ref().map(|magic| magic.word().to_owned()),
        road: road(order, names)?,
    })
}

fn road(order: &Order, names: Names) -> io::Result<Road> {
    match &order.way {
        Way::Import { port, .. } => {
            let any = match order.family {
                Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let listen = SocketAddr::new(order.bind.unwrap_or(any), *port);
            Ok(Road::Import { listen, names })
        }
        Way::Export {
            host,
            port,
            retries,
            ..
        } => {
            let all = (&**host, *port).to_socket_addrs();
            let all = all.map_err(|error| io::Error::other(format!("{host}: {error}")))?;
            let peers: Vec<_> = all.filter(|peer| order.family.has(peer.ip())).collect();
            if peers.is_empty() {
                return Err(io::Error::other(format!(
                    "{host} has no address of that family"
                )));
            }
            Ok(Road::Export {
                peers,
                bind: order.bind,
                retries: *retries,
                timeout: order.connect_timeout,
            })
        }
    }
}

/// The user, and the group, of the channel: of no other process, the user `nobody` neither. Whoever
/// has the same user could trace the channel before it hides its memory, and the tool that compresses.
fn own_user(pid: u32, maps: &[String]) -> u32 {
    let wanted = OWN.saturating_add(pid);
    let has = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        wanted.checked_sub(first).is_some_and(|at| at < count)
    };
    match maps.iter().all(|map| map.lines().any(has)) {
        true => wanted,
        false => OWN_INSIDE.0 + pid % OWN_INSIDE.1,
    }
}

/// Starts the channel's process, as a user of its own if this one is root.
fn channel(data: Stdio) -> io::Result<(Child, UnixStream)> {
    let (own, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("move-channel").current_dir("/").env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(data);
    command.kill_on_drop(true);
    if rustix::process::geteuid().is_root() {
        let maps =
            ["uid_map", "gid_map"].map(|map| read_to_string(Path::new("/proc/self").join(map)));
        let user = own_user(std::process::id(), &maps.map(Result::unwrap_or_default));
        command.uid(user).gid(user);
    } else {
        log("not root: the channel runs as the same user");
    }
    own.set_nonblocking(true)?;
    Ok((command.spawn()?, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_a_file_that_may_be_run_where_the_channel_looks() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for (name, mode) in [("runs", 0o755), ("text", 0o644)] {
            std::fs::write(at(name), "").unwrap();
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(at("directory")).unwrap();
        let absolute = dir.path().to_str().unwrap();
        for (path, name, found) in [
            (absolute, "runs", true),
            (absolute, "text", false),
            (absolute, "directory", false),
            (absolute, "none", false),
            (&absolute[1..], "runs", true),
            ("src:", "lib.rs", false), // of the directory that this process works in
            ("", "Cargo.toml", false),
        ] {
            assert_eq!(is_in(OsStr::new(path), name), found, "{path} {name}");
        }
    }

    #[test]
    fn the_user_of_a_channel_is_nobody_else_s() {
        let (all, few) = ("         0          0 4294967295\n", "0 100000 65536\n");
        for (pid, maps, user) in [
            (7, [all, all], 2_100_000_007),
            (4_194_304, [all, all], 2_104_194_304),
            (7, [all, few], 65_527),
            (7, [few, few], 65_527),
            (13, ["", ""], 65_533),
            (14, ["no map", "0 0"], 65_520),
            (7, ["0 0 1\n1 1 4294967294\n", all], 2_100_000_007),
        ] {
            let maps = maps.map(str::to_owned);
            assert_eq!(own_user(pid, &maps), user, "{pid} {maps:?}");
        }
    }
}
