//! The process behind a listening socket. It only reads `/proc`.

use std::fs;

use super::listener::Listener;

/// The process that listens on a port: `NAME (pid N)`. Only root sees those of other users.
pub(crate) fn holder(listeners: &[Listener], port: u16) -> Option<String> {
    let wanted: Vec<String> = listeners
        .iter()
        .filter(|listener| listener.address.port() == port)
        .map(|listener| format!("socket:[{}]", listener.inode))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| !wanted.is_empty() && holds(*pid, &wanted))
        .map(|pid| format!("{} (pid {pid})", name(pid)))
}

/// The listening sockets of all processes of this name, each with the command line of one that
/// holds it.
pub(crate) fn of_program(listeners: &[Listener], wanted: &str) -> Vec<(Listener, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<(Listener, String)> = Vec::new();
    for pid in pids.filter(|pid| name(*pid) == wanted) {
        for listener in listeners {
            let is_known = found.iter().any(|(known, _)| known == listener);
            if !is_known && holds(pid, &[format!("socket:[{}]", listener.inode)]) {
                found.push((*listener, command_line(pid)));
            }
        }
    }
    found
}

/// The words of its command line, with blanks between them.
fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ")
}

fn holds(pid: u32, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .filter_map(Result::ok)
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| {
            wanted
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
}

/// The name of a process. For Ganeti's daemons, which Python runs, it is the name of the script.
fn name(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ganeti = |word: &[u8]| {
        let word = String::from_utf8_lossy(word).into_owned();
        let base = word.rsplit('/').next().unwrap_or_default().to_owned();
        base.starts_with("ganeti-").then_some(base)
    };
    let script = line.split(|b| *b == 0).take(3).find_map(ganeti);
    script.unwrap_or_else(|| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_is_found_by_the_name_of_its_program() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let all = super::super::listeners().unwrap();
        let own = name(std::process::id());
        let found = of_program(&all, &own);
        let (_, line) = found.iter().find(|(l, _)| l.address == address).unwrap();
        let first = std::env::args().next().unwrap();
        assert!(line.starts_with(&first), "{line}");
        let other = of_program(&all, "no-such-program");
        assert_eq!(other, []);
    }
}
