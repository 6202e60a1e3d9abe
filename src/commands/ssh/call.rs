//! One command on one node, by ssh with the options that Ganeti itself gives it: the cluster's key is
//! the only one that is believed, and nothing is asked at a terminal. A node gets no way back to what
//! the caller has, whatever the machine's configuration says: no agent, no display, no port, no
//! ticket.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytesize::ByteSize;

use super::bounded::{Bounds, Ended, Output, run};
use super::members::{Cluster, Member};
use rules::shown::inert_line;

/// Most bytes of output that a call can ask for.
const MOST: usize = 16 << 20;

/// Most characters of a node's words that are shown.
const MOST_SHOWN: usize = 400;

/// A command for a node, and what its answer may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// For the shell of root on that node.
    pub(crate) command: &'a str,
    /// Its standard input.
    pub(crate) input: &'a [u8],
    /// Bytes of standard output that are taken, 16 MiB at the most.
    pub(crate) most: usize,
    /// It is over by then.
    pub(crate) deadline: Duration,
    /// How long the way there may take: until the node's ssh daemon has said that it is there.
    pub(crate) connect: Duration,
    /// A login of its own with this machine's own keys: no shared connection, no agent, no other
    /// way in.
    pub(crate) fresh: bool,
    /// With the key in this file, and no other.
    pub(crate) identity: Option<&'a Path>,
}

