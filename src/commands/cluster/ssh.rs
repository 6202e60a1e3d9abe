//! One command on one node, by ssh with the options that Ganeti itself gives it: the cluster's key is
//! the only one that is believed, and nothing is asked at a terminal.

use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::members::{Cluster, Member};

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Its exit status; 255 is ssh's own, 127 a shell's that does not find the program.
    pub(super) status: i32,
    pub(super) out: Vec<u8>,
    pub(super) err: String,
}

impl Said {
    /// Why it failed, in one line.
    pub(super) fn why(&self) -> String {
        let text = match self.err.trim() {
            "" => String::from_utf8_lossy(&self.out).into_owned(),
            text => text.to_owned(),
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().take(400).collect();
        match self.status {
            127 => "noded-proxy is not there: install its package".into(),
            255 => format!("ssh: {text}"),
            status if text.is_empty() => format!("exit status {status}"),
            _ => text,
        }
    }
}

/// All arguments of ssh.
fn arguments(cluster: &Cluster, member: &Member, ssconf: &Path, command: &str) -> Vec<String> {
    let known = ssconf.join("known_hosts");
    let options = [
        "EscapeChar=none".to_owned(),
        "HashKnownHosts=no".into(),
        format!("GlobalKnownHostsFile={}", known.display()),
        "UserKnownHostsFile=/dev/null".into(),
        "CheckHostIp=no".into(),
        "ConnectTimeout=10".into(),
        "ServerAliveInterval=10".into(), // a node that dies in the middle
        format!("HostKeyAlias={}", cluster.name),
        format!("Port={}", member.port),
        "BatchMode=yes".into(),
        "StrictHostKeyChecking=yes".into(),
    ];
    let family = if cluster.v6 { "-6" } else { "-4" };
    let options = options.into_iter().map(|option| format!("-o{option}"));
    let rest = [
        family.into(),
        format!("root@{}", member.name),
        command.into(),
    ];
    options.chain(rest).collect()
}

/// Runs a command on a node, with this on its standard input.
pub(super) fn run(
    cluster: &Cluster,
    member: &Member,
    ssconf: &Path,
    command: &str,
    input: &[u8],
) -> Said {
    let arguments = arguments(cluster, member, ssconf, command);
    run_ssh(&arguments, input, &mut |_| {})
}

/// The same without input; each line that it says is shown at once.
pub(super) fn run_and_show(
    cluster: &Cluster,
    member: &Member,
    ssconf: &Path,
    command: &str,
    show: &mut dyn FnMut(&str),
) -> Said {
    run_ssh(&arguments(cluster, member, ssconf, command), b"", show)
}

fn run_ssh(arguments: &[String], input: &[u8], show: &mut dyn FnMut(&str)) -> Said {
    try_ssh(arguments, input, show).unwrap_or_else(|error| Said {
        status: 255,
        out: Vec::new(),
        err: error.to_string(),
    })
}

fn try_ssh(arguments: &[String], input: &[u8], show: &mut dyn FnMut(&str)) -> io::Result<Said> {
    let mut errors = tempfile::tempfile()?; // a pipe that nobody reads could fill
    let mut ssh = Command::new("ssh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors.try_clone()?)
        .spawn()?;
    if let Some(mut stdin) = ssh.stdin.take() {
        let _ = stdin.write_all(input); // the command may not want it all
    }
    let mut out = Vec::new();
    if let Some(stdout) = ssh.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            show(&String::from_utf8_lossy(&line));
            out.extend([&line[..], b"\n"].concat());
        }
    }
    let status = ssh.wait()?;
    let mut err = Vec::new();
    errors.rewind()?;
    errors.read_to_end(&mut err)?;
    Ok(Said {
        status: status.code().unwrap_or(255),
        out,
        err: String::from_utf8_lossy(&err).into_owned(),
    })
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
        let found = arguments(&cluster, &member, "/g".as_ref(), "true");
        assert_eq!(
            found.join(" "),
            "-oEscapeChar=none -oHashKnownHosts=no -oGlobalKnownHostsFile=/g/known_hosts \
             -oUserKnownHostsFile=/dev/null -oCheckHostIp=no -oConnectTimeout=10 \
             -oServerAliveInterval=10 -oHostKeyAlias=c.x -oPort=2222 -oBatchMode=yes \
             -oStrictHostKeyChecking=yes -4 root@n2.x true"
        );
    }

    #[test]
    fn why_it_failed_is_one_line() {
        let said = |status, out: &str, err: &str| Said {
            status,
            out: out.into(),
            err: err.into(),
        };
        for (said, expected) in [
            (said(127, "", "sh: 1: not found"), "not there"),
            (
                said(255, "", "Connection\nrefused\n"),
                "ssh: Connection refused",
            ),
            (said(1, "", "noded-proxy: x\n"), "noded-proxy: x"),
            (said(1, "y\n", ""), "y"),
            (said(3, "", ""), "exit status 3"),
        ] {
            assert!(said.why().contains(expected), "{said:?}: {}", said.why());
        }
    }
}