impl<'a> Call<'a> {
    /// Without input, with up to 1 MiB of output, within a minute.
    pub(crate) fn new(command: &'a str) -> Self {
        Self {
            command,
            input: b"",
            most: 1 << 20,
            deadline: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            fresh: false,
            identity: None,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Exit status of the command; 127 is a shell's that does not find the program.
    Status(i32),
    /// ssh did not get there, or its connection broke.
    Unreachable,
    /// It had not ended after this time; the command may still run there.
    Deadline(Duration),
    /// It said more than so many bytes.
    TooMuch(usize),
    /// This program was told to end.
    Interrupted,
}

impl End {
    /// From ssh's own exit status; without one a signal ended it.
    pub(crate) fn of(status: Option<i32>) -> Self {
        match status {
            None | Some(255) => Self::Unreachable,
            Some(status) => Self::Status(status),
        }
    }
}

/// What came of a call. The bytes are the node's: what is shown of them goes through [`shown`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) end: End,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

impl Said {
    /// Why it failed, in one line.
    pub(crate) fn why(&self) -> String {
        let text = match shown(&self.err) {
            text if text.is_empty() => shown(&self.out),
            text => text,
        };
        match self.end {
            End::Status(127) => "noded-proxy is not there: install its package".into(),
            End::Status(status) if text.is_empty() => format!("exit status {status}"),
            End::Status(_) => text,
            End::Unreachable => format!("ssh: {text}"),
            End::Deadline(after) => format!(
                "no end after {}: what it began there may still run",
                humantime::format_duration(after)
            ),
            End::TooMuch(most) => {
                format!(
                    "it says more than {}",
                    ByteSize(most as u64).display().iec()
                )
            }
            End::Interrupted => "interrupted: what it began there may still run".into(),
        }
    }

    /// The first line that it says, as it may be shown.
    pub(crate) fn line(&self) -> String {
        let mut lines = self.out.split(|byte| *byte == b'\n');
        line_of(&String::from_utf8_lossy(lines.next().unwrap_or_default()))
    }
}

/// A path as one word for the shell of a node.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Words of a node as they may be shown: one line that no terminal obeys, 400 characters at the most.
pub(crate) fn shown(text: &[u8]) -> String {
    let words = text.get(..8 * MOST_SHOWN).unwrap_or(text);
    let words = String::from_utf8_lossy(words);
    line_of(&words.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The same of one line, with its blanks.
fn line_of(line: &str) -> String {
    let some: String = line.trim_end().chars().take(MOST_SHOWN).collect();
    inert_line(&some).chars().take(MOST_SHOWN).collect()
}

/// What keeps a login from being another one's, or an administrator's, or one without a key.
const FRESH: [&str; 4] = [
    "-oControlMaster=no",
    "-oControlPath=none",
    "-oIdentityAgent=none",
    "-oPreferredAuthentications=publickey",
];

/// All arguments of ssh.
fn arguments(cluster: &Cluster, member: &Member, ssconf: &Path, call: &Call<'_>) -> Vec<String> {
    let known = ssconf.join("known_hosts");
    let options = [
        "EscapeChar=none".to_owned(),
        "HashKnownHosts=no".into(),
        format!("GlobalKnownHostsFile={}", known.display()),
        "UserKnownHostsFile=/dev/null".into(),
        "CheckHostIp=no".into(),
        format!("ConnectTimeout={}", call.connect.as_secs().max(1)),
        "ServerAliveInterval=10".into(), // a node that dies in the middle
        format!("HostKeyAlias={}", cluster.name),
        format!("Port={}", member.port),
        "BatchMode=yes".into(),
        "StrictHostKeyChecking=yes".into(),
        "ForwardAgent=no".into(),
        "ForwardX11=no".into(),
        "ClearAllForwardings=yes".into(),
        "Tunnel=no".into(),
        "GSSAPIDelegateCredentials=no".into(),
    ];
    let family = if cluster.v6 { "-6" } else { "-4" };
    let options = options.into_iter().map(|option| format!("-o{option}"));
    let fresh = FRESH.iter().filter(|_| call.fresh);
    let rest = [
        family.into(),
        format!("root@{}", member.name),
        call.command.into(),
    ];
    let fresh = fresh.map(|option| (*option).to_owned());
    let identity = call.identity.iter().flat_map(|path| {
        let only = "-oIdentitiesOnly=yes".to_owned();
        [only, "-i".into(), path.display().to_string()]
    });
    options.chain(fresh).chain(identity).chain(rest).collect()
}

/// The way to the nodes of a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ssh<'a> {
    pub(crate) cluster: &'a Cluster,
    /// Ganeti's directory with the cluster's `known_hosts`.
    pub(crate) ssconf: &'a Path,
}

impl Ssh<'_> {
    /// Runs a command on a node, within its bounds.
    pub(crate) fn run(&self, member: &Member, call: &Call<'_>) -> Said {
        self.run_raw(member, call, &mut |_| {})
    }

    /// The same; each line that it says is shown at once.
    pub(crate) fn run_and_show(
        &self,
        member: &Member,
        call: &Call<'_>,
        show: &mut dyn FnMut(&str),
    ) -> Said {
        let mut show = |line: &[u8]| show(&line_of(&String::from_utf8_lossy(line)));
        self.run_raw(member, call, &mut show)
    }

    fn run_raw(&self, member: &Member, call: &Call<'_>, show: &mut dyn FnMut(&[u8])) -> Said {
        let mut ssh = Command::new("ssh");
        ssh.args(arguments(self.cluster, member, self.ssconf, call))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let bounds = Bounds {
            most: call.most.min(MOST),
            deadline: call.deadline,
        };
        let done = run(ssh, call.input, &bounds, show);
        let (ended, Output { out, err }) = done.unwrap_or_else(|error| {
            let err = error.to_string().into_bytes();
            (
                Ended::Status(None),
                Output {
                    out: Vec::new(),
                    err,
                },
            )
        });
        let end = match ended {
            Ended::Status(status) => End::of(status),
            Ended::Deadline => End::Deadline(bounds.deadline),
            Ended::TooMuch => End::TooMuch(bounds.most),
            Ended::Interrupted => End::Interrupted,
        };
        Said { end, out, err }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_called_as_ganeti_calls_it() {
        let member = Member {
            name: "n2.x".into(),
            port: 2222,
            offline: false,
            candidate: true,
        };
        let cluster = Cluster {
            name: "c.x".into(),
            master: "n1.x".into(),
            v6: false,
            members: vec![],
        };
        let call = Call::new("true");
        let found = arguments(&cluster, &member, "/g".as_ref(), &call);
        assert_eq!(
            found.join(" "),
            "-oEscapeChar=none -oHashKnownHosts=no -oGlobalKnownHostsFile=/g/known_hosts \
             -oUserKnownHostsFile=/dev/null -oCheckHostIp=no -oConnectTimeout=10 \
             -oServerAliveInterval=10 -oHostKeyAlias=c.x -oPort=2222 -oBatchMode=yes \
             -oStrictHostKeyChecking=yes -oForwardAgent=no -oForwardX11=no \
             -oClearAllForwardings=yes -oTunnel=no -oGSSAPIDelegateCredentials=no -4 root@n2.x true"
        );
        let fresh = Call {
            fresh: true,
            ..call
        };
        let found = arguments(&cluster, &member, "/g".as_ref(), &fresh).join(" ");
        let alone = "-oControlMaster=no -oControlPath=none -oIdentityAgent=none \
                     -oPreferredAuthentications=publickey -4 root@n2.x true";
        assert!(found.ends_with(alone), "{found}");
    }

    #[test]
    fn why_it_failed_is_one_line() {
        let said = |end, out: &str, err: &str| Said {
            end,
            out: out.into(),
            err: err.into(),
        };
        let long = "x".repeat(4000);
        let unreachable = End::of(Some(255));
        for (said, expected) in [
            (
                said(End::of(Some(127)), "", "sh: 1: not found"),
                "noded-proxy is not there: install its package",
            ),
            (
                said(unreachable, "", "Connection\nrefused\n"),
                "ssh: Connection refused",
            ),
            (said(End::of(None), "", ""), "ssh: "),
            (
                said(End::Status(1), "", "noded-proxy: x\n"),
                "noded-proxy: x",
            ),
            (said(End::Status(1), "y\n", " \n"), "y"),
            (said(End::Status(3), "", ""), "exit status 3"),
            (
                said(End::Status(1), "", "a\x1b[2J\r\nok    n2"),
                "a\\u{1b}[2J ok n2",
            ),
            (said(End::Status(1), &long, ""), &long[..400]),
            (
                said(End::Deadline(Duration::from_secs(60)), "", "x"),
                "no end after 1m: what it began there may still run",
            ),
            (
                said(End::TooMuch(1 << 20), "y", "x"),
                "it says more than 1.0 MiB",
            ),
            (
                said(End::Interrupted, "", ""),
                "interrupted: what it began there may still run",
            ),
        ] {
            assert_eq!(said.why(), expected, "{said:?}");
        }
    }

    #[test]
    fn of_what_it_says_the_first_line_is_shown() {
        for (out, expected) in [
            ("3 certificates\nok    n9: forged\n", "3 certificates"),
            ("a\rok    n9: forged", "a\\u{d}ok    n9: forged"),
            ("\x1b[1Aok", "\\u{1b}[1Aok"),
            ("", ""),
            ("\nx", ""),
        ] {
            let said = Said {
                end: End::Status(0),
                out: out.into(),
                err: vec![],
            };
            assert_eq!(said.line(), expected, "{out:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_says_is_one_line_that_no_terminal_obeys(
            out in proptest::prelude::any::<Vec<u8>>(),
            err in "[\u{0}-\u{2fff}]{0,600}",
            status in 0..256,
        ) {
            let end = End::of(Some(status));
            let said = Said { end, out, err: err.into() };
            for text in [said.why(), said.line()] {
                proptest::prop_assert!(text.chars().count() <= MOST_SHOWN + 5, "{}", text);
                proptest::prop_assert_eq!(inert_line(&text), text);
            }
        }
    }
}
